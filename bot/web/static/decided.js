// Who agreed to an adapter and who decided on it, as the audit record has it.
import { percentage, state, table } from "./admin_shared.js";
import { time } from "./dom.js";
import { part } from "./dossier.js";

/** Who agreed and who decided, when and why. */
export function decided({ approvals, decisions }) {
  const terms = ({ share, testers }) =>
    [`agreed to ${percentage(share)} %`, ...(testers.length ? [`and ${testers.join(", ")}`] : [])].join(" ");
  const rows = [
    ...approvals.map((one) => ({ ...one, what: terms(one) })),
    ...decisions.map((one) => ({ ...one, what: state(one.state) })),
  ].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  return part(
    "Decisions",
    table(
      ["What", "Who", "When", "Why"],
      rows.map((one) => [one.what, one.name, time(one.at), one.comment || "–"]),
      "Nobody has decided yet.",
      "Decisions",
    ),
  );
}
