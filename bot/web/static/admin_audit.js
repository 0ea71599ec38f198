// Audit: who did what, when and why, and whether the chain of entries is whole.
import { call, h, query, time } from "./dom.js";
import { empty, paged, table } from "./admin_shared.js";
import { attempt } from "./notices.js";

export async function section() {
  const box = h("div");
  const search = h("input", {
    type: "search",
    maxlength: "200",
    placeholder: "an action, a subject, a comment",
    "aria-label": "Find in the record",
  });
  const fill = () =>
    attempt(async () =>
      box.replaceChildren(
        ...(await paged(
          query("/v1/admin/audit", { limit: 50, q: search.value }),
          rows,
          empty("Nothing fits. Decisions, sign-ups, erasures and changes of the schedule are entered here."),
        )),
      ),
    );
  const form = h(
    "form",
    {
      class: "row filters box",
      role: "search",
      "aria-label": "Find in the record",
      onsubmit: (event) => {
        event.preventDefault();
        fill();
      },
    },
    search,
    h("button", { class: "small" }, "Find"),
  );
  await fill();
  return [await chain(), form, box];
}

async function chain() {
  const { broken_at: broken } = await call("GET", "/v1/admin/audit?limit=1&verify=true");
  return h(
    "section",
    { class: "box", "data-tone": broken === null ? "good" : "bad", "aria-label": "Hash chain" },
    h("h2", {}, broken === null ? "The chain is whole" : `The chain is broken at entry ${broken}`),
    h(
      "p",
      { class: "muted" },
      broken === null
        ? "Each entry's digest covers the one before it: nothing was changed or taken out since."
        : "From there on entries were changed or taken out. Compare with a backup.",
    ),
  );
}

const rows = (entries) =>
  table(
    ["When", "Who", "Did", "To", "Why", "Details"],
    entries.map((one) => [
      time(one.at),
      one.actor_name,
      h("b", {}, one.action),
      h("span", { title: one.subject }, one.subject_name),
      one.comment || "–",
      Object.keys(one.details).length
        ? h(
            "details",
            {},
            h("summary", {}, "show"),
            h("pre", { tabindex: "0" }, JSON.stringify(one.details, null, 2)),
            h("code", {}, one.digest.slice(0, 16)),
          )
        : h("code", { title: "digest" }, one.digest.slice(0, 10)),
    ]),
    "",
    "Audit record",
  );
