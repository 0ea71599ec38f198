// Judging blind: cases of the dossier in a mixed order, two answers without names, a choice, and only then which was whose.
import { h } from "./dom.js";
import { sides, sources } from "./cases.js";

/** The same cases in the same order for everybody, each once, sides thrown by the id. */
function mixed(all) {
  const cases = [...new Map(all.map((one) => [one.id, one])).values()];
  const digest = (text) => [...text].reduce((sum, letter) => (Math.imul(sum, 31) + letter.codePointAt(0)) >>> 0, 7);
  return cases
    .map((one) => ({ one, key: digest(String(one.id)) }))
    .sort((a, b) => (a.key % 9973) - (b.key % 9973))
    .map(({ one, key }) => ({ one, swapped: Boolean((key >>> 3) & 1) }));
}

/** A box that goes through the cases; `told(sentence)` gets the tally after each choice. */
export function blindBox(dossier, told) {
  const left = mixed([...dossier.losses, ...dossier.wins]);
  const tally = { candidate: 0, serving: 0, tie: 0 };
  const shown = h("div", { role: "group", "aria-label": "Blind comparison", "aria-live": "polite" });
  let place = 0;
  const next = () => {
    const { one, swapped } = left[place];
    const order = swapped ? ["candidate", "serving"] : ["serving", "candidate"];
    const choose = (choice, label) =>
      h("button", { type: "button", class: "small", onclick: () => decided(one, order, choice) }, label);
    shown.replaceChildren(
      h("p", { class: "muted" }, `Case ${place + 1} of ${left.length}`),
      h("p", {}, h("b", {}, one.question)),
      sides(one, order[0], order[1], ["A", "B"]),
      sources(one),
      h(
        "div",
        { class: "row" },
        choose(order[0], "A is better"),
        choose(order[1], "B is better"),
        choose("tie", "No difference"),
      ),
    );
  };
  const decided = (one, order, choice) => {
    tally[choice] += 1;
    place += 1;
    const said = `Blind: the candidate preferred ${tally.candidate} times, what serves ${tally.serving} times, no difference ${tally.tie} times.`;
    told(said);
    const names = order.map((name, n) => `${"AB"[n]}: ${name === "candidate" ? "the candidate" : "what serves"}`);
    const more =
      place < left.length
        ? h("button", { type: "button", class: "primary small", onclick: next }, "Next case")
        : h("span", { class: "muted" }, "That was the last one.");
    shown.replaceChildren(
      h(
        "p",
        {},
        choice === "tie"
          ? "You saw no difference."
          : `You preferred ${choice === "candidate" ? "the candidate" : "what serves"}.`,
      ),
      sides(one, order[0], order[1], names),
      h("p", { class: "muted" }, said),
      more,
    );
    more.focus?.();
  };
  if (!left.length)
    return h("p", { class: "muted" }, "No case is kept to compare. Ask both a question of your own below.");
  next();
  return shown;
}
