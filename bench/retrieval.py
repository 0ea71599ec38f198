"""How often the right passage comes first, on other people's questions; peers: dense, BM25, RRF and min-max blends.

python -m bench.retrieval                     both sets, and the latency at 20,000 passages
python -m bench.retrieval --choose            the default weights, as `retrieval.ranking` has them
python -m bench.retrieval --large 100000      latency and memory at so many passages alone

The documents of a set are split by the hash of their names. The default weights are fitted to the questions of two
fifths of them (folds 0 and 1); everything in the table is measured on the other three fifths, while the passages of all
documents are searched. The data sets lie beside the checkout (`RATCHET_BENCH_DATA`, default ../shared/data); one that
is absent is left out.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.retrieval_sets import Encoded, encoded, feedbackqa, squad
from bench.table import show
from bot.models import PACKAGED_EMBEDDING, embedding_model
from retrieval import learning, ranking
from retrieval.embedding import Embedder
from retrieval.index import CANDIDATES, RANKED
from retrieval.learning import Pair
from retrieval.words import Words

CHOOSING = (0, 1)
"""The folds of documents whose questions the default weights are fitted to; the others test."""
DENSE_WEIGHT = 0.6
FALSE_REFUSALS = 0.1
DRAWS = 2_000
Ranks = npt.NDArray[np.float64]
Floats = ranking.Floats


@dataclass(frozen=True)
class Measured:
    """For each question of a set the rank of the right passage by each simple search, and the candidates' measures.

    `testing` says which questions are of documents that test.
    """

    ranks: dict[str, Ranks]
    pairs: list[Pair]
    testing: npt.NDArray[np.bool_]


def spread(scores: Floats) -> Floats:
    """Scores from their minimum, 0, to their maximum, 1."""
    low, high = scores.min(), scores.max()
    even: Floats = (scores - low) / max(float(high - low), 1e-9)
    return even


def place(scores: Floats, gold: int) -> float:
    """The rank of the right passage; of equal scores the earlier passage comes first."""
    return 1.0 + float((scores > scores[gold]).sum()) + float((scores[:gold] == scores[gold]).sum())


def simple(dense: Floats, words: Floats) -> dict[str, Floats]:
    """The peers' scores of all passages for one question."""
    ranks = [np.argsort(np.argsort(-one, kind="stable"), kind="stable") + 1 for one in (dense, words)]
    return {
        "dense": dense,
        "BM25": words,
        "RRF, k = 60": (1 / (60 + ranks[0]) + 1 / (60 + ranks[1])).astype(np.float32),
        "min-max blend 0.5": 0.5 * spread(dense) + 0.5 * spread(words),
        "min-max blend 0.7": 0.7 * spread(dense) + 0.3 * spread(words),
    }


class Searcher:
    """The product's candidates and measures over a set that is held in memory."""

    def __init__(self, data: Encoded) -> None:
        self._data = data
        titles, texts = data.titles, data.texts
        self._words = Words([f"{title}\n{text}" for title, text in zip(titles, texts, strict=True)])
        self._titles = Words(titles)

    def simple(self, question: str, vector: Floats) -> tuple[Floats, Floats]:
        """Cosine and BM25 of all passages."""
        return self._data.vectors @ vector, self._words.scores(question)

    def measured(
        self, question: str, vector: Floats, dense: Floats, words: Floats
    ) -> tuple[npt.NDArray[np.intp], Floats]:
        """The candidates and their measures, as `retrieval.index` makes them."""
        near = np.argsort(-dense, kind="stable")[:CANDIDATES]
        among = np.union1d(near, np.argsort(-words, kind="stable")[:CANDIDATES])
        first = DENSE_WEIGHT * np.clip(dense[among], 0, 1) + (1 - DENSE_WEIGHT) * words[among]
        best = among[np.argsort(-first, kind="stable")[:RANKED]]
        asked, headings = ranking.asked(question, self._words.weight), self._titles.scores(question)
        rows = [
            ranking.measures(
                asked,
                vector,
                self._data.titles[i],
                self._data.texts[i],
                ranking.Known(max(float(dense[i]), 0), float(words[i]), float(headings[i]), self._data.parts[i]),
            )
            for i in best
        ]
        return best, np.array(rows, dtype=np.float32)


def measured(data: Encoded) -> Measured:
    """What each way of searching makes of every question that has an answer."""
    searcher = Searcher(data)
    ranks: dict[str, list[float]] = {}
    pairs = []
    for question, vector, gold in zip(data.questions, data.asked, data.gold, strict=True):
        dense, words = searcher.simple(question, vector)
        for name, scores in simple(dense, words).items():
            ranks.setdefault(name, []).append(place(scores, gold))
        rows, measures = searcher.measured(question, vector, dense, words)
        pairs.append(Pair(data.groups[gold], measures, rows == gold))
    folds = learning.folds_of([pair.group for pair in pairs])
    return Measured({name: np.array(values) for name, values in ranks.items()}, pairs, ~np.isin(folds, CHOOSING))


def tested(found: Measured) -> dict[str, Ranks]:
    """The ranks of the testing questions by every search; learned weights come from all other folds of documents."""
    learned = learning.cross_fitted(found.pairs)
    ranks = found.ranks | {
        "ours": np.array([place_among(pair, ranking.DEFAULT) for pair in found.pairs]),
        "ours, learned": np.array([place_among(p, w) for p, w in zip(found.pairs, learned, strict=True)]),
    }
    return {name: values[found.testing] for name, values in ranks.items()}


def chosen(sets: Sequence[Measured]) -> dict[str, float]:
    """Weights fitted to the choosing questions of all sets, which have equal say; in hundredths that sum to one."""
    pairs = []
    for found in sets:
        mine = [pair for pair, testing in zip(found.pairs, found.testing, strict=True) if not testing]
        pairs += [replace(pair, say=1000 / len(mine)) for pair in mine]
    even = dict.fromkeys(ranking.MEASURES, 1 / len(ranking.MEASURES))
    fitted = learning.fit(pairs, start=even, pull=0)
    hundredths = {name: int(100 * share) for name, share in fitted.items()}
    nearest = sorted(fitted, key=lambda name: hundredths[name] - 100 * fitted[name])
    for name in nearest[: 100 - sum(hundredths.values())]:
        hundredths[name] += 1
    return {name: count / 100 for name, count in hundredths.items()}


def place_among(pair: Pair, weights: Mapping[str, float]) -> float:
    """The rank of the right candidate; infinite where the right passage is none of the candidates."""
    scores = ranking.scores(pair.measures, weights)
    return place(scores, int(np.argmax(pair.right))) if pair.right.any() else np.inf


def reduction(ours: Ranks, peer: Ranks, groups: list[str]) -> tuple[float, float, float]:
    """By what share our error (1 - R@1) is below the peer's, with a 95 % bootstrap interval over documents."""
    names, at = np.unique(np.array(groups), return_inverse=True)
    wrong = [np.bincount(at, weights=(ranks > 1).astype(float), minlength=len(names)) for ranks in (ours, peer)]
    draws = np.random.default_rng(17).integers(0, len(names), (DRAWS, len(names)))
    drawn = 1 - wrong[0][draws].sum(axis=1) / wrong[1][draws].sum(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(1 - wrong[0].sum() / wrong[1].sum()), float(low), float(high)


def rows_of(data: Encoded, found: Measured) -> tuple[list[dict[str, Any]], str]:
    """The table of a set, and by what share learning lowers the error of our default weights."""
    groups = [pair.group for pair, testing in zip(found.pairs, found.testing, strict=True) if testing]
    every = tested(found)
    best = max(found.ranks, key=lambda name: float((every[name] == 1).mean()))
    rows = []
    for name, ranks in every.items():
        rows.append(
            {
                "set": data.name,
                "search": name + (" (best simple)" if name == best else ""),
                "R@1": f"{(ranks == 1).mean():.3f}",
                "R@5": f"{(ranks <= 5).mean():.3f}",
                "MRR@10": f"{np.where(ranks <= 10, 1 / ranks, 0).mean():.3f}",
                "n": len(ranks),
                "documents": len(set(groups)),
                "less error": _less(ranks, every[best], groups),
            }
        )
    return rows, _less(every["ours, learned"], every["ours"], groups)


def _less(ours: Ranks, peer: Ranks, groups: list[str]) -> str:
    less, low, high = reduction(ours, peer, groups)
    return f"{less:.3f} ({low:.3f} to {high:.3f})"


def recognised(data: Encoded, found: Measured) -> dict[str, float]:
    """The share of questions without an answer that a cut-off refuses which refuses 10 % of those with one.

    All are of testing documents, and the cut-off comes from every other one of them, so both shares are of unseen ones.
    """
    searcher = Searcher(data)
    pairs = [pair for pair, testing in zip(found.pairs, found.testing, strict=True) if testing]
    folds = learning.folds_of([pair.group for pair in pairs], 2)
    best = np.array([float(ranking.scores(pair.measures, ranking.DEFAULT).max()) for pair in pairs])
    cuts = [learning.cutoff(best[folds != fold].tolist(), false_refusals=FALSE_REFUSALS) for fold in (0, 1)]
    refused = []
    for question, vector, gold in zip(data.unanswerable, data.unasked, data.unanswerable_of, strict=True):
        if learning.folds_of([data.groups[gold]])[0] in CHOOSING:
            continue
        _, measures = searcher.measured(question, vector, *searcher.simple(question, vector))
        fold = int(learning.folds_of([data.groups[gold]], 2)[0])
        refused.append(float(ranking.scores(measures, ranking.DEFAULT).max()) < cuts[fold])
    wrong = [score < cuts[fold] for score, fold in zip(best, folds, strict=True)]
    return {
        "cut_off": round(float(np.mean(cuts)), 3),
        "false_refusals": round(float(np.mean(wrong)), 3),
        "unanswerable_recognised": round(float(np.mean(refused)), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=0, help="latency and memory at so many passages alone")
    parser.add_argument("--choose", action="store_true", help="print the default weights and nothing else")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if options.large:
        from bench.retrieval_large import main as large

        large(options.large)
        return
    sets = list(loaded())
    if options.choose:
        print(chosen([found for _, found in sets]))
        return
    report(sets)
    alone = [sys.executable, "-m", "bench.retrieval", "--large", "20000"]
    subprocess.run(alone, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def loaded() -> Iterator[tuple[Encoded, Measured]]:
    """The sets that are there, measured."""
    embedder = Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING)
    for name, load in (("SQuAD 2.0", squad), ("FeedbackQA", feedbackqa)):
        raw = load(name)
        if raw is None:
            print(f"{name} is left out: its files are not there.")
            continue
        data = encoded(raw, embedder)
        yield data, measured(data)


def report(sets: Sequence[tuple[Encoded, Measured]]) -> None:
    """Print and keep the table."""
    rows: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    for data, found in sets:
        more, pays = rows_of(data, found)
        rows.extend(more)
        facts[f"{data.name}: learned, less error than ours"] = pays
        facts[f"{data.name}: learned from all documents"] = learning.fit(found.pairs)
        if data.unanswerable:
            facts[f"{data.name}: cut-off"] = recognised(data, found)
    if rows:
        show("retrieval", rows, **facts)


if __name__ == "__main__":
    main()
