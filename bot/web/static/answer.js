// One answer on the page: its state, its text as it comes, its sources, and what can be done with it.
import { cutSentence } from "./cut.js";
import { counted, h } from "./dom.js";
import { feedbackRow } from "./feedback.js";
import { icon } from "./icons.js";
import { attempt, copyText } from "./notices.js";
import { openPassage } from "./passage.js";
import { highlight, render } from "./render.js";

const READING_MS = 900;
const ENDED = {
  stopped: "Stopped.",
  aborted: "This answer was interrupted: the server ended while it was being written.",
};

export class Answer {
  /** `again` asks the question of an exchange anew. */
  constructor(question, { again, follow }) {
    Object.assign(this, { question, again, follow, text: "", passages: [] });
    this.status = h("p", { class: "status" }, "Searching the documents…");
    this.badge = h("p", { class: "badge", hidden: true });
    this.body = h("div", { class: "text" });
    this.foot = h("footer", {});
    this.element = h(
      "article",
      { class: "answer", "aria-label": `Answer to: ${question.slice(0, 80)}`, "aria-busy": "true" },
      this.badge,
      this.status,
      this.body,
      this.foot,
    );
  }

  /** The exchange is logged: what was found is known. */
  start({ exchange_id, passages, adapter, cut }) {
    Object.assign(this, { id: exchange_id, passages, adapter, cut });
    this.say(passages.length ? `Reading ${counted(passages.length, "passage")}…` : "No passage fits…");
    this.timer = setTimeout(() => !this.text && this.say("Thinking…"), READING_MS);
  }

  /** Position 1 is next, 0 has begun. */
  queue(position) {
    clearTimeout(this.timer);
    this.say(
      position === 0 ? "Thinking…" : position === 1 ? "Queued, next in line…" : `Queued, ${position - 1} ahead…`,
    );
  }

  say(text) {
    this.status.textContent = text;
    this.status.hidden = !text;
  }

  add(text) {
    this.text += text;
    this.say("");
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
      this.follow();
    });
  }

  draw() {
    this.body.replaceChildren(render(this.text, (n) => this.cite(n)));
  }

  cite(n) {
    const passage = this.passages.find((p) => p.n === n);
    if (!passage) return null;
    const button = h(
      "button",
      { class: "cite", title: passage.title, "aria-label": `Passage ${n}: ${passage.title}` },
      `${n}`,
    );
    button.addEventListener("click", () => attempt(() => openPassage(passage, button)));
    return button;
  }

  /** The answer is over, one way or the other; returns what a screen reader should say of it. */
  end({ declined = false, state = "finished", finish = "stop", feedback = null, error = "" } = {}) {
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
    this.frame = -1;
    this.draw();
    attempt(() => highlight(this.body));
    const sourceless = state === "finished" && (declined || (Boolean(this.id) && !this.passages.length));
    this.element.setAttribute("aria-busy", "false");
    this.element.classList.toggle("declined", sourceless);
    this.element.classList.toggle("failed", Boolean(error));
    this.badge.hidden = !sourceless;
    this.badge.textContent = this.passages.length ? "Not in the documents" : "No source found";
    this.say(error || ENDED[state] || (finish === "length" ? "Cut at the longest answer allowed." : ""));
    this.foot.replaceChildren(...this.footer(state, feedback));
    return (
      error ||
      [
        sourceless ? `${this.badge.textContent}.` : "Answer:",
        this.body.textContent,
        state === "stopped" ? "Stopped." : "",
      ]
        .join(" ")
        .trim()
    );
  }

  footer(state, feedback) {
    const written = this.text.trim();
    const left = cutSentence(this.cut);
    const doing = h(
      "span",
      { class: "row doing" },
      written ? this.tool("copy", "Copy the answer", () => copyText(written)) : null,
      this.again ? this.tool("again", "Answer again", () => this.again(this)) : null,
    );
    if (!this.id) return [h("div", { class: "row" }, doing)];
    return [
      this.sources(),
      left ? h("p", { class: "muted cut" }, left) : "",
      written ? feedbackRow(this.id, written, feedback, doing) : h("div", { class: "row" }, doing),
    ];
  }

  tool(sign, words, run) {
    return h(
      "button",
      { class: `icon ${sign}`, "aria-label": words, title: words, onclick: () => attempt(run) },
      icon(sign),
    );
  }

  sources() {
    const shown = this.passages.map((p) => {
      const button = h("button", { class: "source", title: p.title }, h("b", {}, `${p.n}`), ` ${p.title || "Passage"}`);
      button.addEventListener("click", () => attempt(() => openPassage(p, button)));
      return button;
    });
    return h(
      "div",
      { class: "row sources" },
      ...shown,
      h(
        "span",
        { class: "muted adapter", title: "The version that wrote this answer" },
        this.adapter === "base" ? "base model" : `adapter ${this.adapter}`,
      ),
    );
  }
}
