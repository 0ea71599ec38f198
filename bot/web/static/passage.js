// The side panel: a passage, highlighted in the document that it comes from.
import { call, h } from "./dom.js";
import { icon } from "./icons.js";

const panel = document.getElementById("passage");
let opener = null;

/** Show a passage; focus returns to `from` when the panel closes. */
export async function openPassage(passage, from) {
  opener = from;
  const text = h("div", { class: "document", tabindex: "0" }, h("mark", {}, passage.text));
  const share = Math.round(100 * Math.min(1, Math.max(0, passage.score)));
  const score = [
    h(
      "span",
      { class: "meter", "aria-hidden": "true" },
      h("progress", { max: "100", value: String(share), tabindex: "-1" }),
    ),
    `Match ${share} %`,
  ];
  panel.replaceChildren(
    h(
      "header",
      {},
      h(
        "div",
        { class: "grow" },
        h("p", { class: "muted path" }, ...trail(passage.title)),
        h("h2", { tabindex: "-1" }, `[${passage.n}] ${(passage.title ?? "").split(TRAIL).at(-1) || "Passage"}`),
        h("p", { class: "muted score" }, ...(passage.document ? score : [origin(passage)])),
      ),
      h("button", { class: "icon", "aria-label": "Close", onclick: closePassage }, icon("close")),
    ),
    text,
  );
  panel.hidden = false;
  panel.querySelector("h2").focus();
  if (passage.document) await inPlace(passage, text);
}

/** Where a passage of no document comes from. */
const origin = ({ verified }) =>
  verified ? "A reviewer stands behind this answer to the same question" : "Given with the question";

const TRAIL = /\s+[>›]\s+/;

/** The headings above a passage, outermost first. */
function trail(title = "") {
  return title
    .split(TRAIL)
    .slice(0, -1)
    .map((part) => h("span", {}, part));
}

async function inPlace(passage, box) {
  try {
    const found = await call("GET", `/v1/documents/${passage.document}`);
    const letters = [...found.text]; // offsets count characters, as Python does
    const exact = letters.slice(passage.start, passage.end).join("") === passage.text;
    const [before, inside, after] = exact
      ? [letters.slice(0, passage.start), letters.slice(passage.start, passage.end), letters.slice(passage.end)].map(
          (part) => part.join(""),
        )
      : around(found.text, passage.text);
    const mark = h("mark", {}, inside);
    box.replaceChildren(before, mark, after);
    box.scrollTop = Math.max(0, mark.offsetTop - box.offsetTop - 60);
  } catch {
    box.append(h("p", { class: "muted" }, "The document it came from has been removed or changed since."));
  }
}

function around(text, passage) {
  const at = text.indexOf(passage);
  if (at < 0) throw new Error("the passage is not in the document any more");
  return [text.slice(0, at), passage, text.slice(at + passage.length)];
}

/** Close the panel. */
export function closePassage() {
  panel.hidden = true;
  opener?.focus();
}

/** Whether the panel is open. */
export const passageOpen = () => !panel.hidden;
