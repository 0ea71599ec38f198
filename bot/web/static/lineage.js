// Where adapters come from, as a picture: each version after the one it was compared with; what serves is ringed.
import { h, s } from "./dom.js";

const STEP_X = 132;
const STEP_Y = 52;
const MOST = 40;

/** The newest versions as a tree; `serving` is ringed. */
export function lineage(adapters, serving) {
  const rows = adapters.slice(0, MOST).reverse();
  if (!rows.length) return null;
  const column = new Map([["base", 0]]);
  const places = new Map([["base", { x: 60, y: 30 }]]);
  const lanes = [0];
  for (const row of rows) {
    const from = places.has(row.compared_with) ? row.compared_with : "base";
    const x = (column.get(from) ?? 0) + 1;
    column.set(row.id, x);
    lanes[x] = (lanes[x] ?? -1) + 1;
    places.set(row.id, { x: 60 + x * STEP_X, y: 30 + lanes[x] * STEP_Y });
  }
  const width = 130 + Math.max(...column.values()) * STEP_X;
  const height = 60 + Math.max(...lanes.map((n) => n ?? 0)) * STEP_Y;
  const edges = rows.map((row) =>
    edge(places.get(places.has(row.compared_with) ? row.compared_with : "base"), places.get(row.id)),
  );
  const nodes = [{ id: "base", state: "base model" }, ...rows].map((row) =>
    node(row, places.get(row.id), row.id === serving),
  );
  return h(
    "figure",
    { class: "box lineage" },
    h(
      "figcaption",
      { class: "muted" },
      `Each version after the one it was measured against${adapters.length > MOST ? `, the newest ${MOST}` : ""}.`,
    ),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Lineage of adapters" },
      s(
        "svg",
        {
          width: String(width),
          height: String(height),
          viewBox: `0 0 ${width} ${height}`,
          role: "img",
          "aria-label": `Lineage: ${rows.map((row) => `${row.id} after ${row.compared_with}, ${row.state}`).join("; ")}`,
        },
        ...edges,
        ...nodes,
      ),
    ),
  );
}

const edge = (from, to) =>
  s("path", {
    class: "edge",
    d: `M${from.x + 50} ${from.y} C${from.x + 85} ${from.y} ${to.x - 85} ${to.y} ${to.x - 50} ${to.y}`,
  });

const node = (row, { x, y }, serving) =>
  s(
    "g",
    { class: `node${serving ? " serving" : ""}`, "data-state": row.state },
    s("rect", { x: String(x - 50), y: String(y - 19), width: "100", height: "38", rx: "10" }),
    s("text", { x: String(x), y: String(y - 2), "text-anchor": "middle", class: "id" }, row.id),
    s(
      "text",
      { x: String(x), y: String(y + 12), "text-anchor": "middle", class: "said" },
      row.state.replaceAll("_", " "),
    ),
  );
