// Approval: one screen per adapter that waits, with all that a decision needs.
import { call, counted, h } from "./dom.js";
import { asking } from "./agreeing.js";
import { decide, empty, facts, percentage, state } from "./admin_shared.js";
import { previewBox } from "./admin_preview.js";
import { blindBox } from "./blind.js";
import { cases } from "./cases.js";
import { data, dossierOf, rest, rules, verdict } from "./dossier.js";

export async function section(load) {
  const [waiting, rankings] = await Promise.all([
    call("GET", "/v1/admin/adapters?state=awaiting_approval&limit=20"),
    call("GET", "/v1/admin/rankings?limit=20"),
  ]);
  const weights = rankings.data.filter((one) => one.state === "awaiting_approval");
  if (!waiting.data.length && !weights.length) {
    return empty(
      "Nothing waits for a decision. A cycle puts an adapter here when it has proved to be better.",
      h("a", { class: "button small", href: "/admin/cycles" }, "To the cycles"),
    );
  }
  return [
    ...(await Promise.all(waiting.data.map((row, n) => screen(row.id, load, n === 0)))),
    ...weights.map((row) => weighing(row, load)),
  ];
}

async function screen(id, load, open) {
  const found = await dossierOf(id);
  const decision = deciding(found, load);
  const told = (sentence) => {
    const comment = decision.comment;
    comment.value = comment.value.includes("Blind:")
      ? comment.value.replace(/Blind:[^.]*\./, sentence)
      : `${comment.value} ${sentence}`.trim();
  };
  return h(
    "details",
    { class: "decision", open, id },
    h("summary", {}, h("h2", {}, id), " ", state(found.row.state)),
    h(
      "p",
      { class: "row" },
      h("a", { href: `/admin/dossier/${id}` }, "Printable dossier"),
      h("a", { class: "only-narrow", href: `#decide-${id}` }, "To the decision"),
    ),
    h(
      "div",
      { class: "screen" },
      h(
        "div",
        { class: "evidence" },
        verdict(found),
        rules(found),
        h(
          "section",
          { class: "part", "aria-label": "Compare blind" },
          h("h2", {}, "Compare blind"),
          blindBox(found, told),
          previewBox(id),
        ),
        ...cases(found),
        data(found),
        ...rest(found),
      ),
      h(
        "aside",
        { class: "box sticky", id: `decide-${id}`, "aria-label": `Decide on ${id}` },
        h("h2", {}, "Your decision"),
        approvals(found),
        decision,
      ),
    ),
  );
}

/** The agreements that more people may join, to the terms of the newest. */
function standing({ approvals }) {
  const open = approvals.filter((one) => one.open);
  const terms = ({ share, testers }) => JSON.stringify([share, testers]);
  return open.filter((one) => terms(one) === terms(open.at(-1)));
}

/** Who has agreed already, where more than one person must. */
function approvals(found) {
  const { approvers: needed = 1 } = found;
  if (needed < 2) return null;
  const given = standing(found);
  return h(
    "p",
    { class: "said" },
    given.length
      ? asking({ ...given[0], by: given, missing: needed - given.length })
      : `${needed} people must agree before it is deployed.`,
  );
}

/** Fields for whom a version is: a share in percent, and testers by name; `value()` is what the API takes. */
export function audience(share, testers) {
  const percent = h("input", {
    type: "number",
    min: "0",
    max: "100",
    step: "any",
    value: percentage(share),
    "aria-label": "Share in percent",
  });
  const names = h("input", { value: testers.join(", "), placeholder: "ann, ben", "aria-label": "Testers" });
  const field = h(
    "div",
    { class: "row audience" },
    h("label", {}, "Share", percent, "%"),
    h("label", {}, "Testers", names),
  );
  const value = () => ({
    share: percent.valueAsNumber / 100,
    testers: names.value
      .split(",")
      .map((name) => name.trim())
      .filter(Boolean),
  });
  return { field, value };
}

/**
 * The form begins with the terms that others have agreed to, so that who agrees with them changes nothing; what is
 * approved is the report that is shown.
 */
function deciding(found, load) {
  const { row, digests } = found;
  const [terms] = standing(found);
  const { field, value } = audience(terms?.share ?? 1, terms?.testers ?? []);
  const beside = h(
    "div",
    {},
    field,
    h("p", { class: "muted" }, "100 % is everybody at once. Less makes it a canary, which also answers the testers."),
  );
  const done = (answer) =>
    answer.state === "awaiting_approval"
      ? `Kept: ${row.id} needs ${counted(answer.approvals_missing, "more person", "more people")}.`
      : `${row.id} is approved; the bots are loading it.`;
  return decide(
    [
      {
        label: "Approve and deploy",
        path: `/v1/admin/adapters/${row.id}/approve`,
        kind: "primary",
        extra: () => ({ ...value(), report_digest: digests.report }),
        done,
      },
      { label: "Reject", path: `/v1/admin/adapters/${row.id}/reject`, kind: "danger", done: `${row.id} is rejected.` },
    ],
    load,
    beside,
  );
}

function weighing(row, load) {
  return h(
    "section",
    { class: "box", "aria-label": `Weights ${row.id}` },
    h("h2", {}, `Weights of retrieval ${row.id}`),
    h("ul", {}, ...row.reasons.map((reason) => h("li", {}, String(reason)))),
    facts(Object.entries(row.weights).map(([name, value]) => [name, value.toFixed(3)])),
    decide(
      [
        {
          label: "Put in force",
          path: `/v1/admin/rankings/${row.id}/approve`,
          kind: "primary",
          done: `${row.id} is in force.`,
        },
        {
          label: "Reject",
          path: `/v1/admin/rankings/${row.id}/reject`,
          kind: "danger",
          done: `${row.id} is rejected.`,
        },
      ],
      load,
    ),
  );
}
