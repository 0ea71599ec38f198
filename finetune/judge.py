"""Does a passage support a claim, is an answer right, do passages fit a question: scores, 0.5 divides yes from no.

`WordJudge` needs no network, no GPU and no model: it compares words, so it knows spelling and not meaning. A better
judge is any object with the methods of `Judge`. It knows nothing of adapters, cases or the gate.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import count, pairwise
from typing import Any, Protocol, runtime_checkable

from finetune.metrics import answer_accuracy, passage_relevance
from finetune.terse import answering
from finetune.wording import STOP_WORDS, content_words, contradicts, numbers, share_found
from store.answers import declined, sentences, without_citations
from store.errors import Invalid


class JudgeInputError(ValueError):
    """A row that cannot be judged: the message names its line, what was found and what was expected."""


class Ungraded(Invalid):
    """A judge gave no clear grade, even when it was asked again: of this answer there is no score."""


class Judge(Protocol):
    """Scores in [0, 1]; 0.5 divides yes from no."""

    @property
    def name(self) -> str:
        """What reports call this judge."""
        ...

    @property
    def family(self) -> str:
        """What it goes by: judges of one family make the same mistakes."""
        ...

    def support(self, claim: str, passage: str) -> float:
        """How well `passage` supports `claim`."""
        ...

    def accuracy(self, question: str, answer: str, references: Sequence[str]) -> float:
        """How right `answer` is, given right answers; no or only declining references: should it decline."""
        ...

    def relevance(self, question: str, passages: Sequence[str]) -> float:
        """How well the best of `passages` fits `question`."""
        ...


@runtime_checkable
class TellsEnough(Protocol):
    """A judge that also tells whether passages hold the answer."""

    def enough(self, question: str, passages: Sequence[str]) -> float:
        """The probability that one of `passages` holds the answer to `question`."""
        ...


# Fitted by logistic regression on AttributionBench dev (1,198 claims labelled by people, Li et al. 2024).
_BIAS, _WORDS, _PAIRS = -1.45, 1.59, 2.43
_MISSING_NUMBER = 0.7
"""What remains of the score of a claim with a number that the passage lacks."""
_NAMES_MISSED = 1 / 3
"""The share of a claim's names that the passage must lack to count; a cap for any one lost 3 points of macro-F1."""

_NAME = re.compile(r"\b(?=[\w.-]*[A-Z0-9_])[A-Za-z][\w]*(?:[._-]\w+)*")
_UPPER_NEXT = re.compile(r"\s+[A-Z]")
_ASIDE = re.compile(r"\([^()]*\)")


@lru_cache(maxsize=4_096)
def parsed(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The sentences of a passage with their content words."""
    return tuple((sentence, content_words(sentence)) for sentence in sentences(text))


def _pairs(parts: Iterable[Sequence[str]]) -> set[tuple[str, str]]:
    """Neighbouring content words within each part."""
    return {pair for part in parts for pair in pairwise(part)}


@lru_cache(maxsize=16_384)
def names(text: str) -> tuple[str, ...]:
    """Capitalised words and identifiers of `text`, asides in brackets left out.

    The first word of a sentence counts only when an upper-case word follows it, or it has capitals or digits inside.
    """
    found: list[str] = []
    for sentence in sentences(_ASIDE.sub(" ", without_citations(text))):
        for match in _NAME.finditer(sentence):
            name, first = match.group(), not re.search(r"\w", sentence[: match.start()])
            plain = not re.search(r"[A-Z0-9_]", name[1:])
            if not (plain and (name.lower() in STOP_WORDS or (first and not _UPPER_NEXT.match(sentence, match.end())))):
                found.append(name)
    return tuple(found)


def _present(name: str, text: str, stems: set[str]) -> bool:
    """Whether a name is in the text: by its words' stems or first four letters, or as the initials of a phrase."""
    initials = r"\b" + r"\w*\W+(?:(?:of|the|and|for)\W+)?".join(re.escape(letter) for letter in name)
    if name.isupper() and 2 <= len(name) <= 6 and re.search(initials, text, re.IGNORECASE):
        return True
    heads = {stem[:4] for stem in stems}
    return all(w in stems or (len(w) >= 4 and w[:4] in heads) for w in content_words(name))


def names_missed(claim: str, passage: str) -> float:
    """The share of a claim's names that the passage lacks; 0 when it has none."""
    stems, wanted = set(content_words(passage)), names(claim)
    return sum(not _present(name, passage, stems) for name in wanted) / len(wanted) if wanted else 0.0


def _doubted(score: float) -> float:
    """A score brought under 0.5, its order kept: 0.5 to 1 becomes 0.44 to 0.49."""
    return score if score < 0.5 else 0.44 + (score - 0.5) / 10


Said = tuple[str, tuple[str, ...]]
"""A sentence with its content words."""


def best_window(wanted: Sequence[str], passage: str, *, longest: int = 3) -> tuple[tuple[Said, ...], str]:
    """The consecutive sentences, at most `longest`, with most of the wanted words, and the nearest single one."""
    told = parsed(passage)
    windows = [told[i : i + size] for size in range(1, longest + 1) for i in range(len(told) - size + 1)]
    best = max(windows, key=lambda window: share_found(wanted, [w for _, part in window for w in part]), default=())
    nearest = max(best, key=lambda sentence: share_found(wanted, sentence[1]), default=("", ()))
    return best, nearest[0]


@lru_cache(maxsize=65_536)
def _support(claim: str, passage: str) -> float:
    claim = without_citations(claim)
    wanted = content_words(claim)
    if not wanted or not content_words(passage):
        return 0.0
    found, nearest = best_window(wanted, passage)
    window = [part for _, part in found]
    share, pairs = share_found(wanted, [word for part in window for word in part]), _pairs([wanted])
    kept = len(pairs & _pairs(window)) / len(pairs) if pairs else share
    score = 1 / (1 + math.exp(-(_BIAS + _WORDS * share + _PAIRS * kept)))
    if numbers(claim) - numbers(passage):
        score = _doubted(score) * _MISSING_NUMBER
    turned = share_found(wanted, content_words(nearest)) >= 0.6 and contradicts(claim, nearest)
    return _doubted(score) if turned or names_missed(claim, passage) >= _NAMES_MISSED else score


class WordJudge:
    """The judge that selects training data: compares stemmed words, numbers, names and negations; reads no meaning.

    Its constants were fitted on AttributionBench dev: AUROC 0.76 there, macro-F1 0.69 at 0.5 and 0.70 at the best cut.
    """

    name = "words"
    family = "words"

    def support(self, claim: str, passage: str) -> float:
        """Share of the claim's words and word pairs in the best window of one to three sentences, through a logistic.

        A number of the claim that the passage lacks, a third of its names, or a negation that differs from the
        nearest sentence keeps the score under 0.5. An empty claim or passage scores 0.
        """
        return _support(claim, passage)

    def accuracy(self, question: str, answer: str, references: Sequence[str]) -> float:
        """`answer_accuracy`; references that are empty or all decline say that declining is right."""
        right = [reference for reference in references if not declined(reference)]
        return answer_accuracy(answer, right, question=question, answerable=bool(right)) or 0.0

    def relevance(self, question: str, passages: Sequence[str]) -> float:
        """`passage_relevance`: share of the question's content words in the best passage; 0 without passages."""
        return passage_relevance(question, passages)


SELECTING = WordJudge()
"""The judge that selects training data; what evaluates must be of another family."""


def supported_answer(answer: str, passages: Sequence[str], judge: Judge, *, question: str = "") -> float:
    """Support of an answer of any length: half the mean and half the worst of its sentences over their best passages.

    With its question, a terse sentence is judged as an answer to it (`finetune/terse.py`). One unsupported sentence
    makes an otherwise supported answer doubtful. No passages, or nothing said, scores 0.
    """
    sources = [*passages, "\n".join(passages)] if len(passages) > 1 else list(passages)
    said = [s for s in sentences(answer) if content_words(s)]
    support = answering(question, judge.support) if question else judge.support
    scores = [max((support(sentence, source) for source in sources), default=0.0) for sentence in said]
    return (sum(scores) / len(scores) + min(scores)) / 2 if scores else 0.0


def _text(row: dict[str, Any], line: int, *fields: str) -> str:
    for field in fields:
        if isinstance(row.get(field), str):
            return str(row[field])
    wanted = " or ".join(f'"{field}"' for field in fields)
    raise JudgeInputError(f"Line {line}: found the fields {json.dumps(sorted(row))}, expected {wanted} as a text.")


def _texts(row: dict[str, Any], line: int, field: str, *, one_will_do: bool = False) -> list[str]:
    value = row.get(field)
    found = [value] if isinstance(value, str) and one_will_do else value
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        said, wanted = (
            json.dumps(value, default=str)[:80],
            "a text or a list of texts" if one_will_do else "a list of texts",
        )
        raise JudgeInputError(f'Line {line}: found "{field}" = {said}, expected {wanted}.')
    return found


def _judge_support(row: dict[str, Any], line: int, judge: Judge) -> float:
    return supported_answer(_text(row, line, "claim", "answer"), _texts(row, line, "passages"), judge)


def _judge_accuracy(row: dict[str, Any], line: int, judge: Judge) -> float:
    question = _text(row, line, "question") if "question" in row else ""
    return judge.accuracy(
        question, _text(row, line, "answer", "claim"), _texts(row, line, "reference", one_will_do=True)
    )


def _judge_relevance(row: dict[str, Any], line: int, judge: Judge) -> float:
    return judge.relevance(_text(row, line, "question"), _texts(row, line, "passages"))


METRICS: dict[str, Callable[[dict[str, Any], int, Judge], float]] = {
    "support": _judge_support,
    "accuracy": _judge_accuracy,
    "relevance": _judge_relevance,
}


def judge_rows(
    rows: Iterable[Any], *, metric: str, judge: Judge, numbers: Iterable[int] | None = None
) -> list[dict[str, float]]:
    """Score rows by `support`, `accuracy` or `relevance`; `{"score": …}` for each, in order.

    A bad one is named by its line: its number, else its place from 1.
    """
    if metric not in METRICS:
        raise JudgeInputError(f'Found the metric "{metric}", expected one of {", ".join(METRICS)}.')
    scores: list[dict[str, float]] = []
    for line, row in zip(numbers or count(1), rows, strict=False):
        if not isinstance(row, dict):
            raise JudgeInputError(f"Line {line}: found {type(row).__name__}, expected a JSON object.")
        scores.append({"score": round(METRICS[metric](row, line, judge), 6)})
    return scores
