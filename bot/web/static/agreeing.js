// What other admins ask for where more than one person must agree: in words, and a button that agrees to just that.
import { counted } from "./dom.js";
import { percentage, reasoned } from "./admin_shared.js";

/** For whom a version is: "everybody", or a share and testers by name. */
const terms = ({ share, testers }) =>
  share === 1
    ? "everybody"
    : `${percentage(share)} % of the conversations${testers.length ? ` and ${testers.join(", ")}` : ""}`;

const who = ({ by }) => by.map(({ name, comment }) => (comment ? `${name} (“${comment}”)` : name)).join(", ");

/** Who has agreed to what, and how many more must. */
export const asking = (one) =>
  `Agreed so far, to ${terms(one)}: ${who(one)}. ${counted(one.missing, "more person", "more people")} must agree.`;

/** What is asked for of the canary: in words, with a button for those who have not agreed to it. */
export const wish = (one, load) => [
  `${asking(one)} `,
  one.mine
    ? null
    : reasoned("Agree", {
        title: `Give ${one.adapter} to ${terms(one)}?`,
        text: asking(one),
        path: "/v1/admin/canary",
        kind: "primary",
        extra: () => ({ of: one.adapter, share: one.share, testers: one.testers }),
        done: changed,
        load,
      }),
];

/** What became of a canary's change; a larger share may need more people. */
export const changed = (row) =>
  row.approvals_missing
    ? `Kept: ${counted(row.approvals_missing, "more person", "more people")} must agree to that share.`
    : row.canary
      ? "The share is changed."
      : `${row.adapter} serves everybody.`;
