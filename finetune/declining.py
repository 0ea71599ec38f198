"""Does an answer decline exactly where it should, in words, and make nothing up after it? (pure)"""

import re
from collections.abc import Sequence

from finetune.metrics import YES, Support, numbers, wordless
from store.answers import after_decline, declined, without_citations

_ADVICE = re.compile(
    r"^(?:(?:please )?(?:ask|contact|call|e-?mail|write to|check|consult|see|visit|try|look|refer|let me know)\b"
    r"|(?:please|you (?:can|could|may|might)(?: want to| like to)?|for (?:more|further)\b[^.]*?,)"
    r" (?:please )?(?:ask|contact|call|e-?mail|write to|check|consult|see|visit|try|look|refer|rephrase|upload)\b"
    r"|(?:could|would|can|do|did) you\b.*\?$|(?:i am |i'm )?(?:very )?sorry\b|thank)",
    re.IGNORECASE,
)
"""What sends somebody elsewhere, asks back or is polite: it claims nothing about what was asked."""
_OF_WHAT_IS_SHOWN = re.compile(
    r"^(?:the|these|those|all) (?:passages?|documents?|texts?|sources?|context) (?:only|just|merely)\b", re.IGNORECASE
)


def decline_correct(
    answer: str, answerable: bool, passages: Sequence[str] = (), support: Support | None = None
) -> float:
    """1 when the answer declines exactly where the passages do not answer, else 0; 0 for one without a word.

    What follows a decline must be advice without a figure ("Please ask the front desk."), or be supported by a passage:
    to decline and then to make something up is not to decline.
    """
    if wordless(answer) or declined(answer) == answerable:
        return 0.0
    more = [] if answerable else [without_citations(sentence) for sentence in after_decline(answer)]
    return float(all(_harmless(sentence, passages, support) for sentence in more))


def _harmless(sentence: str, passages: Sequence[str], support: Support | None) -> bool:
    """Whether what follows a decline declines too, speaks of the documents alone, is advice, or is supported."""
    if declined(sentence):
        return True
    if (_ADVICE.search(sentence) or _OF_WHAT_IS_SHOWN.search(sentence)) and not _figures(sentence):
        return True
    return support is not None and any(support(sentence, passage) >= YES for passage in passages)


def _figures(sentence: str) -> bool:
    """Whether a sentence has a number of two digits or more, or a sum: a floor or a passage's number tells nothing."""
    return any(len(number) > 1 for number in numbers(sentence)) or bool(re.search(r"[$€£%]", sentence))
