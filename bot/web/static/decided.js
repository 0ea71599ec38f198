// Who agreed to an adapter and who decided on it, as the audit record has it.
import { percentage, state, table } from "./admin_shared.js";
import { h, time } from "./dom.js";
import { part } from "./dossier.js";

const terms = ({ share, testers }) =>
  [`${percentage(share)} %`, ...(testers.length ? [testers.join(", ")] : [])].join(" and ");

/** What came of an agreement: each decision that it made, and whether more people may still join it. */
const became = ({ made, open }) =>
  [
    ...made.map((one) => `${one.state.replaceAll("_", " ")} for ${terms(one)}, decided by ${one.name}`),
    ...(open ? ["open: more people must agree"] : made.length ? [] : ["not put into effect"]),
  ].join("; ");

/** Who agreed and who decided, when and why. */
export function decided({ approvals, decisions }) {
  const rows = [
    ...approvals.map((one) => ({
      ...one,
      what: [`agreed to ${terms(one)}`, h("p", { class: "muted" }, became(one))],
    })),
    ...decisions.map((one) => ({ ...one, what: [state(one.state)] })),
  ].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  return part(
    "Decisions",
    table(
      ["What", "Who", "When", "Why"],
      rows.map((one) => [h("div", {}, ...one.what), one.name, time(one.at), one.comment || "–"]),
      "Nobody has decided yet.",
      "Decisions",
    ),
  );
}
