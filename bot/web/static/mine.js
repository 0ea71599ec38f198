// "Your data": whether Ratchet may learn from one's chats, and deleting what one said.
import { call, counted, h } from "./dom.js";
import { forgetDrafts } from "./draft.js";
import { attempt, confirmed, toast } from "./notices.js";

/** Open the dialog; `cleared()` runs once everything is deleted, `changed(consent)` when consent was given or taken. */
export async function openMine({ cleared, changed }) {
  const me = await call("GET", "/v1/me");
  const agree = h("input", {
    type: "checkbox",
    checked: me.consent,
    onchange: () =>
      attempt(async () => {
        const kept = await call("PUT", "/v1/me", { consent: agree.checked });
        changed(kept.consent);
        toast(kept.consent ? "Thank you: new chats may be learned from." : "Nothing you said will be learned from.");
      }),
  });
  const wipe = h(
    "button",
    {
      type: "button",
      class: "danger",
      onclick: () =>
        attempt(async () => {
          const sure = await confirmed(
            "Delete all you said?",
            "Every conversation, rating and correction of yours will be gone, for good. Versions of the model that were trained on it are flagged for the admins.",
            { yes: "Delete everything" },
          );
          if (!sure) return;
          const gone = await call("DELETE", "/v1/me/data");
          forgetDrafts();
          box.close();
          cleared();
          toast(`Deleted: ${counted(gone.exchanges, "question")} and all that belonged to them.`);
        }),
    },
    "Delete my data",
  );
  const box = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "mine-title", onclose: () => box.remove() },
    h("h2", { id: "mine-title" }, "Your data"),
    h(
      "p",
      { class: "muted" },
      me.via === "open"
        ? "You chat without an account, as everybody on this machine does."
        : `Signed in as ${me.name}.`,
    ),
    h(
      "label",
      { class: "switch" },
      agree,
      h(
        "span",
        {},
        h("b", {}, "My chats may be used for training"),
        h(
          "small",
          { class: "muted" },
          "Good answers and your corrections teach the next version. Taking this back keeps out all you said so far.",
        ),
      ),
    ),
    h("hr"),
    h("p", {}, "Delete every conversation, rating and correction of yours. Your account stays."),
    wipe,
    h(
      "div",
      { class: "row end" },
      h("button", { type: "button", class: "primary", onclick: () => box.close() }, "Close"),
    ),
  );
  document.body.append(box);
  box.showModal();
}
