// Overview, cycles with their timelines, and the schedule.
import { attempt, call, h, time, toast, when } from "./dom.js";
import { act, paged, percentage, state, table } from "./admin_shared.js";

const OPEN = ["running", "awaiting_approval", "watching"];

function progressOf(step) {
  const { step: done, steps: total, ...rest } = step.progress ?? {};
  const words = Object.entries(rest).filter(([, value]) => typeof value !== "object")
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "number" ? Number(value.toFixed(3)) : value}`);
  return [
    total ? h("progress", { value: done ?? 0, max: total, "aria-label": `${step.name} ${done ?? 0} of ${total}` }) : null,
    total ? ` ${done} of ${total} ` : null,
    words.join(", "),
    step.error ? h("p", { class: "loss" }, step.error) : null,
  ];
}

function cycleCard(cycle, load, open) {
  const rows = cycle.steps.map((step) => [
    step.name, state(step.state), time(step.started_at), time(step.finished_at), h("span", {}, ...progressOf(step).filter(Boolean)),
  ]);
  const reasons = cycle.plan.reasons ?? [];
  return h("details", { class: "box", open, id: cycle.id },
    h("summary", {}, h("b", {}, cycle.id), " ", state(cycle.outcome ?? cycle.state), " ",
      h("span", { class: "muted" }, `${when(cycle.created_at)} · ${cycle.step}`)),
    cycle.error ? h("p", { class: "alert" }, cycle.error) : null,
    reasons.length ? h("ul", {}, ...reasons.map((reason) => h("li", {}, String(reason)))) : null,
    table(["Step", "State", "Began", "Ended", "Progress"], rows, "No step has begun."),
    cycle.adapter_id ? h("p", {}, "Adapter ", h("a", { href: "/admin/adapters" }, cycle.adapter_id)) : null,
    OPEN.includes(cycle.state) ? act("Cancel", () => call("POST", `/v1/admin/cycles/${cycle.id}/cancel`), { kind: "danger", done: "Cancelled.", load, confirm: "Stop this cycle?" }) : null);
}

const runNow = (load) => act("Run a cycle now", () => call("POST", "/v1/admin/cycles"), { kind: "primary", done: (answer) => `Cycle ${answer.cycle_id} runs.`, load });

/** What serves, who runs, what waits. */
export async function overviewSection(load) {
  const found = await call("GET", "/v1/admin/overview");
  if (found.cycles.some((cycle) => cycle.state === "running")) setTimeout(load, 3000);
  const scheduler = found.processes.some((process) => process.kind === "scheduler");
  const tile = (name, value, hint) => h("div", { class: "tile" }, h("p", { class: "muted" }, name), h("p", { class: "big" }, value), h("p", { class: "muted" }, hint));
  return [
    h("div", { class: "tiles" },
      tile("Serving", found.adapter === "base" ? "Base model" : found.adapter, found.generation ? `since ${when(found.changed_at)}` : "no adapter was deployed yet"),
      found.canary ? tile("Canary", found.canary.adapter, h("a", { href: "/admin/adapters" }, `${percentage(found.canary.share)} % of the conversations`)) : "",
      tile("Waiting for you", String(found.awaiting_approval.length), h("a", { href: "/admin/approval" }, "decide")),
      tile("Scheduler", scheduler ? "Running" : "Not running", scheduler ? "follows the schedule" : "python -m scheduler run"),
      tile("People", String(found.counts.people), h("a", { href: "/admin/people" }, "manage"))),
    h("div", { class: "row" }, runNow(load)),
    h("h2", {}, "Open cycles"),
    ...(found.cycles.length ? found.cycles.map((cycle) => cycleCard(cycle, load, true)) : [h("p", { class: "muted" }, "None.")]),
    h("h2", {}, "Processes"),
    table(["Process", "Kind", "Serves", "Deployment", "Problem"], found.processes.map((p) =>
      [p.id, p.kind, p.kind === "bot" ? [p.adapter, p.canary].filter(Boolean).join(" + ") : "–", p.kind === "bot" ? String(p.generation) : "–", p.error || "none"])),
  ];
}

function shares(report) {
  const tasks = report.tasks ?? report.distribution ?? {};
  const rows = Array.isArray(tasks) ? tasks : Object.entries(tasks).map(([task, value]) =>
    (typeof value === "object" ? { task, ...value } : { task, count: value }));
  if (!rows.length) return h("pre", { tabindex: "0" }, JSON.stringify(report, null, 2));
  const heads = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => typeof rows[0][name] !== "object");
  return table(heads.map((name) => name.replaceAll("_", " ")), rows.map((row) => heads.map((name) => String(row[name] ?? "–"))));
}

function fetched(title, path, view) {
  const box = h("div", {}, h("p", { class: "muted" }, "Asking the scheduler…"));
  return h("details", { class: "box", ontoggle: async (event) => {
    if (!event.target.open || event.target !== box.parentElement) return;
    try {
      box.replaceChildren(view(await call("GET", path)));
    } catch (error) {
      box.replaceChildren(h("p", { class: "alert" }, error.message));
    }
  } }, h("summary", {}, title), box);
}

/** Cycles, and what the next one would do; only the list is fetched again while one runs. */
export async function cyclesSection() {
  const box = h("div");
  const fill = async () => {
    const opened = new Set([...box.querySelectorAll("details[open]")].map((card) => card.id));
    const list = await paged("/v1/admin/cycles?limit=20", (rows) => h("div", {}, ...rows.map((row) =>
      cycleCard(row, fill, row.state === "running" || opened.has(row.id)))));
    const empty = list[0].firstChild.childElementCount === 0;
    box.replaceChildren(...(empty ? [h("p", { class: "muted" }, "No cycle has run yet.")] : list));
    if (box.querySelector('details > summary > [data-state="running"]')) setTimeout(() => box.isConnected && attempt(fill), 3000);
  };
  await fill();
  return [
    h("div", { class: "row" }, runNow(fill)),
    fetched("Tasks in the log", "/v1/admin/report", shares),
    fetched("What the next cycle would do", "/v1/admin/plan", (plan) => h("div", {},
      h("p", {}, "Strategy: ", h("b", {}, String(plan.strategy ?? "–"))),
      h("ul", {}, ...(plan.reasons ?? []).map((reason) => h("li", {}, String(reason)))),
      h("details", {}, h("summary", {}, "All of it"), h("pre", { tabindex: "0" }, JSON.stringify(plan, null, 2))))),
    h("h2", {}, "Cycles"),
    box,
  ];
}

/** When cycles run. */
export async function scheduleSection(load) {
  const found = await call("GET", "/v1/admin/schedule");
  const cron = h("input", { value: found.cron, required: "", "aria-label": "Cron expression", spellcheck: "false" });
  const enabled = h("input", { type: "checkbox", checked: found.enabled });
  return h("form", { class: "box", onsubmit: (event) => {
    event.preventDefault();
    attempt(async () => {
      await call("PUT", "/v1/admin/schedule", { cron: cron.value, enabled: enabled.checked });
      toast("The schedule is kept.");
      await load();
    });
  } },
  h("label", {}, "Cron, five fields, UTC ", cron),
  h("p", { class: "muted" }, "minute hour day month weekday – “0 2 * * *” is every night at two."),
  h("label", { class: "check" }, enabled, " Run cycles by this schedule"),
  h("div", { class: "row" }, h("button", { class: "primary small" }, "Save")),
  h("h2", {}, "Next"),
  found.next.length ? h("ol", {}, ...found.next.map((at) => h("li", {}, when(at)))) : h("p", { class: "muted" }, "Switched off."));
}
