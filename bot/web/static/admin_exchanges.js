// Exchanges: finding them by text, task, rating, adapter, kind of fault, or as the rows behind a figure.
import { call, counted, h, query } from "./dom.js";
import { empty, paged } from "./admin_shared.js";
import { FAULTS, card } from "./exchange_card.js";
import { attempt } from "./notices.js";

const RATINGS = {
  "": "any rating",
  up: "liked",
  down: "disliked",
  corrected: "corrected",
  rated: "rated",
  unrated: "not rated",
};
const PAGE = 25;

export async function section(_load, { role }) {
  const admin = role === "admin";
  const tasks = admin ? (await call("GET", "/v1/admin/tasks")).data.map((task) => task.id) : [];
  const asked = new URLSearchParams(location.search);
  const box = h("div", { id: "exchanges" });
  const select = (name, label, options) =>
    h(
      "label",
      { class: "field-label" },
      label,
      h(
        "select",
        { name, onchange: () => fill() },
        ...Object.entries(options).map(([value, text]) =>
          h("option", { value, selected: value === (asked.get(name) ?? "") }, text),
        ),
      ),
    );
  const form = h(
    "form",
    {
      class: "filters box",
      role: "search",
      "aria-label": "Find exchanges",
      onsubmit: (event) => {
        event.preventDefault();
        fill();
      },
    },
    h(
      "label",
      { class: "field-label grow" },
      "Text",
      h("input", {
        type: "search",
        name: "q",
        value: asked.get("q") ?? "",
        maxlength: "200",
        placeholder: "in question or answer",
      }),
    ),
    ...(admin
      ? [select("task", "Task", { "": "any task", ...Object.fromEntries(tasks.map((task) => [task, task])) })]
      : []),
    select("rating", "Rating", RATINGS),
    h(
      "label",
      { class: "field-label" },
      "Adapter",
      h("input", {
        name: "adapter",
        value: asked.get("adapter") ?? "",
        maxlength: "100",
        placeholder: "v1, base",
        size: "10",
      }),
    ),
    ...(admin ? [select("fault", "Fault", FAULTS)] : []),
    h("button", { class: "primary" }, "Find"),
  );
  const fill = () =>
    attempt(async () => {
      const wanted = { ...Object.fromEntries(new FormData(form)), trained: admin ? asked.get("trained") : null };
      history.replaceState(null, "", query(location.pathname, wanted));
      box.replaceChildren(...(await shown(wanted)));
    });
  const shown = (wanted) => {
    if (!admin) return found("/v1/exchanges", { everybody: true, ...wanted }, tasks, { admin });
    if (asked.get("cycle")) return leftOut(asked.get("cycle"), asked.get("line"), tasks);
    return wanted.fault ? faulty(wanted, tasks) : found("/v1/admin/exchanges", wanted, tasks);
  };
  await fill();
  const rows = admin ? asked.get("trained") : null;
  return [
    rows
      ? h("p", { class: "said" }, `Only what ${rows} learned from. `, h("a", { href: "/admin/exchanges" }, "Show all"))
      : null,
    form,
    box,
  ];
}

const found = (path, { fault, everybody, ...wanted }, tasks, may = {}) =>
  paged(
    query(path, { limit: PAGE, everybody, ...wanted }),
    (rows) => h("div", {}, ...rows.map((row) => card(row, tasks, null, may))),
    empty(
      Object.values(wanted).some(Boolean)
        ? "No exchange fits this. Try fewer conditions."
        : "Nobody has asked anything yet. Ask the first question in the chat.",
      h("a", { class: "button small", href: "/" }, "To the chat"),
    ),
  );

/** Exchanges of one kind of fault: the scheduler says which, the log has them. */
async function faulty({ fault, ...wanted }, tasks) {
  const { data } = await call("GET", "/v1/admin/faults");
  const kind = new Map(
    data
      .filter((one) => one.cause === fault)
      .slice(0, PAGE * 4)
      .map((one) => [one.exchange_id, one]),
  );
  if (!kind.size) return [empty("None of the newest bad answers is of this kind.")];
  const ids = [...kind.keys()].map((id) => `ids=${id}`).join("&");
  const rows = await call("GET", `${query("/v1/admin/exchanges", { limit: 200, ...wanted })}&${ids}`);
  return [
    h("p", { class: "muted" }, `${counted(rows.data.length, "exchange")}: ${FAULTS[fault]}.`),
    ...rows.data.map((row) => card(row, tasks, kind.get(row.id))),
  ];
}

/** The exchanges behind one line of a cycle's funnel. */
async function leftOut(cycle, line, tasks) {
  const { data } = await call("GET", `/v1/admin/cycles/${encodeURIComponent(cycle)}/funnel`);
  const found = data.find((one) => one.line === line);
  const ids = (found?.ids ?? []).filter((id) => id.startsWith("ex_"));
  const back = h("a", { href: "/admin/exchanges" }, "Show all");
  if (!ids.length) return [empty("The rows behind this line were not kept.", back)];
  const rows = await call("GET", `/v1/admin/exchanges?limit=200&${ids.map((id) => `ids=${id}`).join("&")}`);
  return [
    h(
      "p",
      { class: "said" },
      `${line}: ${counted(found.count, "exchange")}${found.count > ids.length ? `, the first ${ids.length} below` : ""}. `,
      back,
    ),
    ...rows.data.map((row) => card(row, tasks)),
  ];
}
