"""Honest answers made worse in ways that a person sees at once: what any judge must notice before it may count (pure).

It knows texts and a `score(question, answer, passages)` callable, not who judges. What cannot be done to a text (no
number to change, no name to swap) gives None and is left out of the count.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from finetune.judge import names, parsed
from finetune.wording import claims, content_words, numbers, share_found
from store.answers import without_citations

Score = Callable[[str, str, Sequence[str]], float]
COPIED = 2
"""As many sentences of the context are copied."""
_VERB = re.compile(
    r"\b(?:is|are|was|were|can|could|may|might|must|shall|should|will|would|has|have|had|does|do|did)\b(?! not\b)",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"(?<![\w\[.,-])\d+(?![\w\]]|[.,]\d)")
_NUMBERING = re.compile(r"(?:^|[.!?:]\s)\s*(\d{1,3})[.)]\s", re.MULTILINE)


@dataclass(frozen=True)
class Honest:
    """An answer that a person gave or approved, with its question and the passages it rests on.

    `right` are texts that answer the question: a sentence of the context that holds one is not copied as nonsense.
    """

    question: str
    answer: str
    passages: tuple[str, ...]
    right: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """In how many of `n` cases the honest answer scored higher; a tie counts a half."""

    variant: str
    wins: float
    n: int

    @property
    def share(self) -> float:
        """Wins over cases; 0 without cases."""
        return self.wins / self.n if self.n else 0.0


def copied(case: Honest, rng: random.Random) -> str | None:
    """Two random sentences of the context that do not hold the answer, word by word."""
    told = [said for passage in case.passages for said, part in parsed(passage) if len(part) >= 3]
    # A sentence that holds a right answer, or that the honest answer says itself, is no nonsense.
    other = [s for s in told if not any(r.lower() in s.lower() for r in case.right) and not _said(s, case.answer)]
    return " ".join(rng.sample(other, COPIED)) if len(other) >= COPIED else None


def _said(sentence: str, answer: str) -> bool:
    return share_found(content_words(sentence), content_words(answer)) >= 0.6


def negated(case: Honest, rng: random.Random) -> str | None:
    """One statement turned into its opposite: "is" becomes "is not"; a bare phrase gets a "not" before it."""
    text = without_citations(case.answer)
    found = list(_VERB.finditer(text))
    if not found:
        return f"not {text}" if len(claims(text)) <= 1 and len(text.split()) <= 8 else None
    place = rng.choice(found).end()
    return f"{text[:place]} not{text[place:]}"


def name_swapped(case: Honest, rng: random.Random, *, pool: Sequence[str]) -> str | None:
    """One name of the answer swapped, wherever it stands, for one that neither answer nor context has."""
    text = without_citations(case.answer)
    own = [name for name in names(text) if any(name in passage for passage in case.passages)]
    everything = " ".join([text, *case.passages]).lower()
    strange = [name for name in pool if name.lower() not in everything]
    if not own or not strange:
        return None
    return re.sub(rf"\b{re.escape(rng.choice(own))}\b", rng.choice(strange), text)


def number_changed(case: Honest, rng: random.Random) -> str | None:
    """One number that answer and context share changed to one that the context lacks; a list's numbering stays."""
    text = without_citations(case.answer)
    taken = set().union(*(numbers(passage) for passage in case.passages))
    steps = {match.start(1) for match in _NUMBERING.finditer(text)}
    found = [match for match in _DIGITS.finditer(text) if match.group() in taken and match.start() not in steps]
    if not found:
        return None
    hit = rng.choice(found)
    value = int(hit.group())
    fresh = next(str(n) for n in (value + rng.randint(1, 9) + step for step in range(10_000)) if str(n) not in taken)
    return text[: hit.start()] + fresh + text[hit.end() :]


def sentence_added(case: Honest, rng: random.Random, *, pool: Sequence[str]) -> str | None:
    """A sentence about something else added at the end."""
    text = without_citations(case.answer).rstrip()
    return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'} {rng.choice(pool)}" if pool else None


def variants(
    case: Honest, rng: random.Random, *, names_elsewhere: Sequence[str], sentences_elsewhere: Sequence[str]
) -> dict[str, str]:
    """The worse versions of an answer by name; those that cannot be made, or changed nothing, are absent."""
    made = {
        "copied": copied(case, rng),
        "negated": negated(case, rng),
        "name swapped": name_swapped(case, rng, pool=names_elsewhere),
        "number changed": number_changed(case, rng),
        "sentence added": sentence_added(case, rng, pool=sentences_elsewhere),
    }
    bare = without_citations(case.answer)
    return {name: text for name, text in made.items() if text is not None and text != bare}


VARIANTS = ("copied", "negated", "name swapped", "number changed", "sentence added")


def made_worse(cases: Sequence[Honest], *, seed: int = 0) -> list[tuple[Honest, dict[str, str]]]:
    """Each case with its worse versions; strange names and sentences come from cases of other questions."""
    rng = random.Random(seed)
    told = [[s for p in case.passages for s, part in parsed(p) if len(part) >= 5 and "//" not in s] for case in cases]
    found = []
    for case in cases:
        picks = [n for n in rng.sample(range(len(cases)), min(12, len(cases))) if cases[n].question != case.question]
        pool = [s for n in picks for s in told[n][:20] if s not in case.passages]
        strange = [name for sentence in pool for name in names(sentence) if len(name) > 3]
        found.append((case, variants(case, rng, names_elsewhere=strange, sentences_elsewhere=pool)))
    return found


def outcomes(worse: Sequence[tuple[Honest, dict[str, str]]], score: Score) -> tuple[Outcome, ...]:
    """Score every honest answer and its worse versions over the same passages; one outcome per kind of change."""
    wins = dict.fromkeys(VARIANTS, 0.0)
    counts = dict.fromkeys(VARIANTS, 0)
    for case, texts in worse:
        honest = score(case.question, without_citations(case.answer), case.passages)
        for name, text in texts.items():
            other = score(case.question, text, case.passages)
            wins[name] += 1.0 if honest > other else 0.5 if honest == other else 0.0
            counts[name] += 1
    return tuple(Outcome(name, wins[name], counts[name]) for name in VARIANTS)
