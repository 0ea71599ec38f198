"""Answered examples asked once more without the passages that answer them: what is right then is to decline (pure).

People rarely write that the documents do not answer, so a bot that learns from them alone forgets to say so. Each
such twin stands beside its answered example: the same question, the same other passages, and in place of what
answered, a passage that answered somebody else, of the same title where there is one, so that the subject alone does
not tell (distractors, as in RAFT, Zhang et al. 2024).
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from finetune.examples import Example, Kind
from finetune.judge import Judge
from finetune.metrics import content_words, share_found
from store.answers import DECLINE, cited_numbers, sentences, without_citations

Block = Callable[[str, Sequence[dict[str, Any]]], str]
"""The user's message for a question and its numbered passages (`bot.prompt.question_block`)."""
TELLS = 0.35
"""The support for a sentence of the answer from which on a passage may be telling it."""
DONORS = 32
"""Passages looked at for the one that takes the place of what answered: of the same title, and of others."""


def twins(examples: Sequence[Example], most: int, *, judge: Judge, block: Block) -> Iterator[Example]:
    """At most `most` twins of answered examples, best kind first, which of a kind is thrown by their ids."""
    kinds = list(Kind)
    answered = sorted(
        (one for one in examples if one.answerable and 0 < (one.gold or 0) <= len(one.titles)),
        key=lambda one: (kinds.index(Kind(one.kind)), _thrown(one.id)),
    )
    donors = _Donors(answered)
    for one in answered:
        if most <= 0:
            return
        twin = without_answer(one, donors.near(one), judge=judge, block=block)
        if twin is not None:
            most -= 1
            yield twin


def without_answer(one: Example, donors: Sequence[tuple[str, str]], *, judge: Judge, block: Block) -> Example | None:
    """The example without every passage that tells its answer; None where its prompt was not built as `block` does.

    `donors` are titles and texts that may take their place, the first that does not tell the answer either.
    """
    shown = _numbered(list(zip(one.titles, one.passages, strict=True)))
    if not one.messages or block(one.question, shown) != one.messages[-1]["content"]:
        return None
    said = [text for part in sentences(one.target) if content_words(text := without_citations(part))]
    cited = {*cited_numbers(one.target), one.gold}

    def tells(text: str) -> bool:
        return any(judge.support(claim, text) >= TELLS for claim in said)

    spare = [(title, text) for title, text in donors if text not in one.passages and not tells(text)]
    left: list[tuple[str, str]] = []
    for passage in shown:
        if passage["n"] not in cited and not tells(passage["text"]):
            left.append((passage["title"], passage["text"]))
        elif spare:
            left.append(spare.pop(0))
    if not said or not left:
        return None
    return replace(
        one,
        messages=[*one.messages[:-1], {**one.messages[-1], "content": block(one.question, _numbered(left))}],
        passages=[text for _, text in left],
        titles=[title for title, _ in left],
        target=DECLINE,
        kind=Kind.WITHHELD,
        reason="the passages that answer it were taken away",
        answerable=False,
        gold=None,
        logged_answer="",
    )


def _numbered(passages: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"n": n, "title": title, "text": text} for n, (title, text) in enumerate(passages, start=1)]


class _Donors:
    """Title and text of the passages that answer the examples, found by title and by chance."""

    def __init__(self, examples: Sequence[Example]) -> None:
        told = {(one.titles[n - 1], one.passages[n - 1]): None for one in examples if (n := one.gold or 0)}
        self._all = list(told)
        self._titled: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for title, text in self._all:
            self._titled[title].append((title, text))

    def near(self, one: Example) -> list[tuple[str, str]]:
        """At most DONORS of the title that answers, then as many others, most words of the question first."""
        start, wanted = int(_thrown(one.id)[:8], 16), content_words(one.question)
        found: dict[tuple[str, str], None] = {}
        for part in (self._titled[one.titles[(one.gold or 1) - 1]], self._all):
            some = [part[(start + n) % len(part)] for n in range(min(DONORS, len(part)))]
            found |= dict.fromkeys(sorted(some, key=lambda passage: -share_found(wanted, content_words(passage[1]))))
        return list(found)


def _thrown(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
