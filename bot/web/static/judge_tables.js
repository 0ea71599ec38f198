// How a judge did, as tables: the Judge page and the dossier show them.
import { percent, table } from "./admin_shared.js";

const number = (value) => (typeof value === "number" ? value.toFixed(2) : "–");

/** A measure, with whose word it is where there are two. */
export const named = ({ metric, by }) => (by ? `${metric} (${by})` : metric);

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

/** Each metric of an evaluation, of all cases and of each task. */
export const everyMetric = (rows) =>
  table(
    ["Task", "Measure", "Candidate", "95 % interval", "Serving", "n", "Answers by people"],
    rows.map((one) => [
      one.task,
      named(one),
      number(one.mean),
      `${number(one.low)} … ${number(one.high)}`,
      number(one.serving),
      String(one.n),
      percent(one.human_share),
    ]),
    "Not measured.",
    "Every metric, by task",
  );
