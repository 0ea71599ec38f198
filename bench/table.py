"""What the benchmarks share: a printed table and a JSON file under bench/results/."""

import json
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> str:
    """The machine in words: processor, cores, memory."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    cores = sum(line.startswith("processor") for line in lines)
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 2**20
    return f"{name}, {cores} cores, {memory} GiB"


def show(name: str, rows: list[dict[str, Any]], **facts: Any) -> None:
    """Print rows as a table and keep them, with the machine and the facts, in bench/results/NAME.json."""
    columns = list(rows[0])
    cells = [[f"{row[c]:.2f}" if isinstance(row[c], float) else str(row[c]) for c in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    for line in [columns, ["-" * width for width in widths], *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    print("  ".join(f"{key}: {value}" for key, value in {**facts, "machine": machine()}.items()))
    RESULTS.mkdir(exist_ok=True)
    content = {"rows": rows, **facts, "machine": machine()}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def draw(name: str, rows: list[dict[str, Any]], *, label: list[str], value: str) -> None:
    """A bar for each row, kept in bench/results/NAME.png."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 0.4 * len(rows) + 1), layout="constrained")
    names = [", ".join(str(row[column]) for column in label) for row in rows]
    axes.bar_label(axes.barh(range(len(rows)), [row[value] for row in rows]), fmt="%.1f", padding=3)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"{value} ({', '.join(label)})")
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / f"{name}.png", dpi=100)


def draw_curve(name: str, rows: list[dict[str, Any]], *, label: str, values: list[str]) -> None:
    """A line for each of the `values` over the rows, kept in bench/results/NAME.png."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    for value in values:
        axes.plot([row[label] for row in rows], [row[value] for row in rows], marker="o", label=value)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / f"{name}.png", dpi=100)
