// Cycles: what runs now with its loss, what ran before, and what the next one would do.
import { call, h } from "./dom.js";
import { act, empty, fetched, paged, percent, table } from "./admin_shared.js";
import { cycleCard, runNow } from "./cycle_card.js";
import { attempt } from "./notices.js";
import { planView } from "./plan.js";

const AGAIN_MS = 2500;
let timer;

export async function section() {
  const now = h("div", { id: "now" });
  const before = h("div", { id: "before" });
  const fill = async () => {
    await Promise.all([running(now, fill), earlier(before, fill)]);
  };
  await fill();
  return [
    h("div", { class: "row actions" }, runNow(fill), chosen(fill)),
    now,
    fetched("What the next cycle would do", "/v1/admin/plan", planView),
    fetched("Tasks in the log", "/v1/admin/report", shares),
    fetched("Tasks that the taxonomy lacks", "/v1/admin/discovered", (found) => lacking(found, fill)),
    h("h2", {}, "Cycles"),
    before,
  ];
}

/** The cycle that runs is fetched again and again; the page may be reloaded at any time. */
async function running(box, fill) {
  const { data } = await call("GET", "/v1/admin/cycles?limit=1");
  const cycle = data[0];
  const shown = box.firstChild;
  if (cycle?.state !== "running") {
    box.replaceChildren();
    if (shown) await fill();
    return;
  }
  if (shown?.id === cycle.id && shown.dataset.step === cycle.step) shown.update(cycle);
  else box.replaceChildren(cycleCard(cycle, fill, true));
  box.firstChild.dataset.step = cycle.step;
  clearTimeout(timer);
  timer = setTimeout(() => box.isConnected && attempt(() => running(box, fill)), AGAIN_MS);
}

async function earlier(box, fill) {
  const opened = new Set([...box.querySelectorAll("details.cycle[open]")].map((card) => card.id));
  const list = await paged(
    "/v1/admin/cycles?limit=20",
    (rows) =>
      h(
        "div",
        {},
        ...rows.filter((row) => row.state !== "running").map((row) => cycleCard(row, fill, opened.has(row.id))),
      ),
    empty("No cycle has run yet. One needs some tens of rated answers; run it when people have chatted for a while."),
  );
  box.replaceChildren(...list);
}

function chosen(load) {
  const strategy = h(
    "select",
    { "aria-label": "Strategy" },
    ...["single", "multi", "progressive", "tournament"].map((name) => h("option", {}, name)),
  );
  const comment = h("input", { placeholder: "Why?", maxlength: "2000", "aria-label": "Why this strategy" });
  return h(
    "details",
    { class: "inline" },
    h("summary", {}, "By a strategy of your choice"),
    h(
      "div",
      { class: "row" },
      strategy,
      comment,
      act("Run", () => call("POST", "/v1/admin/cycles", { strategy: strategy.value, comment: comment.value }), {
        done: (answer) => `Cycle ${answer.cycle_id} runs.`,
        load,
      }),
    ),
  );
}

function shares(report) {
  return [
    h("p", {}, `${report.exchanges} exchanges, ${report.unclassified} of them unclassified.`),
    table(
      ["Task", "Questions", "Share", "Satisfaction", "Usable examples", "Held out"],
      (report.tasks ?? []).map((line) => [
        line.name,
        String(line.count),
        percent(line.share),
        percent(line.satisfaction),
        String(line.usable),
        String(line.held_out),
      ]),
      "Nobody has asked anything yet.",
      "Tasks in the log",
    ),
    report.text
      ? h("details", {}, h("summary", {}, "The whole report"), h("pre", { tabindex: "0" }, report.text))
      : null,
  ].filter(Boolean);
}

function lacking(found, load) {
  if (!found.data?.length) return empty("None: the tasks that there are cover what people ask.");
  return found.data.map((one) => {
    const comment = h("input", {
      class: "grow",
      placeholder: "Why does it become a task?",
      maxlength: "2000",
      "aria-label": `Why ${one.name} becomes a task`,
    });
    return h(
      "section",
      { class: "box" },
      h("h3", {}, one.name),
      h("p", {}, one.description),
      h("p", { class: "muted" }, `${one.questions} questions of ${one.people} people`),
      h("ul", {}, ...one.examples.slice(0, 5).map((text) => h("li", {}, text))),
      h(
        "div",
        { class: "row" },
        comment,
        act(
          "Make it a task",
          () => call("POST", `/v1/admin/discovered/${one.name}/adopt`, { comment: comment.value }),
          { done: "It is a task now; everything is labelled anew.", load },
        ),
      ),
    );
  });
}
