// Short messages, questions before what cannot be undone, and the clipboard.
import { h } from "./dom.js";

let timer;
/** Show a short message; `doing` is a button in it: {label, run}. */
export function toast(text, kind = "info", doing = null) {
  const box = document.getElementById("toast");
  const button =
    doing &&
    h(
      "button",
      {
        type: "button",
        class: "small",
        onclick: () => {
          box.hidden = true;
          doing.run();
        },
      },
      doing.label,
    );
  box.replaceChildren(h("span", {}, text), button ?? "");
  box.dataset.kind = kind;
  box.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (box.hidden = true), kind === "error" || doing ? 9000 : 4000);
}

/** Run something that may fail and show the sentence when it does; `again` loads what has changed meanwhile (409). */
export async function attempt(action, again = null) {
  try {
    return await action();
  } catch (error) {
    toast(error.message, "error", again && error.status === 409 ? { label: "Load again", run: again } : null);
    return undefined;
  }
}

/** Ask before something that cannot be undone; true when it is wanted. */
export function confirmed(title, text, { yes = "Yes", kind = "danger" } = {}) {
  return new Promise((resolve) => {
    const answer = (value) => {
      box.close();
      box.remove();
      resolve(value);
    };
    const box = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "confirm-title", oncancel: () => answer(false) },
      h("h2", { id: "confirm-title" }, title),
      h("p", {}, text),
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", onclick: () => answer(false) }, "Cancel"),
        h("button", { type: "button", class: kind, onclick: () => answer(true) }, yes),
      ),
    );
    document.body.append(box);
    box.showModal();
  });
}

/** Put a text on the clipboard and say so. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "hidden", "aria-hidden": "true" }, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast("Copied.");
}
