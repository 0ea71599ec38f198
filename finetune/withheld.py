"""Answered examples asked once more without the passages that answer them: what is right then is to decline (pure).

People rarely write that the documents do not answer, so a bot that learns from them alone forgets to say so. Each
such twin stands beside its answered example: the same question, the same other passages, and in place of what
answered, a passage that answered somebody else (distractors, as in RAFT, Zhang et al. 2024).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finetune.examples import Example, Kind
from finetune.judge import Judge
from finetune.wording import content_words, share_found
from store.answers import DECLINE, cited_numbers, sentences, without_citations

Block = Callable[[str, Sequence[dict[str, Any]]], str]
"""The user's message for a question and its numbered passages (`bot.prompt.question_block`)."""
TELLS = 0.35
"""The support for a sentence of the answer from which on a passage may be telling it."""


@dataclass(frozen=True)
class Donor:
    """A passage that answers another question; `document` is its stable name, `digest` that of a document's text."""

    title: str
    text: str
    document: str
    digest: str


DONORS = 32
"""Other examples looked at for the passage that takes the place of what answered."""


def twins(examples: Sequence[Example], most: int, *, judge: Judge, block: Block) -> Iterator[Example]:
    """At most `most` twins of answered examples, best kind first, which of a kind is thrown by their ids."""
    kinds = list(Kind)
    answered = sorted(
        (one for one in examples if one.answerable and 0 < (one.gold or 0) <= len(one.titles)),
        key=lambda one: (kinds.index(Kind(one.kind)), _thrown(one.id)),
    )
    for one in answered:
        if most <= 0:
            return
        twin = without_answer(one, _donors(one, answered), judge=judge, block=block)
        if twin is not None:
            most -= 1
            yield twin


def without_answer(one: Example, donors: Sequence[Donor], *, judge: Judge, block: Block) -> Example | None:
    """The example without every passage that tells its answer; None where its prompt was not built as `block` does.

    The first of the `donors` that do not tell the answer either take their place. What it rests on is theirs, no more
    what was taken away: those that stay are cited by nothing.
    """
    shown = numbered(list(zip(one.titles, one.passages, strict=True)))
    if not one.messages or block(one.question, shown) != one.messages[-1]["content"]:
        return None
    said = [text for part in sentences(one.target) if content_words(text := without_citations(part))]
    cited = {*cited_numbers(one.target), one.gold}

    def tells(text: str) -> bool:
        return any(judge.support(claim, text) >= TELLS for claim in said)

    spare = (donor for donor in donors if donor.text not in one.passages and not tells(donor.text))
    taken: list[Donor] = []
    left: list[tuple[str, str, str]] = []
    for passage, digest in zip(shown, one.digests, strict=True):
        if passage["n"] not in cited and not tells(passage["text"]):
            left.append((passage["title"], passage["text"], digest))
        elif (other := next(spare, None)) is not None:
            taken.append(other)
            left.append((other.title, other.text, other.digest))
    if not said or not left:
        return None
    now_shown = numbered([(title, text) for title, text, _ in left])
    return replace(
        one,
        messages=[*one.messages[:-1], {**one.messages[-1], "content": block(one.question, now_shown)}],
        passages=[text for _, text, _ in left],
        titles=[title for title, _, _ in left],
        digests=[digest for _, _, digest in left],
        documents=list(dict.fromkeys(donor.document for donor in taken)),
        rests_on=sorted({donor.digest for donor in taken if donor.digest}),
        target=DECLINE,
        kind=Kind.WITHHELD,
        reason="the passages that answer it were taken away",
        answerable=False,
        gold=None,
        logged_answer="",
    )


def numbered(passages: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Titles and texts as passages that a prompt shows."""
    return [{"n": n, "title": title, "text": text} for n, (title, text) in enumerate(passages, start=1)]


def _donors(one: Example, others: Sequence[Example]) -> list[Donor]:
    """Passages that answer other questions, those that share most words with this question first.

    Of documents, or of the same person: what somebody else handed in must not outlive its owner's erasure here.
    """
    start, wanted = int(_thrown(one.id)[:8], 16), content_words(one.question)
    looked = (others[(start + n) % len(others)] for n in range(min(DONORS, len(others))))
    answers = dict.fromkeys(
        donor
        for other in looked
        if (donor := _donor(other)) is not None and (donor.digest or other.person == one.person)
    )
    return sorted(answers, key=lambda donor: -share_found(wanted, content_words(donor.text)))


def _donor(other: Example) -> Donor | None:
    """The passage that answers an example, whose document is the first of its documents."""
    if not other.gold:
        return None
    place = other.gold - 1
    return Donor(other.titles[place], other.passages[place], other.documents[0], other.digests[place])


def _thrown(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
