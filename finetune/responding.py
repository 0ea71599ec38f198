"""Does an answer speak to its question, by the passages it rests on: signals against copying, echoing, padding (pure).

It asks where in the passages each sentence of the answer comes from, and how well that place fits the question. It does
not ask whether the answer is true; that is the judge's support.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from finetune import scorecard
from finetune.gaming import verbatim_share
from finetune.judge import Judge, names, parsed, supported_answer
from finetune.wording import claims, content_words, numbers, share_found, words
from store.answers import declined, without_citations

DIRECTIONS = {
    "fit": 1,
    "mean_fit": 1,
    "stray_copy": -1,
    "nothing_new": -1,
    "echoed": -1,
    "wrong_kind": -1,
}
"""Every signal, and whether more of it may only raise (1) or only lower (-1) how well an answer responds."""
STRAY = 0.6
"""A copied sentence whose place fits the question less than this share of the best place's fit is stray."""
_DIGITS = re.compile(r"\d+")
_KINDS = (
    (
        re.compile(r"\b(?:when|what year|which year|what date|how (?:many|much|long|old|far|tall|large|high|often))\b"),
        "number",
    ),
    (
        re.compile(r"\b(?:who|whom|whose|where|which (?:country|city|person|team)|what (?:country|city|person))\b"),
        "name",
    ),
)


@lru_cache(maxsize=4_096)
def _rarity(passages: tuple[str, ...]) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], dict[str, float]]:
    """The sentences of the passages, and for each stem how rare it is among them: log((N + 1) / (n + 1/2))."""
    told = tuple(sentence for passage in passages for sentence in parsed(passage))
    counts = Counter(word for _, part in told for word in set(part))
    return told, {word: math.log((len(told) + 1) / (count + 0.5)) for word, count in counts.items()}


def _fits(question: str, passages: tuple[str, ...]) -> list[float]:
    """For each sentence of the passages, the share of the question's words it has, rare ones counting more.

    The sentence before it counts a third: what "it" stands for is often there.
    """
    told, rarity = _rarity(passages)
    weights = {word: max(0.1, rarity.get(word, 0.0)) for word in content_words(question) if word in rarity}
    total = sum(weights.values())
    own = [sum(weights.get(word, 0.0) for word in set(part)) / total if total else 0.0 for _, part in told]
    return [fit + (own[i - 1] / 3 if i else 0.0) for i, fit in enumerate(own)]


def _kind_missing(question: str, answer: str) -> float:
    """1 when the question asks for a number or a name and the answer has none."""
    asked = question.lower()
    for pattern, kind in _KINDS:
        if pattern.search(asked):
            found = numbers(answer) if kind == "number" else set(names(f"The {answer}"))
            new = {str(one).lower() for one in found} - set(words(question))
            return float(not new)
    return 0.0


def responding_signals(question: str, answer: str, passages: Sequence[str]) -> tuple[float, ...]:
    """The signals of an answer, in order of DIRECTIONS; all 0 for an empty answer or without passages."""
    bare = without_citations(answer)
    said = [part for part in claims(bare) if content_words(part)]
    told, _ = _rarity(tuple(passages))
    if not said or not told:
        return (0.0,) * len(DIRECTIONS)
    fits = _fits(question, tuple(passages))
    best = max(fits) or 1.0
    places = [_place(content_words(part), told, fits) / best for part in said]
    sizes = [len(words(part)) for part in said]
    copies = [verbatim_share(part, passages) for part in said]
    stray = sum(n * copy for n, copy, fit in zip(sizes, copies, places, strict=True) if fit < STRAY) / sum(sizes)
    asked, answered = set(content_words(question)), content_words(bare)
    found = {
        "fit": max(places),
        "mean_fit": sum(n * fit for n, fit in zip(sizes, places, strict=True)) / sum(sizes),
        "stray_copy": stray,
        "nothing_new": float(not set(answered) - asked),
        "echoed": max(0.0, 2 * sum(word in asked for word in answered) / len(answered) - 1),
        "wrong_kind": _kind_missing(question, bare),
    }
    return tuple(found[name] for name in DIRECTIONS)


def _place(part: Sequence[str], told: Sequence[tuple[str, tuple[str, ...]]], fits: Sequence[float]) -> float:
    """How well the place that a sentence rests on fits the question, less where it only half rests on it."""
    shares = [share_found(part, other) for _, other in told]
    top = max(shares)
    return top * max(fit for share, fit in zip(shares, fits, strict=True) if share >= top - 1e-9)


def responds(question: str, answer: str, passages: Sequence[str]) -> float:
    """How well an answer speaks to the question, in [0, 1]; declining, and saying nothing, is 0.

    A sentence copied from the place that fits the question best is as good as one's own words; copied from elsewhere it
    is not.
    """
    if declined(answer) or not passages or not content_words(without_citations(answer)):
        return 0.0
    card = scorecard.shipped("responds", tuple(DIRECTIONS))
    return card.probability(responding_signals(question, answer, passages))


def own_share(answer: str, passages: Sequence[str]) -> float:
    """1 for an answer in its own words, 0.02 for one that is copied and more than a phrase.

    It falls from 85 % copied words on. Copying up to 8 words, a phrase, costs nothing; from 16 words on it costs all.
    Other numbers do not make copied words one's own.
    """
    said, *sources = (_DIGITS.sub("0", without_citations(text)) for text in (answer, *passages))
    long = min(1.0, max(0.0, (len(words(said)) - 8) / 8))
    copied = max(0.0, verbatim_share(said, sources, size=6) - 0.85) / 0.15
    return 1.0 - 0.98 * copied * long


def answer_quality(question: str, answer: str, passages: Sequence[str], judge: Judge) -> float:
    """An answer as a whole without a reference: supported, to the question, and not mere copying; in [0, 1].

    The product of `supported_answer`, `responds` and `own_share`. What the perturbation suite compares.
    """
    return (
        supported_answer(answer, passages, judge) * responds(question, answer, passages) * own_share(answer, passages)
    )
