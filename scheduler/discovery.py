"""Tasks that the taxonomy lacks: clusters among the questions that no task deserves (pure).

Each is proposed with a name and a description; an admin decides. It reads rows and vectors, and writes nothing.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scheduler.clusters import Floats, central, clusters, marking_terms, word_counts
from scheduler.report import question_pattern
from store.exchanges import Logged

SAME_SUBJECT = 0.25
"""The mean cosine from which questions are about one subject: wider than one need, so that a task is worth it."""
LEAST_QUESTIONS = 5
LEAST_CONVERSATIONS = 2
EXAMPLES = 15
"""As many as the shipped tasks have."""
NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
"""What a task's name must be like, in whole."""
RESERVED = frozenset({"unclassified", "all"})
_NAME_TERMS = 2
_PATTERNS = {
    "how-to": "How-to questions about",
    "definition": "Questions that ask what something is, about",
    "other": "Questions about",
}


@dataclass(frozen=True)
class Discovered:
    """A proposed task; `examples` are different questions, those nearest to the middle first."""

    name: str
    description: str
    questions: int
    conversations: int
    people: int
    examples: tuple[str, ...]
    terms: tuple[str, ...]
    newest: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def discover(rows: Sequence[Logged], vectors: Floats, *, known: Collection[str]) -> list[Discovered]:
    """The tasks that unclassified exchanges suggest, largest first.

    `vectors` are their questions, unit, shape (rows, dimensions); `known` are the names that are taken.
    """
    taken = {*known, *RESERVED}
    words = word_counts(row.exchange.question for row in rows)
    found = []
    for places in clusters(vectors, near=SAME_SUBJECT):
        conversations = {rows[place].exchange.conversation_id for place in places}
        if len(places) >= LEAST_QUESTIONS and len(conversations) >= LEAST_CONVERSATIONS:
            found.append(_proposed(rows, places, vectors, taken, words))
            taken.add(found[-1].name)
    return found


def _proposed(
    rows: Sequence[Logged], places: Sequence[int], vectors: Floats, taken: set[str], words: Counter[str]
) -> Discovered:
    mine = [rows[place].exchange for place in places]
    terms = marking_terms([one.question for one in mine], words, len(rows))
    examples = dict.fromkeys(rows[place].exchange.question.strip() for place in central(vectors, places))
    return Discovered(
        name=free_name(terms, taken),
        description=description(terms, [one.question for one in mine]),
        questions=len(mine),
        conversations=len({one.conversation_id for one in mine}),
        people=len({one.person_id for one in mine}),
        examples=tuple(examples)[:EXAMPLES],
        terms=terms,
        newest=max(one.created_at for one in mine).isoformat(),
    )


def free_name(terms: Sequence[str], taken: Collection[str]) -> str:
    """A name from the first terms, valid for a task and not taken."""
    words = [re.sub(r"[^a-z0-9]+", "_", term.lower()).strip("_") for term in terms[:_NAME_TERMS]]
    stem = "_".join(word for word in words if word)[:32].strip("_")
    stem = stem if NAME.fullmatch(stem) else f"topic_{stem}".rstrip("_")
    numbered = (f"{stem}_{number}" for number in range(2, len(taken) + 3))
    return stem if stem not in taken else next(name for name in numbered if name not in taken)


def description(terms: Sequence[str], questions: Sequence[str]) -> str:
    """A sentence from the terms and from how most of the questions are put."""
    [(pattern, count)] = Counter(map(question_pattern, questions)).most_common(1)
    opening = _PATTERNS[pattern] if count > len(questions) / 2 else _PATTERNS["other"]
    *first, last = terms or ("one subject",)
    return f"{opening} {', '.join(first)} and {last}." if first else f"{opening} {last}."


def as_text(found: Sequence[Discovered], unclassified: int) -> str:
    """The proposals as lines to print."""
    if not found:
        least = f"{LEAST_QUESTIONS} questions from {LEAST_CONVERSATIONS} conversations"
        return f"Nothing new: among {unclassified} unclassified questions, no subject has {least}."
    lines = [f"What the taxonomy lacks, from {unclassified} unclassified questions:"]
    for one in found:
        asked = f"{one.questions} questions, {one.people} people, newest {one.newest[:10]}"
        lines += ["", f"{one.name}: {one.description} ({asked})", *(f"  {text}" for text in one.examples[:5])]
    return "\n".join(
        [*lines, "", f'Make one a task: python -m scheduler discover --adopt {found[0].name} --comment "…"']
    )
