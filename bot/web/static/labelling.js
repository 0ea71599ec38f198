// Labelling held-out answers of an adapter and of what it was compared with, one case at a time, without their names.
import { call, counted, h, query } from "./dom.js";
import { decide } from "./admin_shared.js";
import { sources } from "./cases.js";
import { attempt } from "./notices.js";

/** From how many labelled cases on the gate may decide again, in words. */
function due({ looks, needed }) {
  if (!looks.length) return `from ${needed} on they count at the gate`;
  const last = `the gate decided with ${looks.at(-1)}`;
  return needed === null ? `${last}, which are all` : `${last} and may again from ${needed} on`;
}

/** What a report with fewer cases than the gate asks for cannot do. */
const tooFew = ({ cases, needed }) =>
  needed !== null && needed > cases
    ? h(
        "p",
        { class: "alert" },
        `${counted(cases, "held-out case")} cannot settle it: the gate counts labels from ${needed} cases on. A new cycle that holds out more questions is needed.`,
      )
    : null;

/** The box in which an adapter's cases are labelled, and the gate is asked to decide again. */
export async function labelling(adapter, load) {
  const shown = h("div", { role: "group", "aria-label": "Answers to label", "aria-live": "polite" });
  const path = `/v1/admin/adapters/${encodeURIComponent(adapter)}`;
  const again = decide(
    [{ label: "Decide again", path: `${path}/decide-again`, kind: "primary", done: "The gate decides again." }],
    load,
  );
  /** Ask about a case, of which something was said before, or about the next open one. */
  const ask = async (before = null) => {
    const found = await call("GET", query(`${path}/label-next`, { case: before }));
    again.hidden = found.needed === null || found.labelled < found.needed;
    shown.replaceChildren(
      ...[
        tooFew(found),
        h("p", { class: "muted" }, `${found.labelled} of ${found.cases} cases labelled; ${due(found)}.`),
        ...(found.next ? asked(found.next, before) : [h("p", {}, "There is no case left to label.")]),
        h(
          "div",
          { class: "row steps" },
          ...(found.previous ? [step("Back", found.previous)] : []),
          ...(before ? [step("Go on", null)] : []),
        ),
      ].filter(Boolean),
    );
  };
  const step = (label, name) =>
    h(
      "button",
      {
        type: "button",
        class: "small",
        onclick: () =>
          attempt(async () => {
            await ask(name);
            goOn();
          }),
      },
      label,
    );
  /** Focus what is to be done next: an open answer, else what was just said, else the decision or the way back. */
  const goOn = (digest = null) => {
    const places = ["[data-open] button", `[data-digest="${digest}"] [aria-pressed="true"]`, '[aria-pressed="true"]'];
    const found = places.map((place) => shown.querySelector(place)).find(Boolean);
    (found ?? (again.hidden ? shown.querySelector(".steps button") : again.comment))?.focus();
  };
  const say = async (one, answer, value, before) => {
    await call("PUT", `${path}/cases/${one.case_id}/label`, { answer: answer.digest, value });
    answer.value = value;
    return before || one.answers.every((other) => other.value !== null) ? ask(before) : null;
  };
  const asked = (one, before) => [
    h("p", {}, h("b", {}, one.question)),
    sources(one),
    ...one.answers.map((answer, n) =>
      h(
        "section",
        { class: "box", "aria-label": `Answer ${"ABC"[n]}` },
        h("p", { class: "pre" }, answer.text || "–"),
        choice(
          answer,
          (value) => say(one, answer, value, before),
          () => goOn(answer.digest),
        ),
      ),
    ),
  ];
  const box = h(
    "section",
    { class: "box", "aria-label": `Held-out answers of ${adapter}` },
    h("h2", {}, `Are these answers right? (${adapter})`),
    h("p", {}, "Say of each answer whether somebody who knows the matter would accept it. The order is random: it must be kept."),
    shown,
    again,
  );
  await ask();
  return box;
}

/** Right or wrong, what is said being pressed; `said` is called afterwards. */
function choice(answer, say, said) {
  const row = h("div", { class: "row", "data-digest": answer.digest });
  const buttons = [
    ["Right", true],
    ["Wrong", false],
  ].map(([label, value]) => ({
    value,
    button: h(
      "button",
      {
        type: "button",
        class: "small",
        onclick: () =>
          attempt(async () => {
            await say(value);
            show();
            said();
          }),
      },
      label,
    ),
  }));
  const show = () => {
    row.toggleAttribute("data-open", answer.value === null);
    buttons.forEach(({ button, value }) => button.setAttribute("aria-pressed", String(answer.value === value)));
  };
  show();
  row.append(...buttons.map(({ button }) => button));
  return row;
}
