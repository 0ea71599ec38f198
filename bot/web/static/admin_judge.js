// Judge: how far it agrees with people, what it notices, and the answers whose labels would help most.
import { call, h } from "./dom.js";
import { empty } from "./admin_shared.js";
import { card } from "./exchange_card.js";
import { agreement, suite } from "./judge_tables.js";
import { labelling } from "./labelling.js";

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
