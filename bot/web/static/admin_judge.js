// Judge: how far it agrees with people, what it notices, and the answers whose labels would help most.
import { call, h } from "./dom.js";
import { decide, empty } from "./admin_shared.js";
import { sources } from "./cases.js";
import { card } from "./exchange_card.js";
import { agreement, suite } from "./judge_tables.js";
import { attempt } from "./notices.js";

const DEFAULT = "fitted";

export async function section(load) {
  const adapter = new URLSearchParams(location.search).get("adapter");
  return [adapter ? await labelling(adapter, load) : null, standing()];
}

/** A box that fills when the scheduler has answered; the page does not wait for it. */
function standing() {
  const box = h("div", {}, h("p", { class: "muted" }, "Asking the scheduler…"));
  fill(box);
  return box;
}

async function fill(box) {
  try {
    const [found, tasks] = await Promise.all([call("GET", "/v1/admin/judge"), call("GET", "/v1/admin/tasks")]);
    box.replaceChildren(
      trust(found),
      tried(found.tried),
      await next(
        found.label_next,
        tasks.data.map((task) => task.id),
      ),
    );
  } catch (error) {
    box.replaceChildren(
      empty(`${error.message} The scheduler compares the judge with people: it must run for that.`),
    );
  }
}

const trust = (found) =>
  h(
    "section",
    { class: "box", "data-tone": found.trusted ? "" : "bad", "aria-label": "Agreement" },
    h("h2", {}, `“${found.name}” and people`),
    h(
      "p",
      {},
      found.trusted
        ? "Nothing that people said speaks against it."
        : `It agrees too little with people on ${found.distrusted.join(", ")}: the gate says “not enough evidence” until that changes.`,
    ),
    agreement(found.agreement),
  );

function place(found) {
  if (found.name === DEFAULT) return "The judge that decides where no other one may.";
  return found.counts.length ? `It counts for ${found.counts.join(", ")}.` : "It does not count yet; the default decides.";
}

const tried = (found) =>
  h(
    "section",
    { class: "box", "aria-label": "Tried" },
    h("h2", {}, found ? `“${found.name}” at the last evaluation` : "At the last evaluation"),
    found ? h("p", {}, place(found)) : null,
    found?.reasons.length ? h("ul", {}, ...found.reasons.map((reason) => h("li", {}, reason))) : null,
    suite(found?.suite ?? []),
  );

async function next(ids, tasks) {
  const rows = ids.length
    ? (await call("GET", `/v1/admin/exchanges?limit=200&${ids.map((id) => `ids=${id}`).join("&")}`)).data
    : [];
  return h(
    "section",
    { "aria-label": "To label next" },
    h("h2", {}, "Your word would help most here"),
    h(
      "p",
      { class: "muted" },
      "A random sample of the answers: labels of picked ones would make the judge look better or worse than it is.",
    ),
    ...(rows.length
      ? rows.map((row) => card(row, tasks))
      : [empty("There is no answer with passages yet that nobody judged.")]),
  );
}

/** From how many labelled cases on the gate may decide again, in words. */
function due({ looks, needed }) {
  if (!looks.length) return `from ${needed} on they count at the gate`;
  const last = `the gate decided with ${looks.at(-1)}`;
  return needed === null ? `${last}, which are all` : `${last} and may again from ${needed} on`;
}

/** Held-out answers of an adapter and of what it was compared with, one case at a time, without their names. */
async function labelling(adapter, load) {
  const shown = h("div", { role: "group", "aria-label": "Answers to label", "aria-live": "polite" });
  const path = `/v1/admin/adapters/${encodeURIComponent(adapter)}`;
  const again = decide(
    [{ label: "Decide again", path: `${path}/decide-again`, kind: "primary", done: "The gate decides again." }],
    load,
  );
  const next = async () => {
    const found = await call("GET", `${path}/label-next`);
    const progress = `${found.labelled} of ${found.cases} cases labelled; ${due(found)}.`;
    again.hidden = found.needed === null || found.labelled < found.needed;
    shown.replaceChildren(
      h("p", { class: "muted" }, progress),
      ...(found.next ? asked(found.next) : [h("p", {}, "There is no case left to label.")]),
    );
  };
  const asked = (one) => {
    const left = new Set(one.answers.map((answer) => answer.digest));
    const say = (answer, value, label, buttons) =>
      h(
        "button",
        {
          type: "button",
          class: "small",
          onclick: () =>
            attempt(async () => {
              await call("PUT", `${path}/cases/${one.case_id}/label`, { answer: answer.digest, value });
              left.delete(answer.digest);
              buttons().replaceChildren(h("p", { class: "muted" }, `You said: ${label.toLowerCase()}.`));
              if (!left.size) await next();
            }),
        },
        label,
      );
    return [
      h("p", {}, h("b", {}, one.question)),
      sources(one),
      ...one.answers.map((answer, n) => {
        const row = h("div", { class: "row" });
        row.append(say(answer, true, "Right", () => row), say(answer, false, "Wrong", () => row));
        const name = `Answer ${"AB"[n]}`;
        return h("section", { class: "box", "aria-label": name }, h("p", { class: "pre" }, answer.text || "–"), row);
      }),
    ];
  };
  const box = h(
    "section",
    { class: "box", "aria-label": `Held-out answers of ${adapter}` },
    h("h2", {}, `Are these answers right? (${adapter})`),
    h("p", {}, "Say of each answer whether somebody who knows the matter would accept it. The order is random: it must be kept."),
    shown,
    again,
  );
  await next();
  return box;
}
