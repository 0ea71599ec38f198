"""The gate where people rate wrong and right answers unequally often, by simulation: weighed cases against plain ones.

python -m bench.gate_rated               about 20 minutes
python -m bench.gate_rated --cycles 20   fewer cycles a row, to try it

What serves answers until 200 of its answers have become cases: a liked one, or a disliked one that somebody corrected
(60 % of them). Two adapters that are equally good have the same outcome on 70 % of the questions. A sign, such as an
answer that its passages do not bear out, shows in 55 % of wrong answers and in 20 % of right ones; it is looked for in
as many of the newest of each kind and task as the gate looks at. The peer is the same gate without weights, on the
same cases. Then with a task beside the planned one that goes wrong more or less often, 200 cases of each: the other
peer takes one share of wrong answers for both. Then with two planned tasks, a hard one that is rated seldom.
"""

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bench.gate import SETTINGS
from bench.table import show
from finetune.evaluate import CaseScore, Report
from finetune.gate import decide
from finetune.rated import Answers, Rated, Signs
from scheduler.rated import LOOKED_AT

CASES = 200
CORRECTED = 0.6
SAME = 0.7
SHOWS = {True: 0.20, False: 0.55}
ALONE = {"planned": 0.70}
"""The share of right answers of what serves, by task."""
HARD = {"planned": 0.50, "other": 0.85}
EASY = {"planned": 0.85, "other": 0.50}
BOTH = {"planned": 0.50, "planned too": 0.85}
BESIDE: dict[str, Any] = {"liked": 0.2, "disliked": 0.2, "right": BOTH, "seldom": 0.25}
ALIKE, OFTEN = ("all rated alike", 0.2, 0.2), ("wrong answers four times as often", 0.1, 0.4)
KINDS = ("liked", "disliked", "unrated")


class Shown:
    """Whether the sign shows in each answer of a task, newest last, by what people said of it."""

    def __init__(self) -> None:
        self.by_kind: dict[str, list[bool]] = {kind: [] for kind in KINDS}

    def answers(self) -> Answers:
        return Answers(*(Signs(len(f), len(f[-LOOKED_AT:]), sum(f[-LOOKED_AT:])) for f in self.by_kind.values()))


def _case(task: str, number: int, right: bool, loss: float) -> CaseScore:
    scores: dict[str, float | None] = {
        "answer_accuracy": 0.85 if right else 0.25,
        "source_attribution": 0.8 if right else 0.5,
        "decline_correct": 1.0,
        "groundedness": 0.8,
        "concision": 1.0,
        "selective_citing": 0.9,
    }
    return CaseScore(f"{task}{number}", task, f"{task}{number // 2}", True, "", scores, loss, 20)


def planned(tasks: Iterable[str]) -> list[str]:
    """Those that the plan is for."""
    return [task for task in tasks if task.startswith("planned")]


def world(
    seed: int,
    *,
    gain: float,
    liked: float,
    disliked: float,
    cases: int = CASES,
    right: Mapping[str, float] = ALONE,
    seldom: float = 1.0,
) -> tuple[Report, Report, Rated]:
    """The candidate's report, that of what serves, and what people said; right and wrong answers are rated so often.

    `right` is the share of right answers of what serves, by task; the candidate gains in the planned ones. The first is
    rated `seldom` for each rating of the others.
    """
    rng, shown = np.random.default_rng(seed), {task: Shown() for task in right}
    ours: list[CaseScore] = []
    theirs: list[CaseScore] = []
    found: dict[str, bool] = {}
    for task, share in right.items():
        more, often = gain if task in planned(right) else 0.0, seldom if task == "planned" else 1.0
        for number in range(cases):
            rated = False
            while not rated:
                ease = rng.random()
                was_right = bool(ease < share)
                same = rng.random() < SAME
                candidate = bool((ease if same else rng.random()) < share + more)
                said = rng.random() < often * (liked if was_right else disliked)
                kind = ("liked" if was_right else "disliked") if said else "unrated"
                shown[task].by_kind[kind].append(bool(rng.random() < SHOWS[was_right]))
                rated = said and (was_right or rng.random() < CORRECTED)
            loss = max(0.1, rng.normal(1, 0.2))
            theirs.append(_case(task, number, was_right, loss))
            ours.append(_case(task, number, candidate, max(0.1, loss * (1 - 0.2 * more) + rng.normal(0, 0.05))))
            found[theirs[-1].case_id] = was_right
    by_task = {task: one.answers() for task, one in shown.items()}
    reports = (Report(name, "simulated", tuple(rows), ()) for name, rows in (("v2", ours), ("v1", theirs)))
    return next(reports), next(reports), Rated(found, by_task)


def row(
    what: str,
    cycles: int,
    *,
    gain: float,
    liked: float,
    disliked: float,
    right: Mapping[str, float] = ALONE,
    seldom: float = 1.0,
) -> dict[str, object]:
    """How often each way promotes and rejects, and how far its estimate of the gain in right answers is off.

    Beside tasks that go wrong more or less often, cases are also weighed by one share of wrong answers for all.
    """
    ways = ("weighed", "one share", "plain") if len(right) > 1 else ("weighed", "plain")
    said = {way: {"promote": 0, "reject": 0} for way in ways}
    bias = dict.fromkeys(ways, 0.0)
    for number in range(cycles):
        candidate, serving, rated = world(number, gain=gain, liked=liked, disliked=disliked, right=right, seldom=seldom)
        known = {"weighed": {"v1": rated}, "one share": {"v1": Rated(rated.right, {"all": rated.answers()})}}
        for way in ways:
            verdict = decide(candidate, serving, planned_tasks=planned(right), rated=known.get(way), **SETTINGS)
            if verdict.verdict in said[way]:
                said[way][verdict.verdict] += 1
            [accuracy] = [d for d in verdict.deltas if d.role == "primary" and d.metric == "answer_accuracy"]
            bias[way] += accuracy.difference / 0.6 - gain
    shares = {f"{way}, {name}": f"{n / cycles:.1%}" for way, kinds in said.items() for name, n in kinds.items()}
    off = {f"{way}, off by points": round(100 * bias[way] / cycles, 1) for way in bias}
    return {"what": what, "cycles": cycles, **shares, **off}


def main() -> None:
    """Simulate, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1_000, help="of a row")
    parser.add_argument("--part", choices=["rated", "tasks"])
    options = parser.parse_args()
    if options.part in (None, "rated"):
        _rated(options.cycles)
    if options.part in (None, "tasks"):
        _tasks(options.cycles)


def _rated(cycles: int) -> None:
    rows = [
        row(f"{what}; {how}", cycles, gain=gain, liked=liked, disliked=disliked)
        for what, gain in (("equally good", 0.0), ("10 points better", 0.1), ("8 points worse", -0.08))
        for how, liked, disliked in (
            ALIKE,
            ("wrong answers twice as often", 0.1, 0.2),
            OFTEN,
            ("right answers three times as often", 0.3, 0.1),
        )
    ]
    show("gate_rated", rows, cases=CASES)


def _tasks(cycles: int) -> None:
    rows = [
        row(f"{what}; {which}; {how}", cycles, gain=gain, liked=liked, disliked=disliked, right=right)
        for what, gain in (("equally good", 0.0), ("10 points better", 0.1))
        for which, right in (("hard beside an easy task", HARD), ("easy beside a hard task", EASY))
        for how, liked, disliked in (ALIKE, OFTEN)
    ]
    rows += [
        row(f"{what}; both planned, the hard one rated a quarter as often", cycles, gain=gain, **BESIDE)
        for what, gain in (("equally good", 0.0), ("10 points better", 0.1))
    ]
    show("gate_rated_tasks", rows, cases=CASES)


if __name__ == "__main__":
    main()
