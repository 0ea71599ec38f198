// Held-out questions with both answers side by side: what differs is marked, the passages are at hand.
import { h } from "./dom.js";
import { state } from "./admin_shared.js";
import { number, part } from "./dossier.js";
import { signed } from "./forest.js";
import { against } from "./words.js";

/** A case with both answers side by side; `names` are the heads of the two. */
export function sides(one, left, right, names, { marked = true } = {}) {
  const text = (mine, other) =>
    h("p", { class: "pre" }, ...(mine.text ? (marked ? against(mine.text, other.text ?? "") : [mine.text]) : ["–"]));
  const column = (name, mine, other) =>
    h("section", { class: "box side-answer", "aria-label": name }, h("h3", {}, name), text(mine, other));
  return h("div", { class: "pair" }, column(names[0], one[left], one[right]), column(names[1], one[right], one[left]));
}

/** The passages and references of a case. */
export const sources = (one) =>
  h(
    "details",
    {},
    h("summary", {}, `Passages (${(one.passages ?? []).length}) and reference`),
    h("ol", {}, ...(one.passages ?? []).map((p) => h("li", { value: p.n }, h("p", { class: "pre muted" }, p.text)))),
    (one.references ?? []).length
      ? h("div", {}, h("h4", {}, "Right answer"), ...one.references.map((text) => h("p", { class: "pre" }, text)))
      : null,
  );

function caseBox(one, open) {
  return h(
    "details",
    { class: "box case", open },
    h(
      "summary",
      {},
      h("b", { class: one.delta < 0 ? "loss" : "gain" }, signed(one.delta)),
      ` ${one.metric ?? ""} · ${one.question}`,
      one.answerable === false ? [" ", state("should decline")] : null,
    ),
    sides(one, "serving", "candidate", [
      `Serving (${number(one.serving?.score)})`,
      `Candidate (${number(one.candidate?.score)})`,
    ]),
    sources(one),
  );
}

/** Where it lost, worst first, and where it won. */
export function cases({ losses, wins }, { open = false } = {}) {
  return [
    part(
      `Worst regressions (${losses.length})`,
      ...(losses.length
        ? losses.map((one, n) => caseBox(one, open || n === 0))
        : [h("p", { class: "muted" }, "None is kept.")]),
    ),
    part(
      `Largest gains (${wins.length})`,
      ...(wins.length ? wins.map((one) => caseBox(one, open)) : [h("p", { class: "muted" }, "None is kept.")]),
    ),
  ];
}
