"""A question and a passage -> cheap signals of whether the passage is about it, and enough to answer it (pure).

A passage about the right thing need not hold the answer: a name, a number or a word that turns the question into
another one is often missing there. What the signals are worth is the business of `finetune/scorecard.py`.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from finetune.judge import best_window, names_missed, parsed
from finetune.meaning import Meaning
from finetune.scorecard import Floats
from finetune.signals import close_together, in_order
from finetune.wording import content_words, denies, numbers, share_found, words

DIRECTIONS = {
    "share": 1,
    "saturated": 1,
    "rare_share": 1,
    "one_sentence": 1,
    "close": 1,
    "order": 1,
    "pairs": 1,
    "beginnings": 1,
    "in_title": 1,
    "kind_near": 1,
    "names_missed": -1,
    "numbers_missed": -1,
    "denial_differs": -1,
    "asked_words": 0,
    "passage_words": 0,
}
"""Every signal, and whether more of it may only raise (1), only lower (-1), or either (0), how well a passage fits."""
MEANING = {"window_meaning": 1, "passage_meaning": 1, "weakest_met": 1}
"""The signals that an embedding adds."""
READ = {"read": 1}
"""The signal that a language model's state adds (`bot/reading.py`)."""
PROBE = Path(__file__).parent / "enough_probe.json"
_ASKING = frozenset(
    ["what", "which", "who", "whom", "whose", "when", "where", "why", "how", "much", "many", "name", "kind"]
)
_NUMBER = re.compile(
    r"\b(?:when|what year|which year|what date|how (?:many|much|long|old|far|tall|large|high|often))\b"
)
_NAME = re.compile(r"\b(?:who|whom|whose|where)\b")


def _asked(question: str) -> list[str]:
    """The stems of a question that its answer must be about, without the words that only ask."""
    found = [word for word in content_words(question) if word not in _ASKING]
    return found or list(content_words(question))


def _rare_share(wanted: Sequence[str], sentences: Sequence[Sequence[str]]) -> float:
    """The best sentence's share of the wanted words, those in few sentences counting more, missing ones the most."""
    counts = Counter(word for sentence in sentences for word in set(sentence))
    weights = {word: math.log((len(sentences) + 1) / (counts[word] + 0.5)) + 0.2 for word in set(wanted)}
    total = sum(weights.values())
    best = max((sum(weights[w] for w in set(s) & set(wanted)) for s in sentences), default=0.0)
    return best / total if total else 0.0


def _kind_near(question: str, sentences: Sequence[tuple[str, Sequence[str]]], wanted: Sequence[str]) -> float:
    """The best share of the wanted words in a sentence that has what is asked for: a number, or a new name."""
    asked = question.lower()
    pattern = re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten)\b")
    if not _NUMBER.search(asked):
        if not _NAME.search(asked):
            return max((share_found(wanted, part) for _, part in sentences), default=0.0)
        pattern = re.compile(r"(?<!^)(?<![.!?] )\b[A-Z][a-z]+")
    given = set(words(question))
    fit = [(said, part) for said, part in sentences if any(m.lower() not in given for m in pattern.findall(said))]
    return max((share_found(wanted, part) for _, part in fit), default=0.0)


@lru_cache(maxsize=32_768)
def enough_signals(question: str, passage: str) -> tuple[float, ...]:
    """The signals of a passage for a question, in order of DIRECTIONS; all 0 when either has no words.

    The first line of a passage counts as its title where more lines follow.
    """
    wanted, known = _asked(question), content_words(passage)
    if not wanted or not known:
        return (0.0,) * len(DIRECTIONS)
    told = parsed(passage)
    title = passage.split("\n", 1)[0] if "\n" in passage else ""
    windows = [[*a, *b] for (_, a), (_, b) in pairwise(told)] or [list(part) for _, part in told]
    best = max(told, key=lambda one: share_found(wanted, one[1]))
    counts, heads, asked = Counter(known), {word[:4] for word in known}, numbers(question)
    found = {
        "share": share_found(wanted, known),
        "saturated": sum(counts[w] / (counts[w] + 0.5) for w in set(wanted)) / len(set(wanted)),
        "rare_share": _rare_share(wanted, windows),
        "one_sentence": share_found(wanted, best[1]),
        "close": close_together(wanted, known),
        "order": max(in_order(wanted, window) for window in windows) / len(wanted),
        "pairs": share_found([" ".join(p) for p in pairwise(wanted)], [" ".join(p) for p in pairwise(known)]),
        "beginnings": sum(word[:4] in heads for word in set(wanted)) / len(set(wanted)),
        "in_title": share_found(wanted, content_words(title)) if title else 0.0,
        "kind_near": _kind_near(question, told, wanted),
        "names_missed": names_missed(question, passage),
        "numbers_missed": len(asked - numbers(passage)) / len(asked) if asked else 0.0,
        "denial_differs": float(denies(question) != denies(best[0])),
        "asked_words": min(1.0, len(wanted) / 12),
        "passage_words": min(1.0, math.log1p(len(known)) / math.log1p(400)),
    }
    return tuple(found[name] for name in DIRECTIONS)


def meant_signals(question: str, passage: str, meaning: Meaning) -> tuple[float, ...]:
    """`enough_signals` and, in order of MEANING, how alike the question and the passage's best sentences are.

    Then question and whole passage, and how far the passage meets the question's words that it meets least.
    """
    best, _ = best_window(_asked(question), passage, longest=2)
    window = " ".join(said for said, _ in best)
    if not window:
        return (*enough_signals(question, passage), *(0.0 for _ in MEANING))
    alike = (meaning.alike(question, [window]), meaning.alike(question, [passage]))
    return (*enough_signals(question, passage), *alike, meaning.aligned(question, passage).weakest)


@dataclass(frozen=True)
class Probe:
    """Weights of a state and a bias: the log-odds that the passage holds the answer."""

    weights: Floats
    bias: float

    def probability(self, states: Floats) -> Floats:
        """Of each state of shape (pairs, width), in (0, 1)."""
        found: Floats = 1 / (1 + np.exp(-np.clip(states @ self.weights + self.bias, -30, 30)))
        return found


@cache
def shipped_probe() -> Probe:
    """The probe of the file beside this module, which `python -m bench.judge --fit` wrote, read once."""
    content = json.loads(PROBE.read_text())
    return Probe(np.array(content["weights"]), float(content["bias"]))
