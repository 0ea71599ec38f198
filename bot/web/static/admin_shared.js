// Pieces that several admin sections use: tables, states, comment dialogs, pages of a list.
import { attempt, call, h, toast } from "./dom.js";

/** A share in [0, 1] as people write percentages. */
export const percentage = (share) => String(Number((share * 100).toFixed(4)));

/** A state as a coloured word. */
export const state = (name) => h("span", { class: "state", "data-state": name }, name.replaceAll("_", " "));

/** A table that scrolls sideways on small screens. */
export function table(heads, rows, empty = "Nothing here yet.") {
  if (!rows.length) return h("p", { class: "muted" }, empty);
  return h("div", { class: "scroll", tabindex: "0" }, h("table", {},
    h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, cell)))))));
}

/** A button that asks the API for something and loads the section again. */
export function act(label, request, { kind = "", done = "Done.", load, confirm = "" } = {}) {
  return h("button", { class: `${kind} small`, onclick: async (event) => {
    if (confirm && !window.confirm(confirm)) return;
    event.target.disabled = true;
    const answer = await attempt(request);
    event.target.disabled = false;
    if (answer === undefined) return;
    toast(typeof done === "function" ? done(answer) : done);
    await load?.();
  } }, label);
}

/** A comment field with the decisions it can go with: {label, path, kind, extra}. */
export function decide(decisions, load) {
  const comment = h("textarea", { rows: "2", maxlength: "5000", placeholder: "Why? The comment is kept in the audit record.", "aria-label": "Comment" });
  const buttons = decisions.map(({ label, path, kind, extra = () => ({}), done }) =>
    act(label, () => call("POST", path, { comment: comment.value, ...extra() }), { kind, done, load }));
  return h("div", { class: "decide" }, comment, h("div", { class: "row" }, ...buttons));
}

/** A list with a button for more: `view(rows)` makes the elements of a page. */
export async function paged(path, view) {
  const first = await call("GET", path);
  const box = h("div", {}, view(first.data));
  const more = h("button", { class: "quiet", onclick: () => attempt(async () => {
    const page = await call("GET", `${path}${path.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(more.dataset.next)}`);
    box.append(view(page.data));
    follow(page.next);
  }) }, "Show more");
  const follow = (next) => {
    more.hidden = !next;
    more.dataset.next = next ?? "";
  };
  follow(first.next);
  return [box, more];
}
