"""Retrieval learns from what was cited: it weighs the measures anew and tries that on other documents (pure).

It reads no log, decides nothing and keeps nothing: exchanges are handed in, `scheduler/rank.py` asks the gate, and
`store/rankings.py` keeps what was learned.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from retrieval import ranking
from retrieval.ranking import MEASURES, Floats
from store import answers
from store.errors import Invalid
from store.exchanges import Logged

PULL = 0.05
"""How strongly the weights are drawn to those in force: as by a normal prior of standard deviation 3."""
SHARPNESS = 36.0
"""What scores are multiplied by before they become shares; the fit finds its own."""
FOLDS = 5
MIN_PAIRS = 30
MOST_QUESTIONS = 2_000
"""The newest so many are learned from: each is searched for anew."""
CAPPED_FROM = 50
"""From so many people on, one person's share of the questions is capped, as in curation."""


@dataclass(frozen=True)
class Pair:
    """A question with its candidates' measures, shape (candidates, MEASURES), and which of them answered it.

    `group` is the document that answers: pairs of one document are never on both sides of a split. `say` is how much
    the pair counts when weights are fitted.
    """

    group: str
    measures: Floats
    right: npt.NDArray[np.bool_]
    say: float = 1.0


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
            total, slope = total + pair.say * value, slope + pair.say * change
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


def cutoff(best: Sequence[float], *, false_refusals: float = 0.1) -> float:
    """The score below which "nothing relevant" is the answer: it refuses this share of questions that have an answer.

    `best` holds the best score of each such question; raises Invalid for fewer than 20.
    """
    if len(best) < 20:
        raise Invalid(f"{len(best)} questions, at least 20 are needed to place a cut-off.")
    return round(float(np.quantile(np.array(best), false_refusals)), 4)


Question = tuple[str, frozenset[str]]
"""A query and the digests of the passages that answered it."""


def questions_of(logged: Iterable[Logged], *, persons: int, most: int = MOST_QUESTIONS) -> list[Question]:
    """The log's questions whose answer is known, newest first, each once; `persons` is how many people there are.

    From 50 people on, one person teaches at most max(3, 2 %) of them.
    """
    found = [(row.exchange.person_id, known) for row in logged if (known := answered_by(row)) is not None]
    once: dict[tuple[str, frozenset[str]], tuple[str, Question]] = {}
    for person, (query, digests) in reversed(found):
        once.setdefault((query.casefold(), digests), (person, (query, digests)))
    cap = max(3, len(once) // 50) if persons >= CAPPED_FROM else len(once)
    counts: Counter[str] = Counter()
    kept = []
    for person, question in once.values():
        counts[person] += 1
        if counts[person] <= cap:
            kept.append(question)
    return kept[:most]


def pairs_of(questions: Sequence[Question], measured: Callable[[str], tuple[Sequence[Any], Floats]]) -> list[Pair]:
    """Pairs from queries and the digests of the passages that answered them, which are searched for anew.

    `measured` gives candidates (with `document_id` and `digest`) and measures. A query whose passages are not among
    its candidates any more is left out.
    """
    found = []
    for query, digests in questions:
        passages, measures = measured(query)
        right = np.array([passage.digest in digests for passage in passages], dtype=np.bool_)
        if right.any():
            group = passages[int(np.argmax(right))].document_id
            found.append(Pair(group, measures, right))
    return found


def answered_by(logged: Logged) -> Question | None:
    """The query of an exchange and the digests of the passages that answered it; None where that is not known.

    They are those that the correction cites, or an answer rated up; a correction without markers was answered by the
    passage that holds most of its words. Of an answer rated down it is only known what did not help, and nothing is
    learned from an exchange that saw a flagged passage.
    """
    exchange, feedback = logged.exchange, logged.feedback
    if feedback is None or exchange.given or not exchange.trainable or not exchange.passages:
        return None
    if any(passage.get("flags") for passage in exchange.passages):
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


@dataclass(frozen=True)
class Judged:
    """A question under the learned weights and under those in force: (learned, in force).

    `first`: a right passage is ranked first. `shown`: one is among those that the bot would be shown.
    """

    group: str
    first: tuple[bool, bool]
    shown: tuple[bool, bool]


@dataclass(frozen=True)
class Learned:
    """Weights fitted on all pairs, and each question judged by weights that had not seen its document."""

    weights: dict[str, float]
    judged: list[Judged]


def learn(pairs: Sequence[Pair], *, inforce: Mapping[str, float], passages: int, min_score: float) -> Learned:
    """Fit weights, and try weights fitted on the other documents' pairs on each pair beside those in force.

    `passages` of at least `min_score` are shown to the bot. Raises Invalid for fewer than MIN_PAIRS.
    """
    if len(pairs) < MIN_PAIRS:
        raise Invalid(f"{len(pairs)} questions with a cited passage, at least {MIN_PAIRS} are needed.")
    judged = []
    for pair, weights in zip(pairs, cross_fitted(pairs, start=inforce), strict=True):
        (new, new_shown), (old, old_shown) = [_tried(pair, one, passages, min_score) for one in (weights, inforce)]
        judged.append(Judged(pair.group, (new, old), (new_shown, old_shown)))
    return Learned(fit(pairs, start=inforce), judged)


def _tried(pair: Pair, weights: Mapping[str, float], passages: int, min_score: float) -> tuple[bool, bool]:
    """Whether a right candidate comes first, and whether one is shown."""
    scores = ranking.scores(pair.measures, weights)
    order = np.argsort(-scores, kind="stable")[:passages]
    shown = pair.right[order] & (scores[order] >= min_score)
    return bool(pair.right[order[0]]), bool(shown.any())
