// The list of conversations: opening, searching, renaming, deleting, and pages of it.
import { call, h, query } from "./dom.js";
import { icon } from "./icons.js";
import { attempt, confirmed, toast } from "./notices.js";

const PAGE = 40;
const WAIT_MS = 250;
const list = document.getElementById("conversation-list");
const search = document.getElementById("search");
let turn = 0;
let timer;

/** Keeps the list; `open(id)`, `current()` and `gone(id)` belong to the chat. */
export class History {
  constructor({ open, current, gone }) {
    Object.assign(this, { open, current, gone });
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => attempt(() => this.refresh()), WAIT_MS);
    });
  }

  async refresh() {
    const mine = ++turn;
    const found = await this.page(null);
    if (mine !== turn) return;
    const empty = search.value.trim() ? "No conversation says that." : "Your conversations will be kept here.";
    list.replaceChildren(
      ...(found.data.length ? found.data.map((row) => this.item(row)) : [h("li", { class: "muted empty" }, empty)]),
    );
    this.more(found.next);
  }

  page(cursor) {
    return call("GET", query("/v1/conversations", { limit: PAGE, q: search.value.trim(), cursor }));
  }

  more(next) {
    if (!next) return;
    const button = h(
      "button",
      {
        class: "quiet small",
        onclick: () =>
          attempt(async () => {
            const found = await this.page(next);
            button.parentElement.remove();
            list.append(...found.data.map((row) => this.item(row)));
            this.more(found.next);
          }),
      },
      "Show older ones",
    );
    list.append(h("li", {}, button));
  }

  item(row) {
    const title = row.title || "Untitled";
    const open = h(
      "button",
      {
        class: "conversation",
        title,
        "aria-current": row.id === this.current() ? "true" : null,
        onclick: () => attempt(() => this.open(row.id)),
      },
      title,
    );
    const item = h(
      "li",
      { class: "entry" },
      open,
      h(
        "button",
        { class: "icon tool", "aria-label": `Rename ${title}`, title: "Rename", onclick: () => this.rename(row, item) },
        icon("edit"),
      ),
      h(
        "button",
        { class: "icon tool", "aria-label": `Delete ${title}`, title: "Delete", onclick: () => this.remove(row) },
        icon("trash"),
      ),
    );
    return item;
  }

  rename(row, item) {
    const field = h("input", { value: row.title, maxlength: "200", required: "", "aria-label": "New title" });
    const form = h(
      "form",
      {
        class: "entry",
        onsubmit: (event) => {
          event.preventDefault();
          attempt(async () => {
            await call("PATCH", `/v1/conversations/${row.id}`, { title: field.value });
            await this.refresh();
          });
        },
        onkeydown: (event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          attempt(() => this.refresh());
        },
      },
      field,
      h("button", { class: "primary small" }, "Save"),
    );
    item.replaceChildren(form);
    field.focus();
    field.select();
  }

  async remove(row) {
    const text = `“${row.title || "Untitled"}” and its answers and ratings will be gone. Versions trained on it are flagged.`;
    if (!(await confirmed("Delete this conversation?", text, { yes: "Delete" }))) return;
    await attempt(async () => {
      await call("DELETE", `/v1/conversations/${row.id}`);
      toast("The conversation is deleted.");
      this.gone(row.id);
      await this.refresh();
    });
  }
}
