// How a judge did, as tables: the Judge page and the dossier show them.
import { percent, table } from "./admin_shared.js";

const number = (value) => (typeof value === "number" ? value.toFixed(2) : "–");

/** How far it agrees with people. */
export const agreement = (rows) =>
  table(
    ["Measure", "Task", "n", "Accuracy", "Balanced", "κ", "AUROC"],
    rows.map((one) => [
      one.metric,
      one.task ?? "all",
      String(one.n),
      number(one.accuracy),
      number(one.balanced),
      number(one.kappa),
      number(one.auroc),
    ]),
    "Nobody has labelled cases yet: agreement with people is not measured.",
    "Agreement with people",
  );

/** How often the honest answer won against each way of making it worse. */
export const suite = (rows) =>
  table(
    ["Made worse by", "The honest answer wins", "n"],
    rows.map((one) => [one.variant, percent(one.share), String(one.n)]),
    "Not tried yet: each evaluation tries the judge before it counts.",
    "Answers made worse",
  );
