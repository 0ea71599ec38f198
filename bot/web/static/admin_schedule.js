// Schedule: when cycles run, in plain words or cron; pausing; the next five times in local time.
import { call, h } from "./dom.js";
import { DAYS, chosen, fields, inWords } from "./cron.js";
import { empty } from "./admin_shared.js";
import { attempt, toast } from "./notices.js";

const EVERY = {
  day: "every day",
  weekday: "Monday to Friday",
  week: "once a week",
  month: "on the 1st of the month",
  hours: "every 6 hours",
};

export async function section(load) {
  const found = await call("GET", "/v1/admin/schedule");
  const keep = (cron, enabled, said) =>
    attempt(async () => {
      await call("PUT", "/v1/admin/schedule", { cron, enabled });
      toast(said);
      await load();
    });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return [
    h(
      "section",
      { class: "box", "data-tone": found.enabled ? "good" : "warn", "aria-label": "Now" },
      h("h2", {}, found.enabled ? inWords(found.cron) : "Paused"),
      found.enabled
        ? null
        : h("p", { class: "muted" }, `It was: ${inWords(found.cron)}. Cycles still run when you start one.`),
      h(
        "div",
        { class: "row" },
        h(
          "button",
          {
            type: "button",
            class: found.enabled ? "danger small" : "primary small",
            onclick: () => keep(found.cron, !found.enabled, found.enabled ? "Paused." : "The schedule runs again."),
          },
          found.enabled ? "Pause" : "Resume",
        ),
      ),
    ),
    words(found, keep),
    cron(found, keep),
    h("h2", {}, "The next five times"),
    found.next.length
      ? h(
          "ol",
          {},
          ...found.next.map((at) =>
            h(
              "li",
              {},
              h(
                "time",
                { datetime: at },
                new Date(at).toLocaleString(undefined, { dateStyle: "full", timeStyle: "short" }),
              ),
              h("span", { class: "muted" }, ` ${zone}`),
            ),
          ),
        )
      : empty("None: the schedule is paused."),
  ];
}

function words(found, keep) {
  const now = chosen(found.cron);
  const every = h(
    "select",
    { "aria-label": "How often", onchange: () => (day.hidden = every.value !== "week") },
    ...Object.entries(EVERY).map(([value, text]) => h("option", { value, selected: value === now.every }, text)),
  );
  const day = h(
    "select",
    { "aria-label": "Weekday", hidden: now.every !== "week" },
    ...DAYS.map((name, n) => h("option", { value: String(n), selected: String(n) === now.weekday }, name)),
  );
  const at = h("input", { type: "time", value: now.time, required: "", "aria-label": "Time, UTC" });
  return h(
    "form",
    {
      class: "box",
      "aria-label": "In plain words",
      onsubmit: (event) => {
        event.preventDefault();
        keep(fields({ every: every.value, time: at.value, weekday: day.value }), true, "The schedule is kept.");
      },
    },
    h("h2", {}, "In plain words"),
    h(
      "div",
      { class: "row" },
      "Run a cycle",
      every,
      day,
      "at",
      at,
      "UTC",
      h("button", { class: "primary small" }, "Save"),
    ),
  );
}

function cron(found, keep) {
  const text = h("input", {
    value: found.cron,
    required: "",
    maxlength: "100",
    "aria-label": "Cron expression",
    spellcheck: "false",
  });
  const said = h("p", { class: "muted", role: "status" }, inWords(found.cron));
  text.addEventListener("input", () => (said.textContent = inWords(text.value)));
  return h(
    "form",
    {
      class: "box",
      "aria-label": "In cron fields",
      onsubmit: (event) => {
        event.preventDefault();
        keep(text.value, found.enabled, "The schedule is kept.");
      },
    },
    h("h2", {}, "In cron fields"),
    h("p", { class: "muted" }, "minute hour day month weekday, UTC – “0 2 * * *” is every night at two."),
    h("div", { class: "row" }, text, h("button", { class: "primary small" }, "Save cron")),
    said,
  );
}
