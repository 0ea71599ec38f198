// The dossier on one page, for printing.
import { cases } from "./cases.js";
import { decided } from "./decided.js";
import { data, dossierOf, rest, rules, verdict } from "./dossier.js";
import { facts, state } from "./admin_shared.js";
import { when } from "./dom.js";
import { unfoldToPrint } from "./print.js";

export async function section(_load, { adapter }) {
  const found = await dossierOf(adapter);
  document.getElementById("print").addEventListener("click", () => print());
  unfoldToPrint(document.getElementById("content"));
  return [
    facts([
      ["State", state(found.state ?? found.row.state)],
      ["Cycle", found.cycle_id],
      ["Made", when(found.row.created_at)],
      ["Decided", found.row.decided_at ? when(found.row.decided_at) : "not yet"],
    ]),
    verdict(found),
    decided(found),
    rules(found),
    ...cases(found, { open: true }),
    data(found),
    ...rest(found, { open: true }),
  ];
}
