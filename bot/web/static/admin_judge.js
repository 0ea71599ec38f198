// Judge: how far it agrees with people, what it notices, and the answers whose labels would help most.
import { call, h } from "./dom.js";
import { empty, percent, table } from "./admin_shared.js";
import { card } from "./exchange_card.js";

const DEFAULT = "fitted";
const number = (value) => (typeof value === "number" ? value.toFixed(2) : "–");

export async function section() {
  const box = h("div", {}, h("p", { class: "muted" }, "Asking the scheduler…"));
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
  return box;
}

/** Agreement as a table that the dossier shows too. */
export const agreement = (rows) =>
  table(
    ["Measure", "Task", "n", "Accuracy", "Balanced", "κ", "AUROC"],
    rows.map((one) => [
      one.metric,
      one.task ?? "all",
      String(one.n),
      number(one.accuracy),
      number(one.balanced),
      number(one.kappa),
      number(one.auroc),
    ]),
    "Nobody has labelled cases yet: agreement with people is not measured.",
    "Agreement with people",
  );

/** How often the honest answer won against each way of making it worse. */
export const suite = (rows) =>
  table(
    ["Made worse by", "The honest answer wins", "n"],
    rows.map((one) => [one.variant, percent(one.share), String(one.n)]),
    "Not tried yet: each evaluation tries the judge before it counts.",
    "Answers made worse",
  );

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

function standing(found) {
  if (found.name === DEFAULT) return "The judge that decides where no other one may.";
  return found.counts.length ? `It counts for ${found.counts.join(", ")}.` : "It does not count yet; the default decides.";
}

const tried = (found) =>
  h(
    "section",
    { class: "box", "aria-label": "Tried" },
    h("h2", {}, found ? `“${found.name}” at the last evaluation` : "At the last evaluation"),
    found ? h("p", {}, standing(found)) : null,
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
    h("p", { class: "muted" }, "These answers are nearest to the judge's own line between yes and no."),
    ...(rows.length
      ? rows.map((row) => card(row, tasks))
      : [empty("There is no answer with passages yet that nobody judged.")]),
  );
}
