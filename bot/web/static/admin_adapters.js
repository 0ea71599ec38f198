// Adapters: what was measured, what the gate said, the decisions, and the canary.
import { call, h, when } from "./dom.js";
import { previewBox } from "./admin_preview.js";
import { decide, paged, percentage, state, table } from "./admin_shared.js";

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

const PREVIEWED = ["candidate", "awaiting_approval", "approved", "canary"];

/** Fields for whom a version is: a share in percent, and testers by name; `value()` is what the API takes. */
function audience(share, testers) {
  const percent = h("input", { type: "number", min: "0", max: "100", step: "any", value: percentage(share), "aria-label": "Share in percent" });
  const names = h("input", { value: testers.join(", "), placeholder: "ann, ben", "aria-label": "Testers" });
  const field = h("div", { class: "row" }, h("label", {}, "Share ", percent, " %"), h("label", {}, "Testers ", names));
  const value = () => ({ share: percent.valueAsNumber / 100, testers: names.value.split(",").map((name) => name.trim()).filter(Boolean) });
  return { field, value };
}

function approving(adapter, load) {
  const { field, value } = audience(1, []);
  return h("div", {}, field, h("p", { class: "muted" }, "100 % is everybody at once. Less makes it a canary, which also answers the testers."), decide([
    { label: "Approve and deploy", path: `/v1/admin/adapters/${adapter.id}/approve`, kind: "primary", extra: value, done: `${adapter.id} is approved; the bots are loading it.` },
    { label: "Reject", path: `/v1/admin/adapters/${adapter.id}/reject`, kind: "danger", done: `${adapter.id} is rejected.` },
  ], load));
}

/** What can be done with one adapter. */
const doing = (adapter, load) => [
  PREVIEWED.includes(adapter.state) ? previewBox(adapter.id) : null,
  adapter.state === "awaiting_approval" ? approving(adapter, load) : null,
].filter(Boolean);

/** The canary that runs beside what serves. */
function canaryBox(canary, load) {
  const { field, value } = audience(canary.share, canary.testers);
  return h("section", { class: "box", id: "canary" },
    h("h2", {}, "Canary"),
    h("p", {}, h("b", {}, canary.adapter), ` answers ${percentage(canary.share)} % of the conversations`,
      canary.testers.length ? ` and ${canary.testers.join(", ")}.` : "."),
    field, decide([
      { label: "Change", path: "/v1/admin/canary", kind: "", extra: value, done: "The share is changed." },
      { label: "Give it to everybody", path: "/v1/admin/canary", kind: "primary", extra: () => ({ share: 1 }), done: (row) => `${row.adapter} serves everybody.` },
      { label: "Take it back", path: "/v1/admin/rollback", kind: "danger", done: (row) => `${row.adapter} serves everybody.` },
    ], load));
}

/** Adapters that wait for a decision. */
export async function approvalSection(load) {
  const { data } = await call("GET", "/v1/admin/adapters?limit=200");
  const waiting = data.filter((adapter) => adapter.state === "awaiting_approval");
  if (!waiting.length) return h("p", { class: "muted" }, "Nothing waits for a decision. A cycle puts an adapter here when it has proved to be better.");
  return waiting.map((adapter) => card(adapter, true, doing(adapter, load)));
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
    card(adapter, false, doing(adapter, load)))));
  const empty = list[0].firstChild.childElementCount === 0;
  return [
    h("p", {}, "Serving: ", h("b", {}, overview.adapter === "base" ? "the base model" : overview.adapter), `, deployment ${overview.generation}.`),
    overview.canary ? canaryBox(overview.canary, load) : null,
    back, ...(empty ? [h("p", { class: "muted" }, "No adapter yet: run a cycle.")] : list),
  ].filter(Boolean);
}
