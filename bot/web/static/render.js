// An answer's text as elements: paragraphs, headings, lists, code, and [n] as buttons. Built node by node, no HTML.
import { h } from "./dom.js";

const INLINE = /(`[^`\n]+`|\*\*[^*\n]+\*\*|\[\d{1,3}(?:\s*[,;]\s*\d{1,3})*\])/;
const ITEM = /^\s*(?:[-*•]|(\d{1,3})[.)])\s+(.*)$/;

/** The answer as a fragment; `cite(n)` gives a button for passage n, or null when there is no such passage. */
export function render(text, cite) {
  const out = document.createDocumentFragment();
  text.split(/^```/m).forEach((part, index) => {
    if (index % 2) {
      const code = part.replace(/^[^\n]*\n?/, "").replace(/\n$/, "");
      out.append(h("pre", { tabindex: "0" }, h("code", {}, code)));
    } else {
      blocks(part, cite).forEach((block) => out.append(block));
    }
  });
  return out;
}

function blocks(text, cite) {
  const found = [];
  let list = null;
  let lines = [];
  const flush = () => {
    if (lines.length) found.push(h("p", {}, ...withBreaks(lines, cite)));
    lines = [];
  };
  for (const line of text.split("\n")) {
    const item = ITEM.exec(line);
    const heading = /^#{1,6}\s+(.*)$/.exec(line);
    if (item) {
      flush();
      const tag = item[1] ? "OL" : "UL";
      if (list?.tagName !== tag) {
        list = h(tag.toLowerCase(), item[1] ? { start: Number(item[1]) } : {});
        found.push(list);
      }
      list.append(h("li", {}, ...inline(item[2], cite)));
      continue;
    }
    if (list && line.trim() && /^\s{2,}/.test(line)) {
      list.lastChild.append(" ", ...inline(line.trim(), cite));
      continue;
    }
    if (line.trim()) list = null;
    if (heading) {
      flush();
      found.push(h("p", { class: "heading" }, ...inline(heading[1], cite)));
    } else if (line.trim()) {
      lines.push(line);
    } else {
      flush();
    }
  }
  flush();
  return found;
}

function withBreaks(lines, cite) {
  return lines.flatMap((line, index) => [...(index ? [h("br")] : []), ...inline(line, cite)]);
}

function inline(text, cite) {
  return text.split(INLINE).flatMap((piece) => {
    if (/^`.+`$/.test(piece)) return [h("code", {}, piece.slice(1, -1))];
    if (/^\*\*.+\*\*$/.test(piece)) return [h("strong", {}, ...inline(piece.slice(2, -2), cite))];
    if (/^\[\d/.test(piece) && piece.endsWith("]")) return cited(piece, cite);
    return piece ? [piece] : [];
  });
}

function cited(marker, cite) {
  const buttons = marker.match(/\d+/g).map((n) => cite(Number(n)));
  return buttons.some((button) => button === null) ? [marker] : buttons;
}
