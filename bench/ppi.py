"""What 200 labels by people are worth beside the judge: EVOUNA's answers of five systems, all judged by people.

python -m bench.ppi                1,000 resamples of each pair of systems; about two minutes

Each resample takes 200 questions at random as labelled; the rest have the judge's scores only (fitted on other
questions, in five folds). The truth is the difference that people found over all questions. Coverage is the share of
95 % intervals that hold it; the sign counts for pairs that people put at least 5 points apart.
"""

import argparse
from typing import Any

import numpy as np

from bench import judge_fit, judge_sets
from bench.judge_stats import cut, folds, scores
from bench.retrieval_sets import DATA
from bench.table import show
from finetune.ppi import ppi_mean

LABELS = 200
APART = 0.05


def judged() -> dict[str, dict[str, tuple[float, float]]]:
    """For each question and system, what people and the judge say, 0 or 1 and a probability."""
    rows = judge_sets.systems()
    values, labels = judge_fit.accuracy_rows(rows), np.array([float(row.yes) for row in rows])
    parts = folds([row.question for row in rows], 5)
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for part in range(5):
        card = judge_fit.accuracy_card(values[parts != part], labels[parts != part])
        least = cut(labels[parts != part], scores(card, values[parts != part]))
        for at in np.flatnonzero(parts == part):
            odds = card.log_odds(values[at]) - least
            row = rows[int(at)]
            found.setdefault(row.question, {})[row.system] = (labels[at], float(1 / (1 + np.exp(-odds))))
    return found


def main() -> None:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.ppi", description=__doc__)
    parser.add_argument("--resamples", type=int, default=1_000)
    options = parser.parse_args()
    if not (DATA / "evouna").exists():
        print(f"{DATA} holds no evouna: nothing to compare with.")
        return
    found, table = judged(), []
    for i, one in enumerate(judge_sets.SYSTEMS):
        for other in judge_sets.SYSTEMS[i + 1 :]:
            table.append(_pair(found, one, other, options.resamples))
    show("ppi", table, labels=LABELS, resamples=options.resamples)


def _pair(found: dict[str, Any], one: str, other: str, resamples: int) -> dict[str, Any]:
    both = [row for row in found.values() if one in row and other in row]
    people = np.array([row[one][0] - row[other][0] for row in both])
    judge = np.array([row[one][1] - row[other][1] for row in both])
    rng, truth = np.random.default_rng(3), float(people.mean())
    covered, right, certain_wrong, worth, plain = 0, 0, 0, [], 0
    for _ in range(resamples):
        order = rng.permutation(len(both))
        at, rest = order[:LABELS], order[LABELS:]
        said = ppi_mean(people[at], judge[at], judge[rest])
        covered += said.low <= truth <= said.high
        right += (said.mean > 0) == (truth > 0)
        certain_wrong += (said.low > 0 > truth) or (said.high < 0 < truth)
        worth.append(said.worth / LABELS)
        half = 1.96 * judge.std(ddof=1) / np.sqrt(len(both))
        plain += abs(judge.mean() - truth) <= half
    return {
        "pair": f"{one}, {other}",
        "n": len(both),
        "people": f"{truth:+.3f}",
        "judge alone": f"{judge.mean():+.3f}",
        "judge alone holds the truth": bool(plain),
        "coverage": f"{covered / resamples:.3f}",
        "right sign": f"{right / resamples:.3f}" if abs(truth) >= APART else "under 5 points",
        "surely wrong sign": f"{certain_wrong / resamples:.3f}",
        "worth of a label": f"{np.mean(worth):.2f}",
    }


if __name__ == "__main__":
    main()
