// Pictures of figures: lines over time by uPlot, stacked bars and meters drawn here. Each has its figures as a table too.
import { h, s } from "./dom.js";
import { empty, percent, table } from "./admin_shared.js";

const HEIGHT = 190;
const HUES = ["#0b7a70", "#b45309", "#6d4bd1", "#0a66c2", "#b3261e", "#4d7c0f", "#9d2f7f", "#5b6470"];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The colour of a series by its place. */
export const hue = (place) => HUES[place % HUES.length];

/** Lines: `xs` numbers or days, series {label, values, share}; values may be null. Returns {element, update(xs, values)}. */
export function lines({ title, xs, series, days = false, unit = "" }) {
  const host = h("div", { class: "plot", role: "img", "aria-label": title });
  const figures = h("div", { class: "figures" });
  const element = h(
    "figure",
    { class: "chart box" },
    h("figcaption", {}, h("h3", {}, title), legend(series.map((one) => one.label))),
    host,
    h("details", {}, h("summary", { class: "muted" }, "The figures as a table"), figures),
  );
  let plot = null;
  let data = [xs.map((x) => (days ? Date.parse(`${x}T00:00:00Z`) / 1000 : x)), ...series.map((one) => one.values)];
  const shown = (value, one) =>
    value === null || value === undefined ? "–" : one.share ? percent(value) : String(Number(value.toFixed(3)));
  const tabled = (labels) =>
    figures.replaceChildren(
      table(
        [days ? "Day" : "Step", ...series.map((one) => one.label)],
        labels
          .map((x, row) => [String(x), ...series.map((one, n) => shown(data[n + 1][row], one))])
          .filter((cells) => cells.slice(1).some((cell) => cell !== "–")),
        "No figures yet.",
        title,
      ),
    );
  const draw = () => {
    plot?.destroy();
    if (!host.isConnected || !globalThis.uPlot) return;
    const axis = {
      stroke: colour("--soft"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line") },
    };
    plot = new globalThis.uPlot(
      {
        width: Math.max(240, host.clientWidth),
        height: HEIGHT,
        cursor: { y: false },
        legend: { show: false },
        scales: { x: { time: days }, y: series[0].share ? { range: [0, 1] } : {} },
        axes: [
          axis,
          {
            ...axis,
            size: 52,
            values: (_, ticks) => ticks.map((tick) => (series[0].share ? percent(tick) : `${tick}${unit}`)),
          },
        ],
        series: [
          {},
          ...series.map((one, n) => ({
            label: one.label,
            stroke: hue(n),
            width: 2,
            spanGaps: true,
            points: { show: data[0].length < 60, size: 5 },
          })),
        ],
      },
      data,
      host,
    );
  };
  new ResizeObserver(() =>
    plot ? plot.setSize({ width: Math.max(240, host.clientWidth), height: HEIGHT }) : draw(),
  ).observe(host);
  document.getElementById("theme")?.addEventListener("click", draw);
  tabled(xs);
  return {
    element,
    update: (labels, values) => {
      data = [labels, ...values];
      tabled(labels);
      if (plot) plot.setData(data);
      else draw();
    },
  };
}

const legend = (labels) => h("ul", { class: "legend" }, ...labels.map((label, n) => h("li", {}, swatch(n), label)));
const swatch = (n) =>
  s(
    "svg",
    { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" },
    s("rect", { width: "10", height: "10", rx: "3", fill: hue(n) }),
  );

/** Stacked bars, one a day: rows of {day, parts: {name: count}}. */
export function stacked({ title, rows }) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.parts)))];
  const most = Math.max(1, ...rows.map((row) => Object.values(row.parts).reduce((sum, n) => sum + n, 0)));
  if (!names.length)
    return h(
      "figure",
      { class: "chart box" },
      h("figcaption", {}, h("h3", {}, title)),
      empty("Nobody has asked anything in these days."),
    );
  const width = 600 / rows.length;
  const bars = rows.flatMap((row, place) => {
    let top = 150;
    return names
      .filter((name) => row.parts[name])
      .map((name) => {
        const height = (row.parts[name] / most) * 145;
        top -= height;
        return s(
          "rect",
          {
            x: (place * width + width * 0.12).toFixed(2),
            y: top.toFixed(2),
            width: (width * 0.76).toFixed(2),
            height: height.toFixed(2),
            fill: hue(names.indexOf(name)),
          },
          s("title", {}, `${row.day}: ${name} ${row.parts[name]}`),
        );
      });
  });
  return h(
    "figure",
    { class: "chart box" },
    h("figcaption", {}, h("h3", {}, title), legend(names)),
    s(
      "svg",
      {
        viewBox: "0 0 600 152",
        preserveAspectRatio: "none",
        class: "bars",
        role: "img",
        "aria-label": `${title}, most in a day: ${most}`,
      },
      ...bars,
      s("line", { x1: "0", x2: "600", y1: "151", y2: "151", class: "axis" }),
    ),
    h(
      "p",
      { class: "muted ends" },
      h("span", {}, rows[0].day),
      h("span", {}, `at most ${most} a day`),
      h("span", {}, rows.at(-1).day),
    ),
    h(
      "details",
      {},
      h("summary", { class: "muted" }, "The figures as a table"),
      table(
        ["Day", ...names],
        rows
          .filter((row) => Object.keys(row.parts).length)
          .map((row) => [row.day, ...names.map((name) => String(row.parts[name] ?? 0))]),
        "No figures yet.",
        title,
      ),
    ),
  );
}
