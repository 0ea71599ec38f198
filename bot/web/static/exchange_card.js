// One logged exchange: exactly what the model saw, what people and the judge say of it, its task, the right answer.
import { act, facts, percent, state } from "./admin_shared.js";
import { cutSentence } from "./cut.js";
import { call, cut, h, lasted, when } from "./dom.js";
import { attempt, toast } from "./notices.js";

export const FAULTS = {
  "": "any kind",
  missing_document: "no document covers it",
  retrieval_miss: "passage not found",
  context_misused: "passage misused",
  style_or_form: "style or form",
  unclear: "unclear",
};

/** One exchange, its inside made when it is opened; `tasks` are the names to choose from, `fault` what is wrong.
 *
 * Reviewers, who are no admins, correct and approve; the rest is an admin's.
 */
export function card(row, tasks, fault = null, { admin = true } = {}) {
  const inside = h("div");
  const marks = h("span", { class: "marks" });
  const mark = () =>
    marks.replaceChildren(
      ...[
        row.feedback?.rating ? state(row.feedback.rating === "up" ? "liked" : "disliked") : null,
        row.feedback?.correction ? state(row.feedback.approved ? "approved answer" : "corrected") : null,
        row.declined ? state("declined") : row.state === "finished" ? null : state(row.state),
      ].filter(Boolean),
    );
  mark();
  const frame = h(
    "details",
    {
      class: "box exchange",
      id: row.id,
      ontoggle: (event) => {
        if (event.target === frame && frame.open && !inside.firstChild) inside.append(...opened(row, tasks, fault, admin, mark));
      },
    },
    h(
      "summary",
      {},
      h("span", { class: "asked-line" }, cut(row.question, 110)),
      marks,
      h(
        "span",
        { class: "muted" },
        [row.labels[0]?.task, row.adapter === "base" ? "base model" : row.adapter, row.person, when(row.created_at)]
          .filter(Boolean)
          .join(" · "),
      ),
    ),
    inside,
  );
  return frame;
}

function opened(row, tasks, fault, admin, mark) {
  const { reasons = [], comment = "" } = row.feedback ?? {};
  return [
    fault ? h("p", { class: "alert" }, `${FAULTS[fault.cause]}: ${fault.evidence}`) : null,
    h("h3", {}, "Question"),
    h("p", { class: "pre" }, row.question),
    h("h3", {}, "Answer"),
    h("p", { class: "pre" }, row.answer || "–"),
    row.error ? h("p", { class: "alert" }, row.error) : null,
    comment || reasons.length
      ? h("p", { class: "said" }, "Said: ", [...reasons, comment].filter(Boolean).join(" · "))
      : null,
    admin ? judgedBox(row) : null,
    admin && row.state === "finished" ? ownJudgement(row) : null,
    passages(row),
    messages(row),
    admin ? taskRow(row, tasks) : null,
    rightAnswer(row, admin, mark),
    h(
      "details",
      {},
      h("summary", {}, "Facts"),
      facts([
        ["Exchange", row.id],
        ["Conversation", row.conversation_id],
        ["Adapter", row.adapter],
        ["Model", row.model],
        ["Took", row.timings.total_ms ? lasted(row.timings.total_ms / 1000) : ""],
        ["Tokens", `${row.prompt_tokens} read, ${row.completion_tokens} written`],
        ["May be trained on", row.trainable ? "yes" : "no"],
        ["Began", when(row.created_at)],
      ]),
    ),
  ].filter(Boolean);
}

function passages(row) {
  const stale = (p) => (p.stale ? [" ", state("stale")] : []);
  const shown = row.passages.map((p) =>
    h(
      "li",
      { value: p.n },
      h("b", {}, p.title || "Passage"),
      h("span", { class: "muted" }, ` ${percent(p.score)} match`),
      ...stale(p),
      h("p", { class: "pre muted" }, p.text),
    ),
  );
  return h(
    "details",
    {},
    h("summary", {}, `The passages it was shown (${row.passages.length})`),
    shown.length ? h("ol", {}, ...shown) : h("p", { class: "muted" }, "None."),
    cutSentence(row.cut) ? h("p", { class: "muted" }, cutSentence(row.cut)) : null,
  );
}

const messages = (row) =>
  h(
    "details",
    {},
    h("summary", {}, "Exactly what the model saw"),
    ...row.messages.map((message) =>
      h("div", { class: "message" }, h("b", {}, message.role), h("pre", { tabindex: "0" }, message.content)),
    ),
  );

function judgedBox(row) {
  const shown = h("div", {});
  const ask = act(
    "What the judge says",
    async () => {
      const found = await call("GET", `/v1/admin/exchanges/${row.id}/judged`);
      shown.replaceChildren(
        h("p", {}, `Groundedness ${percent(found.groundedness)}, by the judge “${found.judge}”:`),
        h(
          "ul",
          { class: "judged" },
          ...found.sentences.map((one) =>
            h(
              "li",
              {},
              h(
                "span",
                { class: `state ${one.support >= found.supported_from ? "good" : "bad"}` },
                one.passage === null ? "no passage" : `${percent(one.support)} by [${one.passage}]`,
              ),
              " ",
              one.sentence,
            ),
          ),
        ),
      );
      return found;
    },
    { done: "Judged." },
  );
  return h("div", { class: "row judging" }, ask, shown);
}

const ASKED = [
  ["support", "Do the passages support the answer?"],
  ["accuracy", "Is the answer right?"],
  ["relevance", "Are the passages about the question?"],
];

/** What people say where the judge scores too: how far it is trusted rests on it; it can be put right and taken back. */
function ownJudgement(row) {
  const said = new Map((row.judge_labels ?? []).map((one) => [one.metric, one]));
  return h("details", {}, h("summary", {}, "Judge it yourself"), ...ASKED.map((asked) => judgement(row, said, asked)));
}

function judgement(row, said, [metric, question]) {
  const path = `/v1/admin/exchanges/${row.id}/judge-label`;
  const put = async (value) => {
    const kept = await call("PUT", path, { metric, value });
    if (value === null) said.delete(metric);
    else said.set(metric, kept);
    show();
    return kept;
  };
  const answer = (word, value) =>
    act(word, () => put(value), { name: `${question} ${word}`, done: `Noted: ${question} ${word}.` });
  const [yes, no] = [answer("Yes", true), answer("No", false)];
  const back = act("Take back", () => put(null), { name: `${question} Take back`, done: "Taken back." });
  const who = h("span", { class: "muted" });
  const show = () => {
    const one = said.get(metric);
    yes.setAttribute("aria-pressed", String(one?.value === true));
    no.setAttribute("aria-pressed", String(one?.value === false));
    back.hidden = !one;
    who.textContent = one ? `said by ${one.name}` : "";
  };
  show();
  return h("div", { class: "row judgement" }, h("span", {}, question), yes, no, back, who);
}

function taskRow(row, tasks) {
  const label = row.labels[0];
  const select = h(
    "select",
    { "aria-label": "Task" },
    label ? null : h("option", { value: "" }, "not labelled yet"),
    ...tasks.map((task) => h("option", { selected: task === label?.task }, task)),
  );
  return h(
    "div",
    { class: "row" },
    h("h3", {}, "Task"),
    select,
    act("Keep this task", () => call("PUT", `/v1/admin/exchanges/${row.id}/label`, { task: select.value }), {
      done: (kept) => `Its task is ${kept.task}; the classifier learns from it.`,
    }),
    label ? h("span", { class: "muted" }, `so far ${label.task}, ${percent(label.confidence)} sure`) : null,
  );
}

/** The right answer: written, approved, withdrawn; `mark` shows on the card what became of it. */
function rightAnswer(row, admin, mark) {
  const text = h(
    "textarea",
    { rows: "5", "aria-label": "The right answer", maxlength: "20000" },
    row.feedback?.correction || row.answer,
  );
  const head = h("h3", {});
  const say = async (said) => {
    row.feedback = await call("POST", "/v1/feedback", { exchange_id: row.id, ...said });
    show();
    return row.feedback;
  };
  const approve = act(
    "Approve as the right answer",
    () => {
      if (!text.value.trim()) throw new Error("There is no right answer to approve: write it first.");
      return say({ correction: text.value, approved: true });
    },
    {
      kind: "primary",
      done: ({ approved }) =>
        approved
          ? "Kept as an approved answer: the best kind of example there is."
          : "Kept, but not as an approved answer.",
    },
  );
  const withdraw = act("Withdraw", () => say({ correction: "", approved: false }), {
    done: "Withdrawn: it is shown to nobody any more, and nothing will learn from it.",
  });
  const show = () => {
    const { correction = "", approved = false } = row.feedback ?? {};
    head.textContent = approved ? "Approved answer" : correction ? "Somebody's correction" : "Right answer";
    withdraw.hidden = !approved;
    mark();
  };
  show();
  const golden = h(
    "button",
    {
      type: "button",
      class: "small",
      onclick: () =>
        attempt(async () => {
          await call("POST", "/v1/admin/golden", { exchange_id: row.id, comment: "from the exchanges page" });
          toast("Held out for ever: every candidate is measured on it.");
        }),
    },
    "Hold out as a test question",
  );
  return h("div", { class: "decide" }, head, text, h("div", { class: "row" }, approve, withdraw, admin ? golden : null));
}
