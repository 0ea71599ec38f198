// Adapters: their lineage, what serves, the canary, the way back, and each version's story.
import { call, counted, h, when } from "./dom.js";
import { audience } from "./admin_approval.js";
import { changed, wish } from "./agreeing.js";
import { takeBack } from "./admin_overview.js";
import { previewBox } from "./admin_preview.js";
import { decide, empty, facts, paged, percent, percentage, reasoned, state } from "./admin_shared.js";
import { lineage } from "./lineage.js";

const PREVIEWED = ["candidate", "awaiting_approval", "approved", "canary"];
const TAKEN = ["retired", "rolled_back"];

export async function section(load) {
  const [overview, newest] = await Promise.all([
    call("GET", "/v1/admin/overview"),
    call("GET", "/v1/admin/adapters?limit=40"),
  ]);
  const base = overview.adapter === "base" && !overview.canary;
  const list = await paged(
    "/v1/admin/adapters?limit=20",
    (rows) => h("div", {}, ...rows.map((row) => card(row, overview, load))),
    empty(
      "No adapter yet. A cycle trains one from what people said; run it when some tens of answers are rated.",
      h("a", { class: "button small", href: "/admin/cycles" }, "To the cycles"),
    ),
  );
  return [
    h(
      "div",
      { class: "row actions" },
      h(
        "p",
        { class: "serving" },
        "Serving: ",
        h("b", {}, overview.adapter === "base" ? "the base model" : overview.adapter),
        `, deployment ${overview.generation}.`,
      ),
      base ? null : takeBack(overview, load),
    ),
    overview.canary ? canaryBox(overview, load) : null,
    lineage(newest.data, overview.adapter),
    ...list,
  ];
}

function card(adapter, serving, load) {
  const inside = h("div");
  const flags = flagged(adapter);
  const frame = h(
    "details",
    {
      class: "box",
      id: adapter.id,
      ontoggle: (event) => {
        if (event.target === frame && frame.open && !inside.firstChild)
          inside.append(...opened(adapter, serving, load, flags));
      },
    },
    h(
      "summary",
      {},
      h("b", {}, adapter.id),
      " ",
      state(adapter.state),
      flags.length ? [" ", state("flagged")] : null,
      " ",
      h("span", { class: "muted" }, [when(adapter.created_at), adapter.verdict.sentence].filter(Boolean).join(" · ")),
    ),
    inside,
  );
  return frame;
}

/** What it rests on that is gone. */
function flagged({ lineage: from }) {
  return [
    from.erased?.length
      ? `${counted(from.erased.length, "person", "people")} whose words it learned from asked to be erased`
      : "",
    from.deleted?.length
      ? `${counted(from.deleted.length, "example")} it learned from were deleted by the person who asked`
      : "",
  ].filter(Boolean);
}

function opened(adapter, serving, load, flags) {
  const stale = h("span", {}, "…");
  call("GET", `/v1/admin/adapters/${adapter.id}`)
    .then((found) =>
      stale.replaceChildren(
        found.examples === null
          ? "unknown"
          : `${found.stale_examples} of ${found.examples} (${percent(found.stale_share ?? 0)})`,
      ),
    )
    .catch(() => stale.replaceChildren("–"));
  return [
    flags.length ? h("p", { class: "alert" }, `Flagged: ${flags.join("; ")}. Train without: run a cycle.`) : null,
    adapter.reasons.length ? h("ul", {}, ...adapter.reasons.map((reason) => h("li", {}, String(reason)))) : null,
    facts([
      ["Origin", adapter.origin],
      ["Cycle", adapter.cycle_id],
      ["Compared with", adapter.compared_with],
      ["Replaced", adapter.replaced],
      ["Base model", adapter.base_model],
      ["Made", when(adapter.created_at)],
      ["Decided", adapter.decided_at ? when(adapter.decided_at) : ""],
      ["Stale examples", stale],
      ["Digest", adapter.digest.slice(0, 16)],
      ["Data digest", adapter.dataset_digest.slice(0, 16)],
      ["Report digest", adapter.report_digest.slice(0, 16)],
      ["Note", adapter.note],
    ]),
    h(
      "div",
      { class: "row" },
      h("a", { class: "button small", href: `/admin/dossier/${adapter.id}` }, "Dossier"),
      h("a", { class: "button small", href: `/admin/exchanges?adapter=${adapter.id}` }, "Its answers"),
      adapter.state === "candidate" && adapter.verdict?.verdict
        ? h("a", { class: "button small", href: `/admin/judge?adapter=${adapter.id}` }, "Label its answers")
        : null,
      adapter.state === "awaiting_approval"
        ? h("a", { class: "button primary small", href: "/admin/approval" }, "Decide")
        : null,
      adapter.was_live && TAKEN.includes(adapter.state)
        ? reasoned("Return to it", {
            title: `Return to ${adapter.id}?`,
            path: "/v1/admin/rollback",
            extra: () => ({ to: adapter.id }),
            done: (row) => `${row.adapter} serves again.`,
            load,
          })
        : null,
    ),
    h(
      "details",
      {},
      h("summary", {}, "Recipe and lineage"),
      h("pre", { tabindex: "0" }, JSON.stringify({ recipe: adapter.recipe, lineage: adapter.lineage }, null, 2)),
    ),
    PREVIEWED.includes(adapter.state) ? previewBox(adapter.id) : null,
  ].filter(Boolean);
}

/** The canary that runs beside what serves; each decision names it, since another one may run by then. */
function canaryBox({ canary, asked_for: asked }, load) {
  const { field, value } = audience(canary.share, canary.testers);
  const of = canary.adapter;
  return h(
    "section",
    { class: "box", id: "canary", "aria-label": "Canary" },
    h("h2", {}, "Canary"),
    h(
      "p",
      {},
      h("b", {}, canary.adapter),
      ` answers ${percentage(canary.share)} % of the conversations`,
      canary.testers.length ? ` and ${canary.testers.join(", ")}.` : ".",
    ),
    ...asked.filter((one) => one.canary).map((one) => h("p", { class: "said" }, ...wish(one, load))),
    decide(
      [
        { label: "Change", path: "/v1/admin/canary", kind: "", extra: () => ({ ...value(), of }), done: changed },
        {
          label: "Give it to everybody",
          path: "/v1/admin/canary",
          kind: "primary",
          extra: () => ({ share: 1, of }),
          done: changed,
        },
        {
          label: "Take it back",
          path: "/v1/admin/rollback",
          kind: "danger",
          extra: () => ({ of }),
          done: (row) => `${row.adapter} serves everybody.`,
        },
      ],
      load,
      field,
    ),
  );
}
