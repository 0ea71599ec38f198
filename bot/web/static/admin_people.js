// People: users, roles, keys, consent, erasure.
import { call, counted, h, time } from "./dom.js";
import { act, empty, paged, table } from "./admin_shared.js";
import { attempt, toast } from "./notices.js";

const ROLES = {
  chat: "asks and rates",
  reviewer: "sees all answers, approves corrections",
  admin: "decides everything",
};

export async function section(load) {
  const shown = h("div", { class: "box made", role: "status", hidden: true });
  const list = await paged(
    "/v1/admin/users?limit=50",
    (rows) =>
      table(
        ["Name", "Role", "Signs in with", "Training", "Since", "Keys", ""],
        rows.map((row) => line(row, load, shown)),
        "",
        "People",
      ),
    empty("Nobody yet."),
  );
  return [adding(load), shown, ...list];
}

function adding(load) {
  const name = h("input", {
    required: "",
    maxlength: "100",
    "aria-label": "Name",
    placeholder: "Name",
    autocomplete: "off",
  });
  const role = h(
    "select",
    { "aria-label": "Role" },
    ...Object.entries(ROLES).map(([value, text]) => h("option", { value }, `${value} – ${text}`)),
  );
  const password = h("input", {
    type: "password",
    placeholder: "Password (may stay empty)",
    "aria-label": "Password",
    autocomplete: "new-password",
  });
  return h(
    "form",
    {
      class: "box",
      "aria-label": "Add somebody",
      onsubmit: (event) => {
        event.preventDefault();
        attempt(async () => {
          await call("POST", "/v1/admin/users", {
            name: name.value,
            role: role.value,
            password: password.value || null,
          });
          toast(`${name.value} is added.`);
          await load();
        });
      },
    },
    h("h2", {}, "Add somebody"),
    h("div", { class: "row" }, name, role, password, h("button", { class: "primary small" }, "Add")),
  );
}

function line(person, load, shown) {
  return [
    h("b", {}, person.name),
    roleOf(person, load),
    person.signs_in ? "password" : "–",
    person.consent ? "agrees" : "no",
    time(person.created_at),
    keysOf(person, load),
    h(
      "div",
      { class: "row" },
      newKey(person, shown),
      act("Erase", () => call("POST", `/v1/admin/users/${person.id}/erase`), {
        kind: "danger",
        load,
        name: `Erase ${person.name}`,
        done: (gone) =>
          `Erased with ${counted(gone.exchanges, "exchange")}; ${counted(gone.adapters_flagged, "adapter")} flagged.`,
        confirm: `${person.name} and everything they said will be gone for good. Adapters trained on it are flagged.`,
      }),
    ),
  ];
}

function roleOf(person, load) {
  const select = h(
    "select",
    {
      "aria-label": `Role of ${person.name}`,
      onchange: () =>
        attempt(async () => {
          await call("PUT", `/v1/admin/users/${person.id}`, { role: select.value });
          toast(`${person.name} is ${select.value} now.`);
          return true;
        }).then((kept) => kept ?? load()),
    },
    ...Object.keys(ROLES).map((role) => h("option", { selected: role === person.role }, role)),
  );
  return select;
}

const keysOf = (person, load) =>
  h(
    "div",
    {},
    ...person.keys
      .filter((key) => !key.revoked_at)
      .map((key) =>
        h(
          "div",
          { class: "row" },
          h("code", {}, `${key.prefix}…`),
          h("span", { class: "muted" }, key.scopes.join(", ")),
          act("Revoke", () => call("DELETE", `/v1/admin/keys/${key.id}`), {
            kind: "quiet",
            done: "Revoked.",
            load,
            name: `Revoke ${key.prefix} of ${person.name}`,
            confirm: "Programs that use this key are locked out at once.",
          }),
        ),
      ),
  );

function newKey(person, shown) {
  return act(
    "New key",
    async () => {
      const made = await call("POST", `/v1/admin/users/${person.id}/keys`, { scopes: [] });
      shown.replaceChildren(h("p", {}, `The key of ${person.name}, shown this once: `, h("code", {}, made.key)));
      shown.hidden = false;
      shown.scrollIntoView({ block: "nearest" });
      return made;
    },
    { kind: "quiet", done: "Copy the key now.", name: `New key for ${person.name}` },
  );
}
