// Thumbs, reasons and corrections under an answer.
import { attempt, call, h, thumbIcon, toast } from "./dom.js";

const REASONS = ["Wrong", "Not in the passages", "Incomplete", "Wrong form", "Should have answered"];

/** The row of controls for an exchange; `given` is the feedback it has already, or null. */
export function feedbackRow(exchangeId, answer, given) {
  const said = { rating: null, reasons: [], comment: "", correction: "", ...pick(given) };
  const up = thumb("Good answer", "up");
  const down = thumb("Bad answer", "down");
  const suggest = h("button", { class: "quiet small", "aria-expanded": "false", onclick: () => toggle(box.hidden) },
    "Suggest the right answer");
  const box = correctionBox();
  const note = h("span", { class: "muted note", role: "status" });
  show();
  return h("div", { class: "feedback" }, h("div", { class: "row" }, up, down, suggest, note), box);

  function thumb(title, rating) {
    return h("button", { class: "icon", "aria-label": title, title, onclick: () => rate(rating) }, thumbIcon(rating === "up"));
  }

  async function rate(rating) {
    const before = said.rating;
    said.rating = before === rating ? null : rating;
    if (said.rating !== "down") said.reasons = [];
    if (!(await save(said.rating ? "Thank you. Press again to take it back." : "Taken back."))) said.rating = before;
    if (said.rating === "down") toggle(true);
    show();
  }

  function correctionBox() {
    const chips = h("div", { class: "row chips" }, ...REASONS.map((reason) => {
      const chip = h("button", { type: "button", class: "chip", "aria-pressed": "false", onclick: () => {
        said.reasons = said.reasons.includes(reason) ? said.reasons.filter((r) => r !== reason) : [...said.reasons, reason];
        show();
      } }, reason);
      chip.dataset.reason = reason;
      return chip;
    }));
    const text = h("textarea", { rows: "4", maxlength: "20000", "aria-label": "The right answer" }, said.correction || answer);
    const send = h("button", { class: "primary small" }, "Send");
    const cancel = h("button", { type: "button", class: "quiet small", onclick: () => toggle(false) }, "Close");
    return h("form", { class: "correction", hidden: true, onsubmit: async (event) => {
      event.preventDefault();
      const written = text.value.trim();
      said.correction = written === answer.trim() ? "" : written;
      if (await save(said.correction ? "Thank you: your answer is kept." : "Thank you.")) toggle(false);
      show();
    } },
    h("p", { class: "muted" }, "What was wrong, and what would be right?"), chips, text, h("div", { class: "row" }, send, cancel));
  }

  function toggle(open) {
    box.hidden = !open;
    suggest.setAttribute("aria-expanded", String(open));
    if (open) box.querySelector("textarea").focus();
  }

  async function save(thanks) {
    const kept = await attempt(() => call("POST", "/v1/feedback", { exchange_id: exchangeId, ...said }));
    if (kept) toast(thanks);
    return kept !== undefined;
  }

  function show() {
    up.setAttribute("aria-pressed", String(said.rating === "up"));
    down.setAttribute("aria-pressed", String(said.rating === "down"));
    for (const chip of box.querySelectorAll(".chip")) {
      chip.setAttribute("aria-pressed", String(said.reasons.includes(chip.dataset.reason)));
    }
    note.textContent = said.correction ? "Your answer is kept." : "";
  }
}

function pick(given) {
  if (!given) return {};
  const { rating, reasons, comment, correction } = given;
  return { rating, reasons, comment, correction };
}
