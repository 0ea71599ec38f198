// Exchanges, documents and people.
import { cutSentence } from "./cut.js";
import { attempt, call, h, time, toast, when } from "./dom.js";
import { act, paged, state, table } from "./admin_shared.js";

const cut = (text, length) => (text.length > length ? `${text.slice(0, length)}…` : text);

function exchangeCard(row, load) {
  const thumb = row.feedback?.rating ? state(row.feedback.rating === "up" ? "liked" : "disliked") : "";
  const correction = h("textarea", { rows: "4", "aria-label": "The right answer" }, row.feedback?.correction || row.answer);
  const { rating = null, reasons = [], comment = "" } = row.feedback ?? {};
  const approve = act("Approve as the right answer", () => call("POST", "/v1/feedback",
    { exchange_id: row.id, rating, reasons, comment, correction: correction.value, approved: true }),
  { kind: "primary", done: "Kept as an approved answer.", load });
  return h("details", { class: "box" },
    h("summary", {}, `${cut(row.question, 90)} `, thumb, " ", state(row.declined ? "declined" : row.state), " ",
      h("span", { class: "muted" }, [row.labels[0]?.task, row.adapter, when(row.created_at)].filter(Boolean).join(" · "))),
    h("h3", {}, "Question"), h("p", { class: "pre" }, row.question),
    h("h3", {}, "Answer"), h("p", { class: "pre" }, row.answer || "–"),
    row.error ? h("p", { class: "alert" }, row.error) : null,
    comment || reasons.length ? h("p", { class: "muted" }, ["Said:", ...reasons, comment].join(" ")) : null,
    h("h3", {}, "Passages"),
    row.passages.length ? h("ol", {}, ...row.passages.map((p) => h("li", {}, h("b", {}, p.title), h("p", { class: "pre muted" }, p.text))))
      : h("p", { class: "muted" }, "None."),
    cutSentence(row.cut) ? h("p", { class: "muted" }, cutSentence(row.cut)) : null,
    h("h3", {}, row.feedback?.approved ? "Approved answer" : "Right answer"), correction, h("div", { class: "row" }, approve));
}

/** The log. */
export async function exchangesSection(load) {
  const list = await paged("/v1/admin/exchanges?limit=30", (rows) => h("div", {}, ...rows.map((row) => exchangeCard(row, load))));
  return list[0].firstChild.childElementCount ? list : [h("p", { class: "muted" }, "Nobody has asked anything yet.")];
}

/** Documents, with upload. */
export async function documentsSection(load) {
  const file = h("input", { type: "file", name: "file", multiple: true, "aria-label": "Files", accept: ".md,.txt,.html,.htm,.pdf,.docx" });
  const upload = h("form", { class: "box row", onsubmit: (event) => {
    event.preventDefault();
    attempt(async () => {
      for (const one of file.files) {
        const form = new FormData();
        form.append("file", one);
        const kept = await call("POST", "/v1/documents", form);
        toast(kept.created ? `${kept.title} is added.` : `${kept.title} was there already.`);
      }
      await load();
    });
  } }, file, h("button", { class: "primary small" }, "Upload"), h("span", { class: "muted" }, "Markdown, text, HTML, PDF, Word"));
  const list = await paged("/v1/documents", (rows) => table(["Title", "Source", "Passages", "Changed", ""], rows.map((row) => [
    row.title, row.source, String(row.chunks), time(row.updated_at),
    act("Remove", () => call("DELETE", `/v1/documents/${row.id}`), { kind: "danger", done: "Removed.", load, confirm: `Remove “${row.title}”?` }),
  ]), "No documents yet."));
  return [upload, ...list];
}

function personRow(person, load, shown) {
  const keys = person.keys.filter((key) => !key.revoked_at);
  return [
    person.name, person.role, person.signs_in ? "password" : "–",
    h("span", {}, ...keys.flatMap((key) => [h("code", {}, `${key.prefix}…`), " ",
      act("Revoke", () => call("DELETE", `/v1/admin/keys/${key.id}`), { kind: "quiet", done: "Revoked.", load, confirm: "Revoke this key?" })])),
    h("div", { class: "row" },
      act("New key", async () => {
        const made = await call("POST", `/v1/admin/users/${person.id}/keys`, { scopes: [] });
        shown.replaceChildren(h("p", {}, `The key of ${person.name}, shown this once: `, h("code", {}, made.key)));
        shown.hidden = false;
        return made;
      }, { kind: "quiet", done: "Copy the key now." }),
      act("Erase", () => call("POST", `/v1/admin/users/${person.id}/erase`), { kind: "danger", load,
        done: (gone) => `Erased with ${gone.exchanges} exchanges.`, confirm: `Erase ${person.name} and everything they said? This cannot be undone.` })),
  ];
}

/** People and keys. */
export async function peopleSection(load) {
  const shown = h("div", { class: "box", role: "status", hidden: true });
  const name = h("input", { required: "", placeholder: "Name", "aria-label": "Name", maxlength: "100" });
  const role = h("select", { "aria-label": "Role" }, ...["chat", "reviewer", "admin"].map((one) => h("option", {}, one)));
  const password = h("input", { type: "password", placeholder: "Password (may stay empty)", "aria-label": "Password", autocomplete: "new-password" });
  const add = h("form", { class: "box row", onsubmit: (event) => {
    event.preventDefault();
    attempt(async () => {
      await call("POST", "/v1/admin/users", { name: name.value, role: role.value, password: password.value || null });
      toast(`${name.value} is added.`);
      await load();
    });
  } }, name, role, password, h("button", { class: "primary small" }, "Add"));
  const list = await paged("/v1/admin/users", (rows) =>
    table(["Name", "Role", "Signs in with", "Keys", ""], rows.map((row) => personRow(row, load, shown))));
  return [add, shown, ...list];
}
