// An answer's markdown as elements. marked reads it, DOMPurify lets through what text needs and nothing else, and
// [n] becomes a button. No HTML of an answer is ever taken as HTML; no picture is ever loaded.
import { Marked } from "./vendor/marked.js";
import "./vendor/purify.js";
import { h } from "./dom.js";
import { copyText } from "./notices.js";

const purify = globalThis.DOMPurify;
const TAGS = [
  "p",
  "br",
  "hr",
  "strong",
  "em",
  "del",
  "code",
  "pre",
  "blockquote",
  "ul",
  "ol",
  "li",
  "a",
  "span",
  "table",
  "thead",
  "tbody",
  "tr",
  "th",
  "td",
  "h3",
  "h4",
  "h5",
  "h6",
];
const ATTRIBUTES = ["href", "start", "align", "data-cite", "data-language"];
const LINK = /^(https?:\/\/|mailto:)/i;
const escaped = (text) => text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

const citation = {
  name: "citation",
  level: "inline",
  start: (source) => source.search(/\[\d/),
  tokenizer(source) {
    const found = /^\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\](?![(:])/.exec(source);
    return found ? { type: "citation", raw: found[0], numbers: found[1] } : undefined;
  },
  renderer: (token) => `<span data-cite="${token.numbers.replace(/[;\s]+/g, ",")}">${token.raw}</span>`,
};

const marked = new Marked(
  { gfm: true, breaks: true },
  {
    extensions: [citation],
    tokenizer: { def: () => undefined, reflink: () => undefined },
    renderer: {
      html: ({ text }) => escaped(text),
      image: ({ raw }) => escaped(raw),
      heading({ tokens, depth }) {
        const level = Math.min(6, depth + 2);
        return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>\n`;
      },
      link({ href, raw, tokens }) {
        return LINK.test(href) ? `<a href="${escaped(href)}">${this.parser.parseInline(tokens)}</a>` : escaped(raw);
      },
      checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
      code: ({ text, lang }) =>
        `<pre><code data-language="${escaped((lang ?? "").split(/\s/)[0].slice(0, 20))}">${escaped(text)}</code></pre>\n`,
    },
  },
);

/** The answer as a fragment; `cite(n)` gives a button for passage n, or null when there is no such passage. */
export function render(text, cite) {
  const clean = purify.sanitize(marked.parse(text), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const mark of clean.querySelectorAll("[data-cite]")) mark.replaceWith(...cited(mark, cite));
  for (const link of clean.querySelectorAll("a"))
    Object.assign(link, { target: "_blank", rel: "noopener noreferrer nofollow" });
  for (const table of clean.querySelectorAll("table")) framed(table);
  for (const code of clean.querySelectorAll("pre > code")) block(code);
  return clean;
}

function cited(mark, cite) {
  const buttons = mark.dataset.cite.split(",").map((n) => cite(Number(n)));
  return buttons.some((button) => button === null) ? [mark.textContent] : buttons;
}

function framed(table) {
  const frame = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" });
  table.replaceWith(frame);
  frame.append(table);
}

function block(code) {
  const copy = h(
    "button",
    {
      type: "button",
      class: "quiet small copy",
      "aria-label": "Copy this code",
      onclick: () => copyText(code.textContent),
    },
    "Copy",
  );
  const frame = h("div", { class: "code" }, h("span", { class: "language" }, code.dataset.language || "text"), copy);
  code.parentElement.tabIndex = 0;
  code.parentElement.replaceWith(frame);
  frame.append(h("pre", { tabindex: "0" }, code));
}

/** Colour the code of a finished answer; the highlighter is fetched when there is code at all. */
export async function highlight(element) {
  const blocks = [...element.querySelectorAll("pre > code:not([data-done])")];
  if (!blocks.length) return;
  const { default: hljs } = await import("./vendor/highlight.js");
  for (const code of blocks) {
    code.dataset.done = "yes";
    const language = hljs.getLanguage(code.dataset.language) ? code.dataset.language : null;
    if (!language) continue;
    const html = hljs.highlight(code.textContent, { language, ignoreIllegals: true }).value;
    code.replaceChildren(
      purify.sanitize(html, { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true }),
    );
  }
}
