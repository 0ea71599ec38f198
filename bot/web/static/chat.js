// The chat page: asks, shows the answer as it comes, its passages, and takes feedback.
import { cutSentence } from "./cut.js";
import { attempt, call, h, toast } from "./dom.js";
import { feedbackRow } from "./feedback.js";
import { closePassage, openPassage, passageOpen } from "./passage.js";
import { render } from "./render.js";
import { ask } from "./stream.js";

const $ = (id) => document.getElementById(id);
const log = $("log");
const input = $("question");
let conversation = null;
let messages = [];
let running = null;

class Answer {
  constructor(question) {
    this.text = "";
    this.passages = [];
    this.status = h("p", { class: "status", role: "status" }, "Searching the documents…");
    this.body = h("div", { class: "text" });
    this.foot = h("footer", {});
    this.element = h("article", { class: "answer", "aria-label": `Answer to: ${question.slice(0, 80)}`, "aria-busy": "true" },
      this.status, this.body, this.foot);
  }

  start(begun) {
    this.id = begun.exchange_id;
    this.passages = begun.passages;
    this.adapter = begun.adapter;
    this.cut = begun.cut;
    const count = begun.passages.length;
    this.say(count === 0 ? "No passage fits…" : `Reading ${count} ${count === 1 ? "passage" : "passages"}…`);
    this.timer = setTimeout(() => !this.text && this.say("Thinking…"), 900);
  }

  /** Position 1 is next, 0 has begun. */
  queue(position) {
    clearTimeout(this.timer);
    this.say(position === 0 ? "Thinking…" : position === 1 ? "Queued, next in line…" : `Queued, ${position - 1} ahead…`);
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
      follow();
    });
  }

  draw() {
    this.body.replaceChildren(render(this.text, (n) => this.cite(n)));
  }

  cite(n) {
    const passage = this.passages.find((p) => p.n === n);
    if (!passage) return null;
    const button = h("button", { class: "cite", title: passage.title, "aria-label": `Passage ${n}: ${passage.title}` }, `${n}`);
    button.addEventListener("click", () => attempt(() => openPassage(passage, button)));
    return button;
  }

  end({ declined = false, state = "finished", finish = "stop", feedback = null, error = "" } = {}) {
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
    this.frame = -1;
    this.draw();
    this.element.setAttribute("aria-busy", "false");
    this.element.classList.toggle("declined", declined && state === "finished");
    this.say(error || (state === "stopped" ? "Stopped." : finish === "length" ? "Cut at the longest answer allowed." : ""));
    this.element.classList.toggle("failed", Boolean(error));
    if (declined && state === "finished") this.element.prepend(h("p", { class: "badge" }, "Not in the documents"));
    if (!this.id) return;
    const left = cutSentence(this.cut);
    this.foot.replaceChildren(this.sources(), left ? h("p", { class: "muted cut" }, left) : "", ...(this.text.trim() ? [feedbackRow(this.id, this.text.trim(), feedback)] : []));
  }

  sources() {
    const shown = this.passages.map((p) => {
      const button = h("button", { class: "source" }, h("b", {}, `${p.n}`), ` ${p.title || "Passage"}`);
      button.addEventListener("click", () => attempt(() => openPassage(p, button)));
      return button;
    });
    return h("div", { class: "row sources" }, ...shown,
      h("span", { class: "muted adapter", title: "The version that wrote this answer" },
        this.adapter === "base" ? "base model" : `adapter ${this.adapter}`));
  }
}

function follow() {
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 160) log.scrollTop = log.scrollHeight;
}

function show(question) {
  $("welcome")?.remove();
  const answer = new Answer(question);
  log.append(h("article", { class: "asked", "aria-label": "You asked" }, question), answer.element);
  log.scrollTop = log.scrollHeight;
  return answer;
}

async function send() {
  const question = input.value.trim();
  if (!question || running) return;
  input.value = "";
  grow();
  const answer = show(question);
  const mine = messages; // a new conversation may begin while this answer is being written
  mine.push({ role: "user", content: question });
  running = new AbortController();
  busy(true);
  try {
    for await (const event of ask(mine, conversation, running.signal)) {
      if (event.start) {
        conversation = event.start.conversation_id;
        answer.start(event.start);
      } else if (event.queue !== undefined) answer.queue(event.queue);
      else if (event.text) answer.add(event.text);
      else if (event.end) answer.end({ declined: event.end.declined, finish: event.end.finish_reason });
    }
  } catch (error) {
    const stopped = error.name === "AbortError";
    answer.end(stopped ? { state: "stopped" } : { state: "failed", error: error.message });
    if (!stopped && !answer.text) input.value = question;
  }
  if (answer.text.trim()) mine.push({ role: "assistant", content: answer.text.trim() });
  else mine.pop();
  running = null;
  busy(false);
  follow();
  attempt(listConversations);
}

function busy(on) {
  $("send").hidden = on;
  $("stop").hidden = !on;
  if (!on) input.focus();
}

function grow() {
  input.rows = Math.min(8, Math.max(1, input.value.split("\n").length, Math.ceil(input.value.length / 70)));
}

async function listConversations() {
  const found = await call("GET", "/v1/conversations?limit=50");
  $("conversation-list").replaceChildren(...found.data.map((row) =>
    h("li", {}, h("button", {
      class: "conversation",
      "aria-current": row.id === conversation ? "true" : null,
      onclick: () => attempt(() => openConversation(row.id)),
    }, row.title || "Untitled"))));
}

async function openConversation(id) {
  const found = await call("GET", `/v1/conversations/${id}`);
  clear();
  conversation = id;
  for (const row of found.exchanges) {
    const answer = show(row.question);
    Object.assign(answer, { id: row.id, passages: row.passages, adapter: row.adapter, cut: row.cut, text: row.answer });
    const error = row.state === "failed" ? row.error || "This answer failed." : "";
    answer.end({ declined: row.declined, state: row.state, feedback: row.feedback, error });
    if (row.answer) messages.push({ role: "user", content: row.question }, { role: "assistant", content: row.answer });
  }
  await listConversations();
  menu(false);
}

function clear() {
  running?.abort();
  conversation = null;
  messages = [];
  log.replaceChildren();
  if (passageOpen()) closePassage();
}

function menu(open) {
  $("conversations").classList.toggle("open", open);
  $("menu").setAttribute("aria-expanded", String(open));
}

const welcome = $("welcome");
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("stop").addEventListener("click", () => running?.abort());
$("menu").addEventListener("click", () => menu(!$("conversations").classList.contains("open")));
$("new").addEventListener("click", () => {
  clear();
  log.append(welcome);
  menu(false);
  attempt(listConversations);
  input.focus();
});
input.addEventListener("input", grow);
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (running) running.abort();
  else if (passageOpen()) closePassage();
  else menu(false);
});
addEventListener("offline", () => toast("You are offline.", "error"));
attempt(listConversations);
