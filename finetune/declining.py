"""Does an answer decline exactly where it should, in words, and make nothing up after it? (pure)"""

import re
from collections.abc import Sequence

from finetune.metrics import YES, Support, wordless
from finetune.wording import content_words, numbers, share_found
from store.answers import after_decline, declined, without_citations

_ADVICE = re.compile(
    r"^(?:(?:please )?(?:ask|contact|call|e-?mail|write to|check|consult|see|visit|try|look|refer|let me know)\b"
    r"|(?:please|you (?:can|could|may|might)(?: want to| like to)?|for (?:more|further)\b[^.]*?,)"
    r" (?:please )?(?:ask|contact|call|e-?mail|write to|check|consult|see|visit|try|look|refer|rephrase|upload)\b"
    r"|(?:i am |i'm )?(?:very )?sorry(?:,? (?:but )?(?:that )?i\b.*| (?:for|about)\b.*)?$|thank)",
    re.IGNORECASE,
)
"""What sends somebody elsewhere or is polite: by itself it claims nothing about what was asked."""
_ASKS_BACK = re.compile(r"^(?:could|would|can|do|did) you\b(?! know)[^;]*\?$", re.IGNORECASE)
_HELPS = re.compile(
    r", (?:who|which|where|they|and they|so)(?: (?:some(?:body|one)|they|he|she|you|we))?"
    r" (?:can|could|will|would|may|might|should)(?: be able to| also)? (?:help|assist|know|tell|answer|explain|find)\b"
    r"[^,;:]{0,40}$",
    re.IGNORECASE,
)
"""What such a sentence may add: that somebody there may help."""
_CLAIMS = re.compile(
    r";|:\s|\b(?:because|since|but)\b"
    r"|,\s(?:who|whom|whose|which|where|as|so|and\s(?:it|they|he|she|there|this|that|you))\b",
    re.IGNORECASE,
)
"""Where a sentence that begins as advice or politeness goes on to tell something."""
_OF_WHAT_IS_SHOWN = re.compile(
    r"^(?:the|these|those|all) (?:passages?|documents?|texts?|sources?|context) (?:only|just|merely)"
    r"(?: (?:say|mention|cover|contain|state|describe|explain|discuss|give|tell|speak of|talk about|deal with)s?)?"
    r"(?: that)?\b",
    re.IGNORECASE,
)
_OTHER_THINGS = re.compile(r"^(?:about |on )?(?:other|unrelated|general|different|basic)\b[^,;:]*$", re.IGNORECASE)
_MOSTLY = 0.8
"""The share of its words that the passages must have where a sentence says what alone they hold."""


def decline_correct(
    answer: str, answerable: bool, passages: Sequence[str] = (), support: Support | None = None
) -> float:
    """1 when the answer declines exactly where the passages do not answer, else 0; 0 for one without a word.

    What follows a decline must be advice that tells nothing ("Please ask the front desk."), say what the passages hold
    in their words, or be supported by one: to decline and then to make something up is not to decline.
    """
    if wordless(answer) or declined(answer) == answerable:
        return 0.0
    more = [] if answerable else [without_citations(sentence) for sentence in after_decline(answer)]
    return float(all(_harmless(sentence, passages, support) for sentence in more))


def _harmless(sentence: str, passages: Sequence[str], support: Support | None) -> bool:
    """Whether what follows a decline declines too, is mere advice, says what the passages hold, or is supported."""
    if declined(sentence) or ((_ASKS_BACK.search(sentence) or _advises(sentence)) and not _figures(sentence)):
        return True
    said = _OF_WHAT_IS_SHOWN.sub("", sentence).strip()
    if said != sentence and not _figures(said):
        held = share_found(content_words(said), content_words("\n".join(passages)))
        if held >= _MOSTLY or _OTHER_THINGS.search(said):
            return True
    return support is not None and any(support(said, passage) >= YES for passage in passages)


def _advises(sentence: str) -> bool:
    """Whether a sentence sends somebody elsewhere, or is polite, and goes on to tell nothing."""
    bare = sentence.rstrip(".!? ")
    return bool(_ADVICE.search(bare)) and not _CLAIMS.search(_HELPS.sub("", bare).replace("sorry, but", "sorry,"))


def _figures(sentence: str) -> bool:
    """Whether a sentence has a number of two digits or more, or a sum: a floor or a passage's number tells nothing."""
    return any(len(number) > 1 for number in numbers(sentence)) or bool(re.search(r"[$€£%]", sentence))
