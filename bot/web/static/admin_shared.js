// Pieces that several admin sections use: tables, states, reasons, tiles, pages of a list.
import { call, h, when } from "./dom.js";
import { attempt, confirmed, toast } from "./notices.js";

/** A share in [0, 1] as people write percentages. */
export const percentage = (share) => String(Number((share * 100).toFixed(4)));
export const percent = (share) => (typeof share === "number" ? `${Math.round(share * 100)} %` : "–");

/** A state as a coloured word. */
export const state = (name) => h("span", { class: "state", "data-state": name }, String(name).replaceAll("_", " "));

/** What an empty place says, and what to do about it. */
export const empty = (text, ...next) =>
  h("div", { class: "empty" }, h("p", {}, text), next.length ? h("div", { class: "row" }, ...next) : null);

/** A tile with one figure. */
export const tile = (name, value, hint, tone = "") =>
  h(
    "div",
    { class: "tile", "data-tone": tone },
    h("p", { class: "muted" }, name),
    h("p", { class: "big" }, value),
    h("p", { class: "muted" }, hint),
  );

/** A table that scrolls sideways on small screens; `name` says what it holds. */
export function table(heads, rows, none = "Nothing here yet.", name = heads[0]) {
  if (!rows.length) return empty(none);
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table: ${name}` },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, cell))))),
    ),
  );
}

/** Facts as a list of names and values; empty values are left out. */
export const facts = (pairs) =>
  h(
    "dl",
    { class: "facts" },
    ...pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );

/** Run something while these buttons cannot be clicked, so that a second click does not act on what came of it. */
async function locked(buttons, action) {
  const open = [...buttons].filter((one) => !one.disabled);
  for (const one of open) one.disabled = true;
  try {
    return await action();
  } finally {
    for (const one of open) one.disabled = false;
  }
}

/** A button that asks the API for something and loads the section again; until then those beside it are locked too. */
export function act(label, request, { kind = "", done = "Done.", load, confirm = "", name = null } = {}) {
  return h(
    "button",
    {
      type: "button",
      class: `${kind} small`,
      "aria-label": name,
      onclick: async (event) => {
        const button = event.currentTarget;
        if (confirm && !(await confirmed(`${label}?`, confirm, { yes: label }))) return;
        await locked(button.closest(".decide")?.querySelectorAll("button") ?? [button], async () => {
          const answer = await attempt(request, load);
          if (answer === undefined) return;
          toast(typeof done === "function" ? done(answer) : done);
          await load?.();
        });
      },
    },
    label,
  );
}

/** A comment field with the decisions it can go with: {label, path, kind, extra, done}; `beside` stands under the field. */
export function decide(decisions, load, beside = null) {
  const comment = h("textarea", {
    rows: "2",
    maxlength: "5000",
    placeholder: "Why? The comment is kept in the audit record.",
    "aria-label": "Comment",
  });
  const buttons = decisions.map(({ label, path, kind, extra = () => ({}), done }) =>
    act(label, () => call("POST", path, { comment: comment.value, ...extra() }), { kind, done, load }),
  );
  const box = h("div", { class: "decide" }, comment, beside, h("div", { class: "row" }, ...buttons));
  box.comment = comment;
  return box;
}

/** One click and a reason: a button that opens a small dialog with a comment field. */
export function reasoned(label, { title, text, path, extra = () => ({}), kind = "danger", done, load, fields = [] }) {
  return h(
    "button",
    {
      type: "button",
      class: `${kind} small`,
      onclick: () => {
        const comment = h("textarea", {
          rows: "3",
          maxlength: "5000",
          required: "",
          "aria-label": "Comment",
          placeholder: "Why? The comment is kept in the audit record.",
        });
        const ask = async () => {
          try {
            const answer = await call("POST", path, { comment: comment.value, ...extra() });
            await load?.();
            box.close();
            toast(typeof done === "function" ? done(answer) : done);
          } catch (error) {
            if (error.status === 409) {
              await load?.();
              box.close(); // what it says does not hold any more
            }
            throw error;
          }
        };
        const box = h(
          "dialog",
          { class: "dialog", "aria-labelledby": "reason-title", onclose: () => box.remove() },
          h(
            "form",
            {
              class: "decide",
              onsubmit: (event) => {
                event.preventDefault();
                locked(box.querySelectorAll("button"), () => attempt(ask));
              },
            },
            h("h2", { id: "reason-title" }, title),
            text ? h("p", { class: "muted" }, text) : null,
            ...fields,
            comment,
            h(
              "div",
              { class: "row end" },
              h("button", { type: "button", onclick: () => box.close() }, "Cancel"),
              h("button", { class: kind }, label),
            ),
          ),
        );
        document.body.append(box);
        box.showModal();
        comment.focus();
      },
    },
    label,
  );
}

/** A list with a button for more: `view(rows)` makes the elements of a page; `none` is shown where there is nothing. */
export async function paged(path, view, none = null) {
  const first = await call("GET", path);
  if (!first.data.length && none) return [none];
  const box = h("div", { class: "pages" }, view(first.data));
  const more = h(
    "button",
    {
      type: "button",
      class: "more",
      onclick: () =>
        attempt(async () => {
          const page = await call(
            "GET",
            `${path}${path.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(more.dataset.next)}`,
          );
          box.append(view(page.data));
          follow(page.next);
        }),
    },
    "Show more",
  );
  const follow = (next) => {
    more.hidden = !next;
    more.dataset.next = next ?? "";
  };
  follow(first.next);
  return [box, more];
}

const AGAIN_MS = 3_000;
const OLD_MS = 60_000;

/** When a kept answer was counted; nothing of one that is new. */
const counted = ({ as_of: at }) =>
  at && Date.now() - Date.parse(at) > OLD_MS ? [h("p", { class: "muted" }, `Counted ${when(at)}.`)] : [];

/** Something that takes a while, fetched when its box is opened, and again while the scheduler is still at it. */
export function fetched(title, path, view, { open = false } = {}) {
  const box = h("div", {}, h("p", { class: "muted" }, "Asking the scheduler…"));
  let begun = false;
  const fill = async () => {
    if (begun) return;
    begun = true;
    try {
      const found = await call("GET", path);
      box.replaceChildren(...[view(found)].flat(), ...counted(found));
    } catch (error) {
      begun = false;
      box.replaceChildren(h("p", { class: "alert" }, error.message));
      if (error.status === 503) setTimeout(() => frame.isConnected && frame.open && fill(), AGAIN_MS);
    }
  };
  const frame = h(
    "details",
    { class: "box", open, ontoggle: (event) => event.target === frame && frame.open && fill() },
    h("summary", {}, h("h2", {}, title)),
    box,
  );
  if (open) fill();
  return frame;
}
