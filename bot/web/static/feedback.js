// Thumbs, reasons, a comment and a correction under an answer; everything can be taken back.
import { call, h } from "./dom.js";
import { icon } from "./icons.js";
import { attempt, toast } from "./notices.js";

const REASONS = ["Wrong", "Not in the passages", "Incomplete", "Wrong form", "Should have answered"];
const NOTHING = { rating: null, reasons: [], comment: "", correction: "" };

/** The row of controls for an exchange; `given` is the feedback it has already, or null; `more` goes beside them. */
export function feedbackRow(exchangeId, answer, given, more = null) {
  let said = { ...NOTHING, ...pick(given) };
  const up = thumb("Good answer", "up");
  const down = thumb("Bad answer", "down");
  const suggest = h(
    "button",
    { class: "quiet small", "aria-expanded": "false", onclick: () => toggle(box.hidden) },
    "Suggest the right answer",
  );
  const chips = REASONS.map((reason) =>
    h(
      "button",
      {
        type: "button",
        class: "chip",
        "aria-pressed": "false",
        "data-reason": reason,
        onclick: () => {
          said.reasons = said.reasons.includes(reason)
            ? said.reasons.filter((r) => r !== reason)
            : [...said.reasons, reason];
          show();
        },
      },
      reason,
    ),
  );
  const comment = h("input", {
    maxlength: "5000",
    value: said.comment,
    placeholder: "Anything else? (may stay empty)",
    "aria-label": "Comment",
  });
  const text = h(
    "textarea",
    { rows: "4", maxlength: "20000", "aria-label": "The right answer" },
    said.correction || answer,
  );
  const box = h(
    "form",
    { class: "correction", hidden: true, onsubmit: sent },
    h("p", { class: "muted" }, "What was wrong, and what would be right?"),
    h("div", { class: "row chips" }, ...chips),
    comment,
    h("label", {}, h("span", { class: "muted" }, "The right answer – change what is wrong"), text),
    h(
      "div",
      { class: "row" },
      h("button", { class: "primary small" }, "Send"),
      h("button", { type: "button", class: "quiet small", onclick: () => toggle(false) }, "Close"),
    ),
  );
  const note = h("span", { class: "muted note" });
  show();
  return h("div", { class: "feedback" }, h("div", { class: "row" }, up, down, suggest, note, more), box);

  function thumb(title, rating) {
    return h("button", { class: "icon", "aria-label": title, title, onclick: () => rate(rating) }, icon(rating));
  }

  async function rate(rating) {
    const back = said.rating === rating;
    await save(
      { ...said, rating: back ? null : rating, reasons: back || rating === "up" ? [] : said.reasons },
      back ? "Taken back." : "Thank you.",
    );
    if (said.rating === "down") toggle(true);
  }

  async function sent(event) {
    event.preventDefault();
    const written = text.value.trim();
    const correction = written === answer.trim() ? "" : written;
    if (
      await save(
        { ...said, comment: comment.value.trim(), correction },
        correction ? "Thank you: your answer is kept." : "Thank you.",
      )
    )
      toggle(false);
  }

  async function save(wanted, thanks) {
    const before = said;
    const kept = await attempt(() => call("POST", "/v1/feedback", { exchange_id: exchangeId, ...wanted }));
    if (!kept) return false;
    said = { ...NOTHING, ...pick(kept) };
    if (said.correction !== wanted.correction) text.value = said.correction || answer;
    toast(thanks, "info", { label: "Undo", run: () => save(before, "Taken back.") });
    show();
    return true;
  }

  function toggle(open) {
    box.hidden = !open;
    suggest.setAttribute("aria-expanded", String(open));
    if (open) text.focus();
    else suggest.focus();
  }

  function show() {
    up.setAttribute("aria-pressed", String(said.rating === "up"));
    down.setAttribute("aria-pressed", String(said.rating === "down"));
    for (const chip of chips) chip.setAttribute("aria-pressed", String(said.reasons.includes(chip.dataset.reason)));
    note.textContent = said.correction ? "Your answer is kept." : "";
  }
}

function pick(given) {
  if (!given) return {};
  const { rating, reasons, comment, correction } = given;
  return { rating, reasons, comment, correction };
}
