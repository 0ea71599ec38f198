// The chat page: asks, shows the answer as it comes, and keeps what is typed.
import { Answer } from "./answer.js";
import { call, h } from "./dom.js";
import { draftOf, forgetDrafts, keepDraft } from "./draft.js";
import { History } from "./history.js";
import { fillIcons, icon } from "./icons.js";
import { openMine } from "./mine.js";
import { attempt, toast } from "./notices.js";
import { closePassage, passageOpen } from "./passage.js";
import { ask } from "./stream.js";
import { ACCEPTED, sendFiles } from "./upload.js";

const $ = (id) => document.getElementById(id);
const log = $("log");
const input = $("question");
const learn = $("learn");
const welcome = $("welcome");
let conversation = null;
let consent = document.body.dataset.consent === "true";
let turns = [];
let editing = null;
let draft = "";
let refused = null;
let running = null;

const history = new History({
  open: openConversation,
  current: () => conversation,
  gone: (id) => id === conversation && begin(),
});

function follow() {
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 160) log.scrollTop = log.scrollHeight;
}

/** A turn is a question with its answer; only the last one can be edited or asked again. */
function show(question) {
  welcome.remove();
  const answer = new Answer(question, { again, follow });
  const edit = h(
    "button",
    { class: "icon edit", "aria-label": "Edit this question", title: "Edit", onclick: editLast },
    icon("edit"),
  );
  const asked = h(
    "div",
    { class: "turn" },
    h("div", { class: "asking" }, edit, h("article", { class: "asked", "aria-label": "You asked" }, question)),
    answer.element,
  );
  log.append(asked);
  log.scrollTop = log.scrollHeight;
  const turn = { question, answer, element: asked };
  turns.push(turn);
  return turn;
}

/** The exchange that a turn stands for: its own, or the one it was to replace while it has not begun. */
const exchangeOf = (turn) => turn?.answer.id ?? turn?.replaces;

/** Ask, in the place of a turn or at the end; what follows a turn that never began replaces what that should have. */
async function send(question, replaced = null) {
  if (!question || running) return;
  const last = turns.at(-1);
  const replaces = replaced ? exchangeOf(replaced) : last?.answer.id ? undefined : last?.replaces;
  if (replaced) drop(replaced);
  refused = null;
  const mine = turns; // a new conversation may begin while this answer is being written
  const turn = show(question);
  turn.replaces = replaces;
  running = new AbortController();
  busy(true);
  const spoken = await write(turn, mine);
  running = null;
  busy(false);
  $("spoken").textContent = spoken;
  follow();
  attempt(() => history.refresh());
}

async function write(turn, mine) {
  const { answer, replaces } = turn;
  const metadata = {
    ...(conversation && { conversation_id: conversation }),
    ...(replaces && { replaces }),
    train: learn.checked,
  };
  let spoken = "";
  try {
    for await (const event of ask(answer.question, metadata, running.signal)) {
      if (event.start) started(answer, event.start, mine);
      else if (event.queue !== undefined) answer.queue(event.queue);
      else if (event.text) answer.add(event.text);
      else if (event.end) spoken = answer.end({ declined: event.end.declined, finish: event.end.finish_reason });
    }
  } catch (error) {
    const stopped = error.name === "AbortError";
    spoken = answer.end(stopped ? { state: "stopped" } : { state: "failed", error: error.message });
    if (!stopped && !answer.text && !input.value && mine === turns) {
      fill(answer.question);
      refused = answer.id ? null : turn;
    }
  }
  return spoken;
}

function started(answer, begun, mine) {
  answer.start(begun);
  if (mine !== turns) return;
  const isNew = conversation === null;
  inConversation(begun.conversation_id);
  if (isNew && !learn.checked && consent)
    attempt(() => call("PATCH", `/v1/conversations/${conversation}`, { train: false }));
}

function drop(turn) {
  turns.splice(turns.indexOf(turn), 1);
  turn.element.remove();
}

function again(answer) {
  const turn = turns.at(-1);
  if (turn?.answer !== answer || running) return;
  if (turn === refused) fill("");
  send(turn.question, turn);
}

function editLast() {
  const turn = turns.at(-1);
  if (!turn || running) return;
  draft = turn === refused ? "" : editing ? draft : input.value;
  keepDraft(conversation, draft);
  refused = null;
  editing = turn;
  set(turn.question);
  $("editing").hidden = false;
  turn.element.classList.add("edited");
  input.focus();
}

function endEditing() {
  editing?.element.classList.remove("edited");
  editing = null;
  $("editing").hidden = true;
  fill(draft);
  draft = "";
}

function submit() {
  const question = input.value.trim();
  if (!question || running) return;
  const replaced = editing ?? refused;
  if (editing) endEditing();
  else fill("");
  send(question, replaced);
}

function busy(on) {
  $("send").hidden = on;
  $("stop").hidden = !on;
  document.body.classList.toggle("busy", on);
  if (!on) input.focus();
}

function fill(text) {
  keepDraft(conversation, text);
  set(text);
}

function set(text) {
  input.value = text;
  grow();
}

function grow() {
  input.rows = Math.min(8, Math.max(1, input.value.split("\n").length, Math.ceil(input.value.length / 70)));
}

async function openConversation(id) {
  const found = await call("GET", `/v1/conversations/${id}`);
  clear();
  inConversation(id);
  for (const row of path(found.exchanges)) {
    const { answer } = show(row.question);
    Object.assign(answer, { id: row.id, passages: row.passages, adapter: row.adapter, cut: row.cut, text: row.answer });
    const error = row.state === "failed" ? row.error || "This answer failed." : "";
    answer.end({ declined: row.declined, state: row.state, feedback: row.feedback, error });
  }
  learn.checked = found.train && consent;
  fill(draftOf(id));
  menu(false);
  await history.refresh();
}

/** The newest way through a conversation: what was edited or asked again is left aside. */
function path(exchanges) {
  const byId = new Map(exchanges.map((row) => [row.id, row]));
  const found = [];
  for (let row = exchanges.at(-1); row; row = byId.get(row.parent_id)) found.unshift(row);
  return found;
}

/** The address names the conversation, so that a reload comes back to it. */
function inConversation(id) {
  conversation = id;
  globalThis.history.replaceState(null, "", id ? `#${id}` : location.pathname);
}

function clear() {
  running?.abort();
  if (editing) endEditing();
  refused = null;
  inConversation(null);
  turns = [];
  log.replaceChildren();
  if (passageOpen()) closePassage();
}

function begin() {
  clear();
  log.append(welcome);
  learn.checked = consent;
  fill(draftOf(null));
  menu(false);
  attempt(() => history.refresh());
  input.focus();
}

function menu(open) {
  $("conversations").classList.toggle("open", open);
  $("menu").setAttribute("aria-expanded", String(open));
}

function consented(agrees) {
  consent = agrees;
  learn.disabled = !agrees;
  learn.checked = agrees;
}

async function upload(files) {
  const box = $("uploads");
  box.hidden = false;
  const { added, skipped } = await sendFiles([...files], box);
  if (!skipped) toast(added ? "Added: it can be asked about now." : "It was there already.");
  setTimeout(() => (box.hidden = true), skipped ? 15_000 : 5000);
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
$("stop").addEventListener("click", () => running?.abort());
$("menu").addEventListener("click", () => menu(!$("conversations").classList.contains("open")));
$("new").addEventListener("click", begin);
$("mine").addEventListener("click", () => attempt(() => openMine({ cleared: begin, changed: consented })));
$("cancel-edit").addEventListener("click", endEditing);
learn.addEventListener("change", () =>
  attempt(async () => {
    if (conversation) await call("PATCH", `/v1/conversations/${conversation}`, { train: learn.checked });
    toast(learn.checked ? "From here on, this chat may be learned from." : "This chat will not be learned from.");
  }),
);
input.addEventListener("input", () => {
  if (!editing) keepDraft(conversation, input.value);
  grow();
});
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  } else if (event.key === "ArrowUp" && !input.value && turns.length) {
    event.preventDefault();
    editLast();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (running) running.abort();
  else if (passageOpen()) closePassage();
  else if (editing) $("cancel-edit").click();
  else menu(false);
});
$("attach")?.addEventListener("click", () => $("files").click());
$("files")?.setAttribute("accept", ACCEPTED);
$("files")?.addEventListener("change", (event) => attempt(() => upload(event.target.files)));
document.querySelector("form[action='/logout']")?.addEventListener("submit", forgetDrafts);
addEventListener("offline", () => toast("You are offline. What you type is kept.", "error"));
addEventListener("online", () => toast("You are online again."));
fillIcons();
consented(consent);
fill(draftOf(null));
if (/^#co_\w+$/.test(location.hash)) openConversation(location.hash.slice(1)).catch(begin);
else attempt(() => history.refresh());
