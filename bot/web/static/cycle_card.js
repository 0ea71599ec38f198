// One cycle: its steps with durations and attempts, the loss as it falls, and what can be done with it.
import { call, counted, h, lasted, when } from "./dom.js";
import { act, facts, state } from "./admin_shared.js";
import { lines } from "./charts.js";
import { planView } from "./plan.js";

const STOPPABLE = ["running", "awaiting_approval"];
const STEPS = ["collect", "classify", "rank", "plan", "curate", "train", "evaluate", "gate", "watch"];
const SAYS = {
  collect: "count what the log holds",
  classify: "sort it into tasks",
  rank: "weigh retrieval anew",
  plan: "choose a strategy",
  curate: "choose what is learned from",
  train: "train the adapter",
  evaluate: "answer held-out questions",
  gate: "compare, and decide",
  watch: "look at the new version live",
};

export const runNow = (load) =>
  act("Run a cycle now", () => call("POST", "/v1/admin/cycles"), {
    kind: "primary",
    done: (answer) => `Cycle ${answer.cycle_id} runs.`,
    load,
  });

const seconds = (step) =>
  (Date.parse(step.finished_at ?? new Date().toISOString()) - Date.parse(step.started_at)) / 1000;

/** A step's progress in words: its share, speed and time left first. */
function progressOf(step) {
  const {
    step: done,
    steps: total,
    loss,
    tokens_per_second: speed,
    eta_seconds: eta,
    curve,
    ...rest
  } = step.progress ?? {};
  const others = Object.entries(rest)
    .filter(([, value]) => typeof value !== "object")
    .map(
      ([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "number" ? Number(value.toFixed(3)) : value}`,
    );
  const words = [
    total ? `${done} of ${total}` : null,
    loss === undefined ? null : `loss ${Number(loss).toFixed(3)}`,
    speed === undefined ? null : `${Math.round(speed)} tokens/s`,
    eta === undefined || step.state !== "running" ? null : `${lasted(eta)} left`,
    ...others,
  ].filter(Boolean);
  return [
    total
      ? h("progress", { value: done ?? 0, max: total, "aria-label": `${step.name}: ${done ?? 0} of ${total}` })
      : null,
    words.length ? h("span", {}, words.join(" · ")) : null,
  ];
}

function timeline(cycle) {
  const begun = new Map(cycle.steps.map((step) => [step.name, step]));
  const names = [...new Set([...STEPS, ...begun.keys()])];
  return h(
    "ol",
    { class: "timeline" },
    ...names.map((name) => {
      const step = begun.get(name);
      if (!step)
        return h("li", { "data-state": "due" }, h("b", {}, name), h("span", { class: "muted" }, SAYS[name] ?? ""));
      return h(
        "li",
        { "data-state": step.state },
        h("b", {}, name),
        h("span", { class: "muted" }, SAYS[name] ?? ""),
        h("span", { class: "took" }, lasted(seconds(step)), step.attempts > 1 ? ` · attempt ${step.attempts}` : ""),
        h("div", { class: "progressing" }, ...progressOf(step)),
        step.error ? h("p", { class: "loss pre" }, step.error.slice(0, 2000)) : null,
      );
    }),
  );
}

/** The loss of the training step, or null while there is none. */
function lossOf(cycle) {
  const curve = cycle.steps.find((step) => step.name === "train")?.progress?.curve ?? [];
  return curve.length > 1 ? curve : null;
}

/** The loss as it falls: {element, update(cycle)}; the picture comes with the second point. */
function lossChart(cycle) {
  const element = h("div");
  let chart = null;
  const update = (now) => {
    const curve = lossOf(now);
    if (!curve) return;
    const [xs, losses] = [curve.map(([step]) => step), curve.map(([, loss]) => loss)];
    if (chart) {
      chart.update(xs, [losses]);
    } else {
      chart = lines({ title: "Training loss", xs, series: [{ label: "loss", values: losses }] });
      element.append(chart.element);
    }
  };
  update(cycle);
  return { element, update };
}

/** A cycle as a box with `update(cycle)`, which leaves what is opened or focused; `load` shows the section again. */
export function cycleCard(cycle, load, open) {
  const took = h("span", { class: "muted" });
  const steps = h("div");
  const loss = lossChart(cycle);
  const update = (now) => {
    const seconds = (Date.parse(now.finished_at ?? new Date().toISOString()) - Date.parse(now.created_at)) / 1000;
    took.textContent = `${when(now.created_at)} · ${lasted(seconds)}${now.state === "running" ? ` · ${now.step}` : ""}`;
    steps.replaceChildren(timeline(now));
    loss.update(now);
  };
  update(cycle);
  const box = h(
    "details",
    { class: "box cycle", open, id: cycle.id },
    h("summary", {}, h("b", {}, cycle.id), " ", state(cycle.outcome ?? cycle.state), " ", took),
    cycle.error ? h("p", { class: "alert pre" }, cycle.error.slice(0, 3000)) : null,
    facts([
      ["Started by", cycle.started_by_name],
      ["Strategy", cycle.plan.strategy],
      ["Tasks", (cycle.plan.tasks ?? []).join(", ")],
      ["Adapter", cycle.adapter_id ? h("a", { href: `/admin/dossier/${cycle.adapter_id}` }, cycle.adapter_id) : null],
    ]),
    steps,
    loss.element,
    funnel(cycle.results?.curate?.funnel),
    cycle.plan.strategy ? h("details", {}, h("summary", {}, "The plan"), planView(cycle.plan)) : null,
    h("div", { class: "row" }, ...doing(cycle, load)),
  );
  box.update = update;
  return box;
}

const doing = (cycle, load) => [
  STOPPABLE.includes(cycle.state)
    ? act("Cancel", () => call("POST", `/v1/admin/cycles/${cycle.id}/cancel`), {
        kind: "danger",
        done: "Cancelled.",
        load,
        confirm: "The cycle stops and what it was doing is lost. What serves stays.",
      })
    : null,
  cycle.state === "failed"
    ? act("Try again", () => call("POST", `/v1/admin/cycles/${cycle.id}/retry`), {
        kind: "primary",
        done: "It goes on from the step that failed.",
        load,
      })
    : null,
  cycle.state === "awaiting_approval"
    ? h("a", { class: "button primary small", href: "/admin/approval" }, "Decide")
    : null,
];

function funnel(counts) {
  const rows = Object.entries(counts ?? {});
  if (!rows.length) return null;
  return h(
    "details",
    {},
    h("summary", {}, "What was left out of the training data, and why"),
    h(
      "ul",
      {},
      ...rows.map(([rule, count]) =>
        h(
          "li",
          {},
          `${rule.replaceAll("_", " ")}: ${typeof count === "number" ? counted(count, "example") : JSON.stringify(count)}`,
        ),
      ),
    ),
  );
}
