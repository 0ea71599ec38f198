// Overview: is the bot healthy, what is live since when, how it goes, and what waits for you.
import { call, counted, h, when } from "./dom.js";
import { act, empty, percent, percentage, reasoned, table, tile } from "./admin_shared.js";
import { asking, wish } from "./agreeing.js";
import { lines, stacked } from "./charts.js";
import { cycleCard, runNow } from "./cycle_card.js";
import { attempt } from "./notices.js";

const DAYS = 30;
const AGAIN_MS = 3000;

export async function section(load) {
  const [found, health, trends] = await Promise.all([
    call("GET", "/v1/admin/overview"),
    call("GET", "/readyz").catch((error) => ({ problem: error.message })),
    call("GET", `/v1/admin/trends?days=${DAYS}`),
  ]);
  const cards = found.cycles.map((cycle) => cycleCard(cycle, load, true));
  follow(
    cards.filter((card, n) => found.cycles[n].state === "running"),
    load,
  );
  return [
    tiles(found, health, trends.data),
    waiting(found, load),
    h(
      "div",
      { class: "row actions" },
      runNow(load),
      found.adapter === "base" && !found.canary ? null : takeBack(found, load),
    ),
    ...(cards.length ? [h("h2", {}, "Open cycles"), ...cards] : []),
    h("h2", {}, `The last ${DAYS} days`),
    charts(trends.data, scheduling(found)),
    h("h2", {}, "Processes"),
    processes(found.processes),
  ];
}

/** Keep the cycles that run up to date; the page is shown anew once one has ended. */
function follow(cards, load) {
  for (const card of cards) {
    const look = async () => {
      if (!card.isConnected) return;
      const now = await call("GET", `/v1/admin/cycles/${card.id}`);
      if (now.state !== "running") return void load();
      card.update(now);
      setTimeout(() => attempt(look), AGAIN_MS);
    };
    setTimeout(() => attempt(look), AGAIN_MS);
  }
}

function tiles(found, health, days) {
  const [ups, downs] = [sum(days, "ups"), sum(days, "downs")];
  const wrong =
    health.problem ??
    Object.entries(health.checks ?? {})
      .filter(([, said]) => said !== "ok")
      .map(([name, said]) => `${name}: ${said}`)
      .join(" ");
  const next = found.schedule.next[0];
  return h(
    "div",
    { class: "tiles" },
    tile(
      "Health",
      health.problem ? "Not ready" : wrong ? "Degraded" : "Healthy",
      wrong || "database, index, model and disk work",
      health.problem ? "bad" : wrong ? "warn" : "good",
    ),
    live(found),
    found.canary
      ? tile(
          "Canary",
          found.canary.adapter,
          h("a", { href: "/admin/adapters" }, `${percentage(found.canary.share)} % of the conversations`),
        )
      : null,
    tile(
      "Satisfaction",
      ups + downs ? percent(ups / (ups + downs)) : "–",
      `${counted(ups + downs, "rating")} in ${DAYS} days`,
    ),
    tile(
      "Next cycle",
      next ? when(next) : "None",
      h("a", { href: "/admin/schedule" }, found.schedule.enabled ? "change the schedule" : "the schedule is paused"),
    ),
    tile("Scheduler", scheduling(found) ? "Running" : "Not running", "runs the cycles"),
  );
}

const named = (adapter) => (adapter === "base" ? "Base model" : adapter);

/** What is deployed, and where a process reports that it answers with something else. */
function live(found) {
  const bots = found.processes.filter((one) => one.kind === "bot");
  const others = bots.filter((one) => one.adapter !== found.adapter);
  if (!others.length)
    return tile(
      "Live",
      named(found.adapter),
      found.generation ? `since ${when(found.changed_at)}` : "no adapter was deployed yet",
    );
  return tile(
    "Live",
    [...new Set(bots.map((one) => named(one.adapter)))].join(", "),
    `${named(found.adapter)} is deployed, and ${others.length} of ${counted(bots.length, "process", "processes")} not there`,
    "warn",
  );
}

const scheduling = (found) => found.processes.some((one) => one.kind === "scheduler");

const sum = (days, name) => days.reduce((total, day) => total + day[name], 0);

function waiting(found, load) {
  const items = [
    ...found.awaiting_approval.map((id) => {
      const asked = found.asked_for.filter((one) => one.adapter === id);
      const said = ["it passed the gate.", ...asked.map(asking)].join(" ");
      return h("li", {}, h("a", { href: "/admin/approval" }, `Decide on ${id}`), ` – ${said}`);
    }),
    ...found.asked_for.filter((one) => one.canary && !one.mine).map((one) =>
        h("li", {}, h("a", { href: "/admin/adapters" }, `A larger share of ${one.adapter}`), " – ", ...wish(one, load)),
      ),
    ...(found.watch_asks ?? []).map((one) =>
      h("li", {}, h("b", {}, one.adapter), `: ${one.sentence} `, answering(one, load), " ", backing(one, load)),
    ),
    found.counts.corrections
      ? h(
          "li",
          {},
          h("a", { href: "/admin/exchanges?rating=corrected" }, counted(found.counts.corrections, "correction")),
          " by people, not yet approved.",
        )
      : null,
    ...found.processes.filter((one) => one.error).map((one) => h("li", {}, h("b", {}, one.kind), `: ${one.error}`)),
  ].filter(Boolean);
  return h(
    "section",
    { class: "box waiting", "aria-label": "Waiting for you" },
    h("h2", {}, "Waiting for you"),
    items.length
      ? h("ul", {}, ...items)
      : h(
          "p",
          { class: "muted" },
          "Nothing. When a new version has proved to be better, or somebody corrects an answer, it is listed here.",
        ),
  );
}

/** What can be done where the watch asks, but for a rollback: nothing is kept whose watch failed, or as a canary. */
function answering(one, load) {
  if (one.failed)
    return act("Try again", () => call("POST", `/v1/admin/cycles/${one.cycle_id}/retry`), {
      kind: "primary",
      done: `${one.adapter} is watched again.`,
      load,
    });
  if (one.canary) return h("a", { href: "/admin/adapters" }, "Complete it");
  return reasoned("Keep it", {
    title: `Keep ${one.adapter}?`,
    text: "The watch had no verdict. The other answer is to roll back.",
    path: `/v1/admin/cycles/${one.cycle_id}/keep`,
    kind: "primary",
    done: `${one.adapter} stays.`,
    load,
  });
}

const backing = (one, load) =>
  reasoned("Roll it back", {
    title: `Take ${one.adapter} back?`,
    text: "What it replaced answers new questions within a second; what runs beside it goes on.",
    path: "/v1/admin/rollback",
    extra: () => ({ of: one.adapter }),
    done: `${one.adapter} is taken back.`,
    load,
  });

/** Rolling back in one click, with a reason. */
export function takeBack(found, load) {
  const what = found.canary ? `the canary ${found.canary.adapter}` : found.adapter;
  return reasoned("Roll back", {
    title: `Take ${what} back?`,
    text: "New questions are answered by what served before, within a second. Answers under way are finished.",
    path: "/v1/admin/rollback",
    extra: () => ({ of: found.canary?.adapter ?? found.adapter }),
    done: (row) => `${row.adapter === "base" ? "The base model" : row.adapter} serves again.`,
    load,
  });
}

function charts(days, judging) {
  const share = (part, whole) => days.map((day) => (whole(day) ? part(day) / whole(day) : null));
  const xs = days.map((day) => day.day);
  const quality = lines({
    title: "Satisfaction and citing",
    xs,
    days: true,
    series: [
      {
        label: "thumbs up of all ratings",
        share: true,
        values: share(
          (day) => day.ups,
          (day) => day.ups + day.downs,
        ),
      },
      {
        label: "answers that cite a passage",
        share: true,
        values: share(
          (day) => day.cited,
          (day) => day.exchanges - day.declined,
        ),
      },
      {
        label: "declined",
        share: true,
        values: share(
          (day) => day.declined,
          (day) => day.exchanges,
        ),
      },
    ],
  });
  return h(
    "div",
    { class: "charts" },
    quality.element,
    stacked({ title: "Questions by task", rows: days.map((day) => ({ day: day.day, parts: day.tasks })) }),
    grounded(judging),
  );
}

/** Groundedness is the judge's, and takes some seconds: asked for by itself while a scheduler runs, else on demand. */
function grounded(running) {
  const box = h("div", {});
  const judge = async () => {
    box.replaceChildren(h("p", { class: "muted" }, "Judging the newest answers…"));
    const found = await call("GET", "/v1/admin/groundedness").catch((error) => {
      box.replaceChildren(h("p", { class: "alert" }, error.message));
      throw error;
    });
    box.replaceChildren(
      found.data.length ? support(found) : empty("No answer with passages yet: ask something in the chat first."),
    );
    return found;
  };
  box.append(
    h(
      "p",
      { class: "muted" },
      "How far the judge finds each answer's sentences in its passages. The scheduler does that, and none is running now.",
    ),
    act("Judge the newest answers", judge, { done: "Judged." }),
  );
  if (running) judge().catch(() => {});
  return h("section", { class: "box", "aria-label": "Groundedness" }, h("h3", {}, "Groundedness"), box);
}

const support = (found) =>
  lines({
    title: `Mean support by day (judge: ${found.judge})`,
    xs: found.data.map((day) => day.day),
    days: true,
    series: [
      { label: "mean support of an answer's sentences", share: true, values: found.data.map((day) => day.mean) },
    ],
  }).element;

const processes = (rows) =>
  table(
    ["Kind", "Serves", "Deployment", "Problem", "Process"],
    rows.map((one) => [
      one.kind,
      one.kind === "bot" ? [one.adapter, one.canary].filter(Boolean).join(" + ") : "–",
      one.kind === "bot" ? String(one.generation) : "–",
      one.error || "none",
      h("code", {}, one.id),
    ]),
    "No process has reported yet.",
    "Processes",
  );
