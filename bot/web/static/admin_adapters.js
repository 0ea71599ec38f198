// Adapters: what was measured, what the gate said, and the decisions.
import { call, h, when } from "./dom.js";
import { decide, paged, state, table } from "./admin_shared.js";

const number = (value) => (typeof value === "number" ? value.toFixed(3) : "–");
const signed = (value) => (typeof value === "number" ? `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(3)}` : "–");

/** The metric deltas of a verdict: candidate against what serves, with intervals. */
export function deltas(verdict) {
  const rows = (verdict.deltas ?? []).map((d) => [
    h("span", { title: d.sentence ?? "" }, d.metric), d.task ?? "all", number(d.candidate), number(d.serving),
    h("b", { class: d.difference > 0 ? "gain" : d.difference < 0 ? "loss" : "" }, signed(d.difference)),
    `${signed(d.low)} … ${signed(d.high)}`, String(d.n ?? "–"), d.role ?? "",
    h("span", { class: d.passed === false ? "loss" : "gain" }, d.passed === false ? "✗ no" : "✓ yes"),
  ]);
  return table(["Metric", "Task", "Candidate", "Serving", "Difference", "95 % interval", "Cases", "Role", "Passed"], rows,
    "No comparison is kept for this adapter.");
}

/** One adapter as a card. */
function card(adapter, open, extra = []) {
  const facts = [
    ["Compared with", adapter.compared_with], ["Cycle", adapter.cycle_id ?? "–"], ["Origin", adapter.origin],
    ["Made", when(adapter.created_at)], ["Base model", adapter.base_model || "–"], ["Digest", adapter.digest.slice(0, 16) || "–"],
    ["Data digest", adapter.dataset_digest.slice(0, 16) || "–"], ["Report digest", adapter.report_digest.slice(0, 16) || "–"],
  ];
  return h("details", { class: "box", open, id: adapter.id },
    h("summary", {}, h("b", {}, adapter.id), " ", state(adapter.state), " ", h("span", { class: "muted" }, when(adapter.created_at))),
    adapter.verdict.sentence ? h("p", {}, adapter.verdict.sentence) : null,
    adapter.reasons.length ? h("ul", {}, ...adapter.reasons.map((reason) => h("li", {}, String(reason)))) : null,
    deltas(adapter.verdict),
    h("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    adapter.note ? h("p", { class: "muted" }, adapter.note) : null,
    h("details", {}, h("summary", {}, "Recipe and lineage"),
      h("pre", { tabindex: "0" }, JSON.stringify({ recipe: adapter.recipe, lineage: adapter.lineage }, null, 2))),
    ...extra);
}

const approving = (adapter, load) => decide([
  { label: "Approve and deploy", path: `/v1/admin/adapters/${adapter.id}/approve`, kind: "primary", done: `${adapter.id} is approved; the bots are loading it.` },
  { label: "Reject", path: `/v1/admin/adapters/${adapter.id}/reject`, kind: "danger", done: `${adapter.id} is rejected.` },
], load);

/** Adapters that wait for a decision. */
export async function approvalSection(load) {
  const { data } = await call("GET", "/v1/admin/adapters?limit=200");
  const waiting = data.filter((adapter) => adapter.state === "awaiting_approval");
  if (!waiting.length) return h("p", { class: "muted" }, "Nothing waits for a decision. A cycle puts an adapter here when it has proved to be better.");
  return waiting.map((adapter) => card(adapter, true, [approving(adapter, load)]));
}

/** What serves, the way back, and all adapters. */
export async function adaptersSection(load) {
  const overview = await call("GET", "/v1/admin/overview");
  const target = h("input", { placeholder: "the one before", "aria-label": "Return to this adapter", size: "14" });
  const back = overview.adapter === "base" ? null : h("details", { class: "box" },
    h("summary", {}, "Roll back"),
    h("label", {}, "Return to ", target),
    decide([{ label: "Roll back", path: "/v1/admin/rollback", kind: "danger", extra: () => ({ to: target.value.trim() || null }), done: (row) => `${row.adapter} serves again.` }], load));
  const list = await paged("/v1/admin/adapters", (rows) => h("div", {}, ...rows.map((adapter) =>
    card(adapter, false, adapter.state === "awaiting_approval" ? [approving(adapter, load)] : []))));
  const empty = list[0].firstChild.childElementCount === 0;
  return [
    h("p", {}, "Serving: ", h("b", {}, overview.adapter === "base" ? "the base model" : overview.adapter), `, deployment ${overview.generation}.`),
    back, ...(empty ? [h("p", { class: "muted" }, "No adapter yet: run a cycle.")] : list),
  ].filter(Boolean);
}
