// Differences with their intervals as a picture: a forest plot, one row a rule, zero and the margin marked.
import { h, s } from "./dom.js";

const WIDTH = 320;
const ROW = 30;
export const signed = (value) =>
  typeof value === "number" ? `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(3)}` : "–";

/** Rows of {name, note, n, difference, low, high, margin, passed}. */
export function forest(rows, title) {
  const drawn = rows.filter((row) => typeof row.difference === "number");
  if (!drawn.length) return null;
  const far = Math.max(
    0.05,
    ...drawn.flatMap((row) => [row.low, row.high, row.difference].filter((v) => typeof v === "number").map(Math.abs)),
  );
  const x = (value) => WIDTH / 2 + (Math.max(-far, Math.min(far, value)) / far) * (WIDTH / 2 - 12);
  return h(
    "figure",
    { class: "forest" },
    h("figcaption", { class: "muted" }, title),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Measure"),
            h("th", { scope: "col", class: "plotted" }, axis(far)),
            h("th", { scope: "col" }, "Difference"),
            h("th", { scope: "col" }, "95 % interval"),
            h("th", { scope: "col" }, "n"),
          ),
        ),
        h(
          "tbody",
          {},
          ...drawn.map((row) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, row.name, row.note ? h("span", { class: "muted" }, ` ${row.note}`) : null),
              h("td", { class: "plotted" }, mark(row, x)),
              h("td", {}, h("b", { class: tone(row) }, signed(row.difference))),
              h("td", {}, typeof row.low === "number" ? `${signed(row.low)} … ${signed(row.high)}` : "–"),
              h("td", {}, String(row.n ?? "–")),
            ),
          ),
        ),
      ),
    ),
  );
}

const tone = (row) => (row.passed === false || row.high < 0 ? "loss" : row.low > 0 ? "gain" : "");

const axis = (far) =>
  s(
    "svg",
    { viewBox: `0 0 ${WIDTH} 18`, class: "axis-labels", "aria-hidden": "true" },
    s("text", { x: "2", y: "13" }, signed(-far)),
    s("text", { x: String(WIDTH / 2), y: "13", "text-anchor": "middle" }, "0"),
    s("text", { x: String(WIDTH - 2), y: "13", "text-anchor": "end" }, signed(far)),
  );

function mark(row, x) {
  const middle = ROW / 2;
  const words = `${row.name}: ${signed(row.difference)}${typeof row.low === "number" ? `, between ${signed(row.low)} and ${signed(row.high)}` : ""}`;
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${ROW}`, role: "img", "aria-label": words, class: `interval ${tone(row)}` },
    s("line", { x1: String(x(0)), x2: String(x(0)), y1: "0", y2: String(ROW), class: "zero" }),
    row.margin
      ? s(
          "line",
          { x1: String(x(-row.margin)), x2: String(x(-row.margin)), y1: "3", y2: String(ROW - 3), class: "margin" },
          s("title", {}, `margin ${signed(-row.margin)}`),
        )
      : null,
    typeof row.low === "number"
      ? s("line", {
          x1: String(x(row.low)),
          x2: String(x(row.high)),
          y1: String(middle),
          y2: String(middle),
          class: "reach",
        })
      : null,
    s("circle", { cx: String(x(row.difference)), cy: String(middle), r: "5", class: "point" }),
  );
}
