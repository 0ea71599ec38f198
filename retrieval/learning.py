"""Retrieval learns from what was cited: it weighs the measures anew and proves it on other documents (pure).

It reads no log and keeps nothing: exchanges are handed in, `retrieval.versions` keeps what was learned.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from retrieval import ranking
from retrieval.ranking import MEASURES, Floats
from retrieval.versions import Version
from store import answers
from store.errors import Invalid
from store.exchanges import Logged

PULL = 0.05
"""How strongly the weights are drawn to those in force: as by a normal prior of standard deviation 3."""
SHARPNESS = 36.0
"""What scores are multiplied by before they become shares; the fit finds its own."""
FOLDS = 5
DRAWS = 2_000
MIN_PAIRS = 30


@dataclass(frozen=True)
class Pair:
    """A question with its candidates' measures, shape (candidates, MEASURES), and which of them answered it.

    `group` is the document that answers: pairs of one document are never on both sides of a split.
    """

    group: str
    measures: Floats
    right: npt.NDArray[np.bool_]


def fit(pairs: Sequence[Pair], *, start: Mapping[str, float] = ranking.DEFAULT, pull: float = PULL) -> dict[str, float]:
    """Weights that are no less than 0 and sum to 1, and make the right candidates likely.

    They minimise the conditional logit loss (McFadden 1974), -log of the share that the right candidates have of the
    sum of exp(sharpness x score) over all, plus `pull` / pairs x squared distance from `start`. Pairs without a right
    or a wrong candidate teach nothing; raises Invalid when none is left.
    """
    useful = [pair for pair in pairs if pair.right.any() and not pair.right.all()]
    if not useful:
        raise Invalid("no question has both a right and a wrong candidate.", "Collect more rated answers.")
    origin = np.array([start[name] for name in MEASURES]) * SHARPNESS

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        total, slope = 0.0, np.zeros(len(MEASURES))
        for pair in useful:
            value, change = _pair_loss(pair, weights)
            total, slope = total + value, slope + change
        away = weights - origin
        return (total + pull * float(away @ away)) / len(useful), (slope + 2 * pull * away) / len(useful)

    found = minimize(loss, origin, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(MEASURES)).x
    shares = found / max(float(found.sum()), 1e-9)
    return {name: round(float(share), 4) for name, share in zip(MEASURES, shares, strict=True)}


def _pair_loss(pair: Pair, weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
    """The loss of a pair and its gradient."""
    scores = pair.measures @ weights
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    right = float(shares[pair.right].sum()) + 1e-12
    mean_right = (shares[pair.right] @ pair.measures[pair.right]) / right
    return -float(np.log(right)), shares @ pair.measures - mean_right


def first_is_right(pairs: Sequence[Pair], weights: Mapping[str, float]) -> npt.NDArray[np.bool_]:
    """For each pair whether the best candidate is a right one; false where none is among the candidates."""
    return np.array([bool(p.right[int(np.argmax(ranking.scores(p.measures, weights)))]) for p in pairs], dtype=np.bool_)


def folds_of(groups: Sequence[str], folds: int = FOLDS) -> npt.NDArray[np.intp]:
    """The fold of each group by the hash of its name, so that it never changes."""
    digests = [int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) for group in groups]
    return np.array([digest % folds for digest in digests], dtype=np.intp)


def cross_fitted(
    pairs: Sequence[Pair], *, start: Mapping[str, float] = ranking.DEFAULT, folds: int = FOLDS
) -> list[dict[str, float]]:
    """For each pair the weights fitted on the documents of the other folds; `start` where those teach nothing."""
    fold = folds_of([pair.group for pair in pairs], folds)
    fitted: dict[int, dict[str, float]] = {}
    for one in set(fold.tolist()):
        others = [pair for pair, other in zip(pairs, fold, strict=True) if other != one]
        useful = any(pair.right.any() and not pair.right.all() for pair in others)
        fitted[one] = fit(others, start=start) if useful else dict(start)
    return [fitted[int(one)] for one in fold]


def gain(
    new: npt.NDArray[np.bool_], old: npt.NDArray[np.bool_], groups: Sequence[str], *, seed: int = 17
) -> tuple[float, float, float]:
    """How much more often the new ranking is right, with a 95 % interval: paired bootstrap over groups."""
    names, at = np.unique(np.array(groups), return_inverse=True)
    difference = np.bincount(at, weights=new.astype(float) - old.astype(float), minlength=len(names))
    size = np.bincount(at, minlength=len(names)).astype(float)
    draws = np.random.default_rng(seed).integers(0, len(names), (DRAWS, len(names)))
    drawn = difference[draws].sum(axis=1) / size[draws].sum(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(difference.sum() / size.sum()), float(low), float(high)


def cutoff(best: Sequence[float], *, false_refusals: float = 0.1) -> float:
    """The score below which "nothing relevant" is the answer: it refuses this share of questions that have an answer.

    `best` holds the best score of each such question; raises Invalid for fewer than 20.
    """
    if len(best) < 20:
        raise Invalid(f"{len(best)} questions, at least 20 are needed to place a cut-off.")
    return round(float(np.quantile(np.array(best), false_refusals)), 4)


def pairs_of(
    logged: Sequence[tuple[str, frozenset[str]]], measured: Callable[[str], tuple[Sequence[Any], Floats]]
) -> list[Pair]:
    """Pairs from queries and the digests of the passages that answered them, which are searched for anew.

    `measured` gives candidates (with `document_id` and `digest`) and measures. A query whose passages are not among
    its candidates any more is left out.
    """
    found = []
    for query, digests in logged:
        passages, measures = measured(query)
        right = np.array([passage.digest in digests for passage in passages], dtype=np.bool_)
        if right.any():
            group = passages[int(np.argmax(right))].document_id
            found.append(Pair(group, measures, right))
    return found


def answered_by(logged: Logged) -> tuple[str, frozenset[str]] | None:
    """The query of an exchange and the digests of the passages that answered it; None where that is not known.

    They are those that the correction cites, or an answer rated up; a correction without markers was answered by the
    passage that holds most of its words. Of an answer rated down it is only known what did not help.
    """
    exchange, feedback = logged.exchange, logged.feedback
    if feedback is None or exchange.given or not exchange.trainable or not exchange.passages:
        return None
    text = feedback.correction or (exchange.answer if feedback.rating == "up" and not exchange.declined else "")
    if not text or answers.declined(text):
        return None
    numbers = set(answers.cited_numbers(text))
    digests = {passage["digest"] for passage in exchange.passages if passage["n"] in numbers and "digest" in passage}
    if not digests and feedback.correction:
        digests = _nearest(text, exchange.passages)
    return (exchange.search_query or exchange.question, frozenset(digests)) if digests else None


def _nearest(text: str, passages: Sequence[Mapping[str, Any]]) -> set[str]:
    """The digest of the passage that holds most of a text's words, when it holds at least half."""
    wanted = ranking.asked(text, lambda stem: 1.0)
    shares = [ranking.overlap(wanted, passage["title"], passage["text"])[0] for passage in passages]
    best = int(np.argmax(shares))
    return {passages[best]["digest"]} if shares[best] >= 0.5 and "digest" in passages[best] else set()


def learn(pairs: Sequence[Pair], *, inforce: Mapping[str, float], now: datetime) -> Version:
    """Fit weights and judge them against those in force, on documents that the judged weights have not seen.

    The verdict is `promote` when R@1 gains with its interval above zero, else `keep`. Raises Invalid for too few pairs.
    """
    if len(pairs) < MIN_PAIRS:
        raise Invalid(f"{len(pairs)} questions with a cited passage, at least {MIN_PAIRS} are needed.")
    groups = [pair.group for pair in pairs]
    others = cross_fitted(pairs, start=inforce)
    new = np.array([first_is_right([pair], one)[0] for pair, one in zip(pairs, others, strict=True)])
    old = first_is_right(pairs, inforce)
    mean, low, high = gain(new, old, groups)
    metrics = {
        "questions": len(pairs),
        "documents": len(set(groups)),
        "r1_in_force": round(float(old.mean()), 4),
        "r1_learned": round(float(new.mean()), 4),
        "gain": [round(value, 4) for value in (mean, low, high)],
        "verdict": "promote" if low > 0 else "keep",
    }
    weights = fit(pairs, start=inforce)
    content = json.dumps([weights, metrics], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Version(f"rank_{digest[:8]}", "candidate", weights, metrics, now.isoformat(), digest)
