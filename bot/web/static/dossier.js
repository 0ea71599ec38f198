// The dossier of an adapter: what was measured, on what, at what cost. The approval and the printable page show it.
import { call, counted, h, lasted } from "./dom.js";
import { empty, facts, table } from "./admin_shared.js";
import { forest, signed } from "./forest.js";
import { agreement, everyMetric, named as measure, suite } from "./judge_tables.js";

const NOT_MEASURED = "Not measured.";
const PARTS = {
  verdict: {},
  changes: {},
  data: {},
  rules: [],
  wins: [],
  losses: [],
  metrics: [],
  slices: [],
  alternatives: [],
  contenders: [],
  judge: null,
  cost: {},
  expectation: {},
  digests: {},
  approvals: [],
  decisions: [],
};

/** The dossier, or what the adapter's own row says where there is none yet. */
export async function dossierOf(id) {
  const adapter = await call("GET", `/v1/admin/adapters/${encodeURIComponent(id)}`);
  const found = await call("GET", `/v1/admin/adapters/${encodeURIComponent(id)}/dossier`).catch((error) => {
    if (error.status === 404) return fallback(adapter);
    throw error;
  });
  const whole = Object.fromEntries(Object.entries(PARTS).map(([name, none]) => [name, found[name] ?? none]));
  return { ...found, ...whole, row: adapter };
}

function fallback(adapter) {
  return {
    adapter: adapter.id,
    cycle_id: adapter.cycle_id,
    state: adapter.state,
    verdict: { decision: adapter.verdict.verdict, reasons: adapter.reasons, needed: null },
    changes: {
      base_model: adapter.base_model,
      replaces: adapter.compared_with,
      recipe: adapter.recipe,
      tasks: adapter.recipe.tasks,
    },
    data: {
      examples: adapter.lineage.examples,
      people: adapter.lineage.people?.length,
      documents: adapter.lineage.documents?.length,
    },
    rules: (adapter.verdict.deltas ?? []).map((one) => ({ against: "serving", ...one })),
    digests: { adapter: adapter.digest, dataset: adapter.dataset_digest, report: adapter.report_digest },
  };
}

const WORDS = {
  promote: "Better: the gate says promote",
  reject: "Not better: the gate says reject",
  not_enough_evidence: "The gate cannot tell yet",
};

/** What the gate says. */
export function verdict({ verdict: said, expectation }) {
  const tone = said.decision === "promote" ? "good" : said.decision === "reject" ? "bad" : "warn";
  return h(
    "section",
    { class: "box verdict", "data-tone": tone, "aria-label": "Verdict" },
    h("h2", {}, WORDS[said.decision] ?? "No verdict yet"),
    (said.reasons ?? []).length
      ? h("ul", {}, ...said.reasons.map((reason) => h("li", {}, String(reason))))
      : h("p", { class: "muted" }, NOT_MEASURED),
    said.needed
      ? h("p", {}, `About ${counted(said.needed, "more held-out case")} (${said.needed_of}) would decide it.`)
      : null,
    expectation.expected
      ? facts([
          ["Expected", expectation.expected],
          ["Found", expectation.found ?? NOT_MEASURED],
        ])
      : null,
  );
}

const RANK = { primary: 0, guardrail: 1, information: 2 };
const passing = ({ passed, role }) =>
  passed === true
    ? h("span", { class: "gain" }, "✓ passed")
    : passed === false
      ? h("span", { class: "loss" }, "✗ failed")
      : h("span", { class: "muted" }, role === "information" ? "– shown only" : "? not settled");
const other = (row) => (row.against === "serving" ? "what serves" : row.against);

/** Each rule of the gate: as a picture, and in words. */
export function rules({ rules: all }) {
  if (!all.length) return part("Rules of the gate", empty(NOT_MEASURED));
  const sorted = [...all].sort(
    (a, b) =>
      (RANK[a.role] ?? 3) - (RANK[b.role] ?? 3) || (a.passed === false ? -1 : 0) - (b.passed === false ? -1 : 0),
  );
  const named = (row) => ({
    ...row,
    name: measure(row),
    note: [row.task && row.task !== "all" ? row.task : "", row.against === "serving" ? "" : `against ${other(row)}`]
      .filter(Boolean)
      .join(", "),
  });
  return part(
    "Rules of the gate",
    forest(
      sorted.map(named),
      "Candidate minus what it is held against; right of zero is better. The dashed line is the loss that a guardrail allows.",
    ),
    table(
      ["Measure", "Task", "Role", "Passed", "Candidate", "Against", "Its figure", "In words"],
      sorted.map((row) => [
        h("b", {}, measure(row)),
        row.task ?? "all",
        row.role ?? "",
        passing(row),
        number(row.candidate),
        other(row),
        number(row.serving),
        row.sentence ?? "",
      ]),
      NOT_MEASURED,
      "Rules of the gate",
    ),
  );
}

export const number = (value) => (typeof value === "number" ? value.toFixed(3) : "–");

/** Where the data came from and what was left out. */
export function data({ data: found, row, cycle_id: cycle }) {
  const rows = (rule) =>
    cycle
      ? h(
          "a",
          { href: `/admin/exchanges?${new URLSearchParams({ cycle, line: `left out: ${rule}` })}` },
          rule.replaceAll("_", " "),
        )
      : rule;
  const funnel = found.funnel ?? [];
  const most = Math.max(1, ...funnel.map((one) => (one.left ?? 0) + (one.removed ?? 0)));
  return part(
    "Data",
    facts([
      ["Examples", count(found.examples)],
      ["Exchanges", count(found.exchanges)],
      ["People", count(found.people)],
      ["Documents", count(found.documents)],
      [
        "Kinds",
        Object.entries(found.kinds ?? {})
          .map(([kind, n]) => `${kind.replaceAll("_", " ")} ${n}`)
          .join(", "),
      ],
      ["Stale by now", row.stale_examples ? `${row.stale_examples} of ${row.examples}` : "none"],
    ]),
    funnel.length
      ? h(
          "ol",
          { class: "funnel" },
          ...funnel.map((one) =>
            h(
              "li",
              {},
              h("span", {}, rows(one.rule)),
              h("progress", { max: most, value: one.left ?? 0, "aria-label": `${one.rule}: ${one.left} left` }),
              h("span", { class: "muted" }, `${one.removed ?? 0} left out, ${one.left ?? 0} stay`),
            ),
          ),
        )
      : h("p", { class: "muted" }, "The funnel was not kept."),
    h(
      "p",
      {},
      h("a", { href: `/admin/exchanges?trained=${encodeURIComponent(row.id)}` }, "The rows that it learned from"),
    ),
  );
}

const count = (n) => (typeof n === "number" ? n.toLocaleString() : NOT_MEASURED);

/** What a tournament tried against each other, round by round. */
const tournament = (contenders) =>
  part(
    "The tournament",
    table(
      ["Way of training", "Adapter", "Rounds: share of the examples, steps, loss", "What became of it"],
      contenders.map((one) => [
        one.kept ? h("b", {}, `${one.name} (kept)`) : one.name,
        one.adapter,
        one.rounds
          .map(({ share, steps, loss }) => `${Math.round(share * 100)} %, ${counted(steps, "step")}, ${number(loss)}`)
          .join("; "),
        one.why ?? NOT_MEASURED,
      ]),
    ),
  );

const GATE = { promote: "would be promoted", reject: "would be rejected", not_enough_evidence: "cannot tell yet" };

/** Why the gate would reject a cheaper fix, once each. */
const whyNot = (alternatives) =>
  [...new Map(alternatives.filter((one) => one.why).map((one) => [one.what, one.why]))].map(([what, why]) =>
    h("p", { class: "muted" }, `${what}: ${why}`),
  );

/** Every metric, the tournament, the cheaper fixes, slices of the cases, the judge, cost and digests. */
export function rest({ metrics, contenders, slices, alternatives, judge, cost, changes, digests }, { open } = {}) {
  const figures = h("summary", {}, counted(metrics.length, "figure"));
  return [
    part("Every metric, by task", h("details", { open }, figures, everyMetric(metrics))),
    ...(contenders.length ? [tournament(contenders)] : []),
    part(
      "Cheaper fixes at the same gate",
      alternatives.length
        ? table(
            ["What", "Measure", "Mean", "Difference from the candidate", "95 % interval", "n", "Gate"],
            alternatives.map((one) => [
              one.best ? h("b", {}, `${one.what} (best)`) : one.what,
              measure(one),
              number(one.mean),
              signed(one.difference),
              `${signed(one.low)} … ${signed(one.high)}`,
              String(one.n),
              GATE[one.gate] ?? "–",
            ]),
          )
        : h("p", { class: "muted" }, NOT_MEASURED),
      ...whyNot(alternatives),
    ),
    part(
      "Slices",
      slices.length
        ? forest(
            slices.map((one) => ({ ...one, name: one.slice, note: measure(one) })),
            "Difference by slice of the held-out questions",
          )
        : h("p", { class: "muted" }, NOT_MEASURED),
    ),
    part(
      "The judge",
      judge
        ? [
            h("p", {}, `“${judge.name}”`),
            agreement(judge.agreement ?? []),
            suite(judge.suite ?? []),
            ...(judge.reasons ?? []).map((reason) => h("p", { class: "muted" }, reason)),
          ]
        : h("p", { class: "muted" }, NOT_MEASURED),
    ),
    part(
      "What changed, and what it cost",
      facts([
        ["Base model", changes.base_model],
        ["Replaces", changes.replaces],
        ["Strategy", changes.strategy],
        ["Tasks", (changes.tasks ?? []).join(", ")],
        ["Training", cost.train_seconds ? lasted(cost.train_seconds) : NOT_MEASURED],
        ["Tokens", count(cost.tokens)],
        ["Evaluation", cost.evaluate_seconds ? lasted(cost.evaluate_seconds) : NOT_MEASURED],
        ["Memory", cost.peak_mb ? `${Math.round(cost.peak_mb).toLocaleString()} MB` : NOT_MEASURED],
      ]),
      Object.keys(changes.recipe ?? {}).length
        ? h(
            "details",
            {},
            h("summary", {}, "Recipe"),
            h("pre", { tabindex: "0" }, JSON.stringify(changes.recipe, null, 2)),
          )
        : null,
    ),
    part(
      "Digests",
      h("p", { class: "muted" }, "Approval is bound to these: it is refused when the adapter's files, the report or the signature does not fit. The dataset's files may be cleared away; its digest stays."),
      facts(Object.entries(digests).map(([name, value]) => [name.replaceAll("_", " "), fit(value)])),
    ),
  ];
}

const fit = (value) =>
  value === true
    ? h("span", { class: "gain" }, "✓ yes")
    : value === false
      ? h("span", { class: "loss" }, "✗ no")
      : value
        ? h("code", {}, value)
        : "–";

export const part = (title, ...inside) =>
  h("section", { class: "part", "aria-label": title }, h("h2", {}, title), ...inside);
