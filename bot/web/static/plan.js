// A plan: which strategy, why, what it would train, and the decision matrix behind it.
import { h } from "./dom.js";
import { facts, table } from "./admin_shared.js";

const stars = (n) =>
  h(
    "span",
    { class: "stars", "aria-label": `${n} of 5 stars` },
    "★".repeat(n),
    h("span", { class: "muted" }, "★".repeat(5 - n)),
  );

/** The plan as elements. */
export function planView(plan) {
  const matrix = plan.decision_matrix ?? {};
  const strategies = [...new Set(Object.values(matrix).flatMap((row) => Object.keys(row)))];
  return h(
    "div",
    { class: "plan" },
    facts([
      ["Strategy", plan.strategy ? h("b", {}, plan.strategy) : null],
      ["Tasks", (plan.tasks ?? []).join(", ")],
      ["Examples", String(plan.examples ?? "")],
      ["Time", plan.estimated_minutes ? `about ${plan.estimated_minutes.toFixed(1)} min` : null],
      ["Runner-up", plan.runner_up ? `${plan.runner_up}: ${plan.runner_up_reason}` : null],
      [
        "Expected",
        Object.entries(plan.expected ?? {})
          .map(([metric, gain]) => `${metric} +${gain.toFixed(3)}`)
          .join(", "),
      ],
      ["Comment", plan.comment],
    ]),
    list(plan.reasons),
    list(plan.data_needed),
    strategies.length
      ? table(
          ["Factor", ...strategies.map((name) => (name === plan.strategy ? `${name} (chosen)` : name))],
          Object.entries(matrix).map(([factor, row]) => [
            h("b", {}, factor),
            ...strategies.map((name) =>
              row[name]
                ? h(
                    "div",
                    {},
                    stars(row[name].stars ?? 0),
                    " ",
                    row[name].value,
                    h("div", { class: "muted" }, row[name].reason),
                  )
                : "–",
            ),
          ]),
          "",
          "Decision matrix",
        )
      : null,
    (plan.phases ?? []).length
      ? table(
          ["Phase", "Tasks", "Examples", "Passes", "Steps", "Minutes"],
          plan.phases.map((phase, n) => [
            String(n + 1),
            phase.tasks.join(", "),
            `${phase.examples} (${phase.replay} replayed)`,
            String(phase.epochs),
            String(phase.steps),
            phase.minutes.toFixed(1),
          ]),
          "",
          "Phases",
        )
      : null,
  );
}

const list = (items) => ((items ?? []).length ? h("ul", {}, ...items.map((item) => h("li", {}, String(item)))) : null);
