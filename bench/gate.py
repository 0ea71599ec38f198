"""The gate, driven by made-up scores whose truth is known.

python -m bench.gate              everything; about ten minutes on two cores
python -m bench.gate --cycles 50  fewer cycles a row, to try it

`finetune.gate.decide` itself decides, with the defaults of `configs/default.yaml`. A case is right or wrong under an
adapter (accuracy); attribution is graded. Two adapters that are equally good differ in 15 % of the planned task's cases
and in 8 % of the others', unless a row says otherwise. Cases come three from a document. The held-out loss moves with
the truth: 0.2 % for a point.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.table import show
from finetune.evaluate import CaseScore, Report
from finetune.gate import decide

SETTINGS: dict[str, Any] = {"margin": 0.05, "loss_margin": 0.02, "min_cases": 24, "samples": 1000}
LEVEL = 0.6
MARGIN = SETTINGS["margin"]
CASES_OF_A_DOCUMENT = 3


@dataclass
class World:
    """Cases by task; adapters that share the base's answers except where they differ."""

    counts: Mapping[str, int]
    seed: int
    discordance: Mapping[str, float]
    unequal: bool = False
    """Documents by Zipf's law, the largest with a quarter of a task's cases, in place of three cases each."""
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.base = {task: self.rng.random(count) < LEVEL for task, count in self.counts.items()}
        self.graded = {task: self.rng.beta(2, 1.5, count) for task, count in self.counts.items()}
        self.documents = {task: self._documents(count) for task, count in self.counts.items()}

    def _documents(self, cases: int) -> list[int]:
        if not self.unequal:
            return [place // CASES_OF_A_DOCUMENT for place in range(cases)]
        often = 1 / np.arange(1, cases // CASES_OF_A_DOCUMENT + 1)
        return [int(one) for one in self.rng.choice(len(often), size=cases, p=often / often.sum())]

    def report(self, name: str, gains: Mapping[str, float]) -> Report:
        """An adapter that is better than the base by `gains` (points as shares) in each task."""
        rows: list[CaseScore] = []
        for task, count in self.counts.items():
            rows += self._rows(task, count, gains.get(task, 0.0))
        return Report(name, "simulated", tuple(rows), ())

    def _rows(self, task: str, count: int, gain: float) -> list[CaseScore]:
        flips = self.discordance[task] / 2
        wrong_to_right, right_to_wrong = (flips + gain / 2) / (1 - LEVEL), (flips - gain / 2) / LEVEL
        base, drawn = self.base[task], self.rng.random(count)
        right = np.where(base, drawn >= right_to_wrong, drawn < wrong_to_right)
        attribution = np.clip(self.graded[task] + self.rng.normal(0, 0.15, count), 0, 1)
        decline = self.rng.random(count) < 0.97
        responding = np.clip(0.8 + self.rng.normal(0, 0.12, count), 0, 1)
        loss = 1.5 * (1 - 0.2 * gain) + self.rng.normal(0, 0.05, count)
        return [
            CaseScore(
                f"{task}-{i}",
                task,
                f"{task}-{self.documents[task][i]}",
                True,
                "",
                {
                    "answer_accuracy": float(right[i]),
                    "source_attribution": float(attribution[i]),
                    "decline_correct": float(decline[i]),
                    "groundedness": float(attribution[i]),
                    "responding": float(responding[i]),
                    "concision": 1.0,
                    "selective_citing": 1.0,
                },
                float(loss[i]),
                20,
            )
            for i in range(count)
        ]


def verdicts(
    counts: Mapping[str, int],
    gains: Mapping[str, float],
    *,
    cycles: int,
    discordance: Mapping[str, float],
    seed: int = 0,
    anchored: bool = True,
    unequal: bool = False,
) -> dict[str, int]:
    """What the gate says of an adapter in `cycles` worlds; the task `planned` is the planned one."""
    found = {"promote": 0, "reject": 0, "not_enough_evidence": 0}
    for number in range(cycles):
        world = World(counts, seed + number, discordance, unequal)
        anchor = world.report("base", {}) if anchored else None
        said = decide(
            world.report("v2", gains), world.report("v1", {}), planned_tasks=["planned"], anchor=anchor, **SETTINGS
        )
        found[said.verdict] += 1
    return found


def _row(what: str, goal: str, counts: Mapping[str, int], gains: Mapping[str, float], cycles: int, **more: Any) -> Any:
    # Half of the discordance is in each answer that differs from the base's: two adapters then differ by about it.
    shares = more.pop("discordance", {task: 0.075 if task == "planned" else 0.04 for task in counts})
    found = verdicts(counts, gains, cycles=cycles, discordance=shares, **more)
    return {
        "what": what,
        "cycles": cycles,
        "cases": " + ".join(str(count) for count in counts.values()),
        "promoted": f"{found['promote'] / cycles:.1%}",
        "rejected": f"{found['reject'] / cycles:.1%}",
        "not enough evidence": f"{found['not_enough_evidence'] / cycles:.1%}",
        "goal": goal,
    }


def _main_rows(cycles: int) -> list[dict[str, Any]]:
    even = {"planned": 120, "b": 120, "c": 120, "d": 120}
    large = {"planned": 600, "b": 120, "c": 120}
    two = {"planned": 600, "b": 600}
    all_same = dict.fromkeys(large, 0.075)
    return [
        _row("equally good", "promoted <= 2.5 %", even, {}, cycles),
        _row("equally good, no anchor", "", even, {}, cycles // 4, anchored=False),
        _row("equally good, unequal documents", "promoted <= 2.5 %", even, {}, cycles, anchored=False, unequal=True),
        _row("+ 5 points", "promoted >= 80 %", {"planned": 600}, {"planned": 0.05}, cycles, anchored=False),
        _row("+ 5 points, two other tasks", "promoted >= 80 %", large, {"planned": 0.05}, cycles, anchored=False),
        _row("+ 5 points, anchor too", "", large, {"planned": 0.05}, cycles // 4),
        _row(
            "+ 5, others as discordant", "", large, {"planned": 0.05}, cycles // 4, anchored=False, discordance=all_same
        ),
        _row("+ 10 points, - 5 in one task", "blocked >= 95 %", two, {"planned": 0.1, "b": -0.05}, cycles),
    ]


def _power(cycles: int) -> list[dict[str, Any]]:
    """What is blocked of losses in one of four tasks, by cases per task; the planned one gains 15 points."""
    rows = []
    for count in (36, 60, 90, 120):
        counts = {"planned": count, "b": count, "c": count, "d": count}
        row: dict[str, Any] = {"cases per task": count}
        for points in (0, 5, 10, 20):
            gains = {"planned": 0.15, "b": -points / 100}
            shares = {task: 0.16 if task == "planned" else max(0.06, points / 100 + 0.02) for task in counts}
            found = verdicts(counts, gains, cycles=cycles, discordance=shares, seed=5_000)
            row[f"- {points} in one: promoted"] = f"{found['promote'] / cycles:.0%}"
            row[f"- {points}: rejected"] = f"{found['reject'] / cycles:.0%}"
        rows.append(row)
    return rows


def _chains(chains: int, *, length: int = 20, anchored: bool) -> dict[str, Any]:
    """Chains of candidates whose truth wanders; how far the last one serving is below the base, in its worst task."""
    ends, promoted = [], 0
    counts = {"planned": 200, "b": 200, "c": 200}
    for chain in range(chains):
        rng = np.random.default_rng(chain)
        level = dict.fromkeys(counts, 0.0)
        for step in range(length):
            world = World(counts, 100_000 + chain * length + step, dict.fromkeys(counts, 0.2))
            moved = {task: float(np.clip(level[task] + rng.normal(0, 0.03), -0.19, 0.19)) for task in counts}
            anchor = world.report("base", {}) if anchored else None
            candidate, serving = world.report("v2", moved), world.report("v1", level)
            said = decide(candidate, serving, planned_tasks=["planned"], anchor=anchor, **SETTINGS)
            if said.verdict == "promote":
                level, promoted = moved, promoted + 1
        ends.append(level)
    means = [float(np.mean(list(level.values()))) for level in ends]
    worst = [min(level.values()) for level in ends]
    return {
        "chains of 20": f"{chains}, {'with' if anchored else 'without'} anchor",
        "promoted in all": promoted,
        "lowest end, all tasks": f"{min(means):+.3f}",
        "ends below - margin": sum(mean < -MARGIN for mean in means),
        "lowest end of a task": f"{min(worst):+.3f}",
        "chains with a task below - margin": sum(one < -MARGIN for one in worst),
    }


def main() -> None:
    """Print and keep the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1_000)
    parser.add_argument("--part", choices=["main", "power", "chains"])
    options = parser.parse_args()
    few = max(10, options.cycles // 5)
    if options.part in (None, "main"):
        show("gate", _main_rows(options.cycles), cycles=options.cycles)
    if options.part in (None, "power"):
        show("gate_power", _power(few), cycles=few)
    if options.part in (None, "chains"):
        chains = max(2, options.cycles // 20)
        show("gate_chains", [_chains(chains, anchored=anchored) for anchored in (True, False)], chains=chains)


if __name__ == "__main__":
    main()
