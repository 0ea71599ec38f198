// A blind preview: one question, two answers, a choice, and only then which was whose.
import { call, h } from "./dom.js";
import { attempt } from "./notices.js";

const NAMES = { candidate: "this adapter", serving: "what serves", tie: "neither" };

const written = (answer) =>
  h(
    "section",
    { class: "box", "aria-label": `Answer ${answer.label}` },
    h("h3", {}, answer.adapter ? `${answer.label}: ${answer.adapter}` : answer.label),
    h("p", { class: "pre" }, answer.text || "–"),
  );

const tallied = ({ candidate, serving, tie }) =>
  candidate + serving + tie
    ? `So far this adapter was preferred ${candidate} times, what serves ${serving} times, neither ${tie} times.`
    : "";

function sources(passages) {
  return h(
    "details",
    {},
    h("summary", {}, `The passages (${passages.length})`),
    h("ol", {}, ...passages.map((p) => h("li", {}, h("b", {}, p.title), h("p", { class: "pre muted" }, p.text)))),
  );
}

/** A question for an adapter and what serves, over the same passages. */
export function previewBox(adapter) {
  const question = h("input", {
    class: "grow",
    required: "",
    maxlength: "20000",
    placeholder: "A question",
    "aria-label": "Question for both",
  });
  const ask = h("button", { class: "small" }, "Compare blind");
  const shown = h("div", { role: "status" });
  const form = h(
    "form",
    {
      class: "row",
      onsubmit: async (event) => {
        event.preventDefault();
        ask.disabled = true;
        shown.replaceChildren(h("p", { class: "muted" }, "Both are answering…"));
        const found = await attempt(() => call("POST", "/v1/admin/previews", { question: question.value, adapter }));
        ask.disabled = false;
        shown.replaceChildren(...(found ? undecided(found, shown) : []));
      },
    },
    question,
    ask,
  );
  return h("details", { class: "box" }, h("summary", {}, "Preview, blind"), form, shown);
}

function undecided(preview, shown) {
  const comment = h("input", {
    class: "grow",
    maxlength: "5000",
    placeholder: "Why? (may stay empty)",
    "aria-label": "Why is it better",
  });
  const choose = (label, text) =>
    h(
      "button",
      {
        class: "small",
        onclick: () =>
          attempt(async () => {
            const told = await call("POST", `/v1/admin/previews/${preview.id}/choice`, {
              choice: label,
              comment: comment.value,
            });
            const { tally } = await call(
              "GET",
              `/v1/admin/previews?limit=1&adapter=${encodeURIComponent(preview.adapter)}`,
            );
            shown.replaceChildren(...revealed(told, tally));
          }),
      },
      text,
    );
  return [
    h("div", { class: "pair" }, ...preview.answers.map(written)),
    sources(preview.passages),
    h(
      "div",
      { class: "row" },
      choose("A", "A is better"),
      choose("B", "B is better"),
      choose("tie", "No difference"),
      comment,
    ),
  ];
}

function revealed(preview, tally) {
  return [
    h("p", {}, "You preferred ", h("b", {}, NAMES[preview.preferred]), "."),
    h("div", { class: "pair" }, ...preview.answers.map(written)),
    sources(preview.passages),
    h("p", { class: "muted" }, tallied(tally)),
  ];
}
