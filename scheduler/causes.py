"""What a bad exchange is put down to, with the evidence in a sentence (pure).

It reads what people said, the judge's scores and what the library holds now. What the library does not hold, no
training teaches: only some causes are trainable.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from finetune.examples import Rules
from finetune.judge import Judge, supported_answer
from finetune.metrics import groundedness
from finetune.wording import STOP_WORDS, content_words, words
from scheduler import said
from store.answers import cited_numbers, declined, without_citations
from store.exchanges import Logged

SUPPORTED = 0.5
"""The judge's support from which a passage counts as holding a text; over the handbook's 250 answers the right passage
reaches it 94 times of 100, and the best wrong one 7 times."""
LEAST_WORDS = 2
"""A question with fewer words of content says too little to search by."""
NAMED_WORDS = 5


class Cause(StrEnum):
    """What a bad exchange is put down to."""

    MISSING_DOCUMENT = "missing_document"
    """The library does not hold the answer."""
    RETRIEVAL_MISS = "retrieval_miss"
    """The library holds the answer, but its passage was not shown."""
    CONTEXT_MISUSED = "context_misused"
    """A shown passage answers, and the answer contradicts, ignores or does not cite it, or declines."""
    STYLE_OR_FORM = "style_or_form"
    """The answer is grounded and cited, and yet not what people want to read."""
    UNCLEAR = "unclear"
    """The evidence does not say."""


TRAINABLE = frozenset({Cause.CONTEXT_MISUSED, Cause.STYLE_OR_FORM})


@dataclass(frozen=True)
class Held:
    """A passage that the library holds now, with its score for what was searched, in [0, 1]."""

    title: str
    text: str
    digest: str
    score: float


Look = Callable[[str], Sequence[Held]]
"""A text to the library's passages that are nearest to it, best first, however low they score."""
Found = tuple[Cause, str]


@dataclass(frozen=True)
class Case:
    """An exchange to be put down to a cause; `near` is the score from which a passage is about the question.

    Without `look` the library is not searched, and what only it could tell stays unclear.
    """

    row: Logged
    judge: Judge
    near: float
    look: Look | None = None
    rules: Rules | None = None

    @property
    def answer(self) -> str:
        """The answer as it was given."""
        return self.row.exchange.answer

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The passages that were shown."""
        return self.row.exchange.passages

    @property
    def wanted(self) -> str:
        """What a person said would be right: the correction, or a comment that says more than what is wrong."""
        feedback = self.row.feedback
        return said.wanted(feedback.correction, feedback.comment) if feedback is not None else ""

    @property
    def remarks(self) -> frozenset[said.Remark]:
        """What the person's reasons and comment complain of."""
        feedback = self.row.feedback
        return said.remarks(feedback.reasons, feedback.comment) if feedback is not None else frozenset()

    @cached_property
    def grounded(self) -> float:
        """Mean support of the answer's sentences by the shown passages; 0 for none."""
        texts = [passage["text"] for passage in self.shown]
        return groundedness(self.answer, texts, self.judge.support) or 0.0

    @cached_property
    def nearest(self) -> tuple[float, int]:
        """The best score of a shown passage for the question, and its number; (0, 0) when none was shown."""
        return _best((float(p.get("score") or 0), int(p["n"])) for p in self.shown)

    def supports(self, text: str) -> float:
        """How well a passage supports what the person wanted."""
        return supported_answer(self.wanted, [text], self.judge)

    def unshown(self, query: str) -> list[Held]:
        """What the library holds near a text and was not shown."""
        digests = {passage.get("digest") for passage in self.shown}
        return [held for held in self.look(query) if held.digest not in digests] if self.look is not None else []


def _best(scored: Iterable[tuple[float, int]]) -> tuple[float, int]:
    """The best score with its passage's number, the first of equals; (0, 0) for none."""
    return max(scored, key=lambda one: (one[0], -one[1]), default=(0.0, 0))


def cause_of(case: Case) -> tuple[Cause, str, str]:
    """The cause of a bad exchange, the evidence in a sentence, and the title of an unshown passage that answers."""
    if case.row.feedback is not None and case.row.feedback.correction and declined(case.row.feedback.correction):
        return Cause.MISSING_DOCUMENT, "a person says that the documents do not answer.", ""
    if case.wanted and (found := _by_what_is_right(case)) is not None:
        return found
    if case.remarks == {said.Remark.FORM} and not declined(case.answer):
        return Cause.STYLE_OR_FORM, f"a person complains of the form: {said.quoted(case.row.feedback)}.", ""
    if len(content_words(case.row.exchange.question)) < LEAST_WORDS:
        return Cause.UNCLEAR, "the question says too little to search by.", ""
    if not case.row.exchange.given and case.nearest[0] < case.near:
        return _by_the_library(case)
    return (*_by_the_answer(case), "")


def _by_what_is_right(case: Case) -> tuple[Cause, str, str] | None:
    """By a correction; by a comment only where some passage supports it: else it is no statement of what is right."""
    support, number = _best((case.supports(p["text"]), int(p["n"])) for p in case.shown)
    if support >= SUPPORTED:
        return (*_misused(case, number, support), "")
    assert case.row.feedback is not None
    corrected = bool(case.row.feedback.correction)
    if case.row.exchange.given or case.look is None:
        told = f"no shown passage supports the correction (best {support:.2f}), and the library was not searched."
        return (Cause.UNCLEAR, told, "") if corrected else None
    held = [*case.unshown(without_citations(case.wanted)), *case.unshown(case.row.exchange.question)]
    score, best = max(((case.supports(one.text), one) for one in held), key=lambda pair: pair[0], default=(0.0, None))
    if best is not None and score >= SUPPORTED:
        told = f'"{best.title}" supports the correction ({score:.2f}) and was not among the {len(case.shown)} shown.'
        return Cause.RETRIEVAL_MISS, told, best.title
    return (Cause.MISSING_DOCUMENT, _nowhere(case, held, max(score, support)), "") if corrected else None


def _nowhere(case: Case, held: Sequence[Held], score: float) -> str:
    texts = [one.text for one in held] + [passage["text"] for passage in case.shown]
    known = {stem for text in texts for stem in content_words(text)}
    missing = [w for w in words(case.wanted) if w not in STOP_WORDS and not known.issuperset(content_words(w))]
    named = ", ".join(f'"{word}"' for word in dict.fromkeys(missing[:NAMED_WORDS]))
    last = f"; its words {named} are in none of the nearest passages." if named else "."
    return f"no live passage supports the correction (best {score:.2f}){last}"


def _misused(case: Case, number: int, support: float) -> Found:
    """A shown passage supports what is right: what became of it in the answer."""
    held = f"passage [{number}] supports the correction ({support:.2f})"
    if declined(case.answer):
        return Cause.CONTEXT_MISUSED, f"{held}, but the answer declines."
    agreement = case.judge.accuracy(case.row.exchange.question, case.answer, [case.wanted])
    cited = number in cited_numbers(case.answer)
    if agreement < SUPPORTED:
        ending = "although it cites it" if cited else "and does not cite it"
        return Cause.CONTEXT_MISUSED, f"{held}, but the answer says something else ({agreement:.2f}) {ending}."
    if not cited and said.Remark.FORM not in case.remarks:
        return Cause.CONTEXT_MISUSED, f"{held} and the answer agrees ({agreement:.2f}), but does not cite it."
    return Cause.STYLE_OR_FORM, f"{held}, and the answer says the same ({agreement:.2f}); the person puts it otherwise."


def _by_the_library(case: Case) -> tuple[Cause, str, str]:
    """No shown passage is about the question: is there one?"""
    score, number = case.nearest
    shown = (
        f"the nearest passage shown reaches {score:.2f}, under {case.near:.2f}" if number else "no passage was shown"
    )
    if case.look is None:
        return Cause.UNCLEAR, f"{shown}, and the library was not searched.", ""
    best = max(case.unshown(case.row.exchange.question), key=lambda held: held.score, default=None)
    if best is not None and best.score >= case.near and best.score > score:
        return Cause.RETRIEVAL_MISS, f'{shown}; "{best.title}" reaches {best.score:.2f} now.', best.title
    if said.Remark.ANSWERABLE in case.remarks and number:
        told = f"a person says that it should have been answered, and nothing is nearer than passage [{number}]."
        return Cause.CONTEXT_MISUSED, told, ""
    other = f'; the nearest in the library is "{best.title}" ({best.score:.2f})' if best is not None else ""
    return Cause.MISSING_DOCUMENT, f"{shown}{other}.", ""


def _by_the_answer(case: Case) -> Found:
    """Passages that are about the question were shown: what the answer made of them."""
    score, number = case.nearest
    near = "passages were given" if case.row.exchange.given else f"passage [{number}] is near ({score:.2f})"
    cited = [n for n in cited_numbers(case.answer) if n in {passage["n"] for passage in case.shown}]
    if declined(case.answer):
        return Cause.CONTEXT_MISUSED, f"{near}, but the answer declines."
    if case.grounded < SUPPORTED:
        return Cause.CONTEXT_MISUSED, f"{near}, but they support the answer little ({case.grounded:.2f})."
    if not cited:
        return Cause.CONTEXT_MISUSED, f"the passages support the answer ({case.grounded:.2f}), but it cites none."
    if case.remarks & {said.Remark.INCOMPLETE, said.Remark.UNGROUNDED}:
        return Cause.CONTEXT_MISUSED, f"{near}; a person complains: {said.quoted(case.row.feedback)}."
    return _form(case, f"grounded ({case.grounded:.2f}) and cites [{cited[0]}]")


def _form(case: Case, grounds: str) -> Found:
    """Grounded and cited: is it the form?"""
    length, rules, feedback = len(case.answer), case.rules, case.row.feedback
    if rules is not None and not rules.min_length <= length <= rules.max_length:
        told = (
            f"{grounds}, but {length} characters long; the task's rules say {rules.min_length} to {rules.max_length}."
        )
        return Cause.STYLE_OR_FORM, told
    if said.Remark.WRONG in case.remarks:
        return Cause.UNCLEAR, f"{grounds}, but a person says that it is wrong."
    if feedback is not None and feedback.rating == "down":
        return Cause.STYLE_OR_FORM, f"{grounds}, yet thumbs-down."
    return Cause.UNCLEAR, f"{grounds}, and nobody said what is wrong."
