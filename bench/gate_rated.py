"""The gate where people rate wrong and right answers unequally often, by simulation: weighed cases against plain ones.

python -m bench.gate_rated               about seven minutes
python -m bench.gate_rated --cycles 20   fewer cycles a row, to try it

What serves answers until 200 of its answers have become cases: a liked one, or a disliked one that somebody corrected
(60 % of them). Two adapters that are equally good have the same outcome on 70 % of the questions. A sign, such as an
answer that its passages do not bear out, shows in 55 % of wrong answers and in 20 % of right ones; it is looked for in
the newest 1,000 of each kind. The peer is the same gate without weights, on the same cases.
"""

import argparse
from dataclasses import dataclass, field

import numpy as np

from bench.gate import SETTINGS
from bench.table import show
from finetune.evaluate import CaseScore, Report
from finetune.gate import decide
from finetune.rated import Rated, Signs

CASES = 200
CORRECTED = 0.6
SAME = 0.7
SHOWS = {True: 0.20, False: 0.55}
LOOKED = 1000
RIGHT = 0.70
KINDS = ("liked", "disliked", "unrated")


@dataclass
class Answers:
    """What a side answered, by what people said: whether the sign shows, newest last."""

    shown: dict[str, list[bool]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def signs(self, kind: str) -> Signs:
        found = self.shown[kind]
        return Signs(len(found), len(found[-LOOKED:]), sum(found[-LOOKED:]))


def _case(number: int, right: bool, loss: float) -> CaseScore:
    scores: dict[str, float | None] = {
        "answer_accuracy": 0.85 if right else 0.25,
        "source_attribution": 0.8 if right else 0.5,
        "decline_correct": 1.0,
        "groundedness": 0.8,
        "concision": 1.0,
        "selective_citing": 0.9,
    }
    return CaseScore(f"c{number}", "planned", f"d{number // 2}", True, "", scores, loss, 20)


def world(seed: int, *, gain: float, liked: float, disliked: float, cases: int = CASES) -> tuple[Report, Report, Rated]:
    """The candidate's report, that of what serves, and what people said; right and wrong answers are rated so often."""
    rng, answers = np.random.default_rng(seed), Answers()
    ours: list[CaseScore] = []
    theirs: list[CaseScore] = []
    found: dict[str, bool] = {}
    while len(theirs) < cases:
        ease = rng.random()
        right = bool(ease < RIGHT)
        same = rng.random() < SAME
        candidate = bool((ease if same else rng.random()) < RIGHT + gain)
        rated = rng.random() < (liked if right else disliked)
        kind = ("liked" if right else "disliked") if rated else "unrated"
        answers.shown[kind].append(bool(rng.random() < SHOWS[right]))
        if rated and (right or rng.random() < CORRECTED):
            loss = max(0.1, rng.normal(1, 0.2))
            theirs.append(_case(len(theirs), right, loss))
            ours.append(_case(len(ours), candidate, max(0.1, loss * (1 - 0.2 * gain) + rng.normal(0, 0.05))))
            found[theirs[-1].case_id] = right
    rated_ = Rated(found, *(answers.signs(kind) for kind in KINDS))
    return Report("v2", "simulated", tuple(ours), ()), Report("v1", "simulated", tuple(theirs), ()), rated_


def row(what: str, cycles: int, *, gain: float, liked: float, disliked: float) -> dict[str, object]:
    """How often each way promotes and rejects, and how far its estimate of the gain in right answers is off."""
    said = {"weighed": {"promote": 0, "reject": 0}, "plain": {"promote": 0, "reject": 0}}
    bias = {"weighed": 0.0, "plain": 0.0}
    for number in range(cycles):
        candidate, serving, rated = world(number, gain=gain, liked=liked, disliked=disliked)
        for way, known in (("weighed", {"v1": rated}), ("plain", None)):
            verdict = decide(candidate, serving, planned_tasks=["planned"], rated=known, **SETTINGS)
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
    cycles = parser.parse_args().cycles
    rows = [
        row(f"{what}; {how}", cycles, gain=gain, liked=liked, disliked=disliked)
        for what, gain in (("equally good", 0.0), ("10 points better", 0.1), ("8 points worse", -0.08))
        for how, liked, disliked in (
            ("all rated alike", 0.2, 0.2),
            ("wrong answers twice as often", 0.1, 0.2),
            ("wrong answers four times as often", 0.1, 0.4),
            ("right answers three times as often", 0.3, 0.1),
        )
    ]
    show("gate_rated", rows, cases=CASES)


if __name__ == "__main__":
    main()
