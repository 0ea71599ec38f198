// Five cron fields in plain words, and the other way round for the usual ones (pure).
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const clock = (hour, minute) => `${String(hour).padStart(2, "0")}:${String(minute).padStart(2, "0")}`;

/** A schedule in words; anything unusual is said to be so. */
export function inWords(cron) {
  const [minute, hour, day, month, weekday] = cron.trim().split(/\s+/);
  const at = /^\d+$/.test(minute) && /^\d+$/.test(hour ?? "") ? clock(hour, minute) : null;
  if (month === "*" && at) {
    if (day === "*" && weekday === "*") return `Every day at ${at} UTC`;
    if (day === "*" && /^[0-7]$/.test(weekday)) return `Every ${DAYS[weekday % 7]} at ${at} UTC`;
    if (day === "*" && weekday === "1-5") return `Monday to Friday at ${at} UTC`;
    if (weekday === "*" && /^\d+$/.test(day)) return `On day ${day} of every month at ${at} UTC`;
  }
  const hours = /^\*\/(\d+)$/.exec(hour ?? "");
  if (/^\d+$/.test(minute) && hours && day === "*" && month === "*" && weekday === "*")
    return `Every ${hours[1]} hours, at minute ${minute}`;
  if (/^\d+$/.test(minute) && hour === "*" && day === "*" && month === "*" && weekday === "*")
    return `Every hour, at minute ${minute}`;
  return `By the cron fields “${cron}”`;
}

/** The fields for a choice: {every: day|weekday|week|month|hours, time "HH:MM" in UTC, weekday 0-6}. */
export function fields({ every, time, weekday }) {
  const [hour, minute] = time.split(":").map(Number);
  return {
    day: `${minute} ${hour} * * *`,
    weekday: `${minute} ${hour} * * 1-5`,
    week: `${minute} ${hour} * * ${weekday}`,
    month: `${minute} ${hour} 1 * *`,
    hours: `${minute} */6 * * *`,
  }[every];
}

/** What a schedule was chosen by, as far as it is a usual one. */
export function chosen(cron) {
  const [minute, hour, day, , weekday] = cron.trim().split(/\s+/);
  const every = hour?.startsWith("*/")
    ? "hours"
    : weekday === "1-5"
      ? "weekday"
      : /^[0-7]$/.test(weekday)
        ? "week"
        : /^\d+$/.test(day)
          ? "month"
          : "day";
  return {
    every,
    time: clock(/^\d+$/.test(hour) ? hour : 2, /^\d+$/.test(minute) ? minute : 0),
    weekday: /^[0-7]$/.test(weekday) ? String(weekday % 7) : "1",
  };
}

export { DAYS };
