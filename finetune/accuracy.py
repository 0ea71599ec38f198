"""An answer and a right one -> cheap signals of whether people would call the answer right (pure).

A reference may hold several accepted answers, separated by "/", where it is no sentence: the signals are of the one
that is found best. What they are worth together is the business of `finetune/scorecard.py`.
"""

import re
from functools import lru_cache

from finetune.denials import turned_round
from finetune.times import names_others
from finetune.values import marked_otherwise
from finetune.wording import claims, content_words, contradicts, numbers, share_found, words
from store.answers import without_citations

DIRECTIONS = {
    "found": 1,
    "whole": 1,
    "spelling": 1,
    "last_word": 1,
    "early": 1,
    "one_sentence": 1,
    "numbers_found": 1,
    "said_back": 1,
    "all_accepted": 1,
    "numbers_missed": -1,
    "numbers_other": -1,
    "times_other": -1,
    "turned": -1,
    "unsure": -1,
    "given_away": -1,
    "accepted": 0,
    "answer_words": 0,
    "wanted_words": 0,
}
"""Every signal, and whether more of it may only raise (1), only lower (-1), or both (0), the chance to be right."""
_ONE = re.compile(
    r"(?<![\d/])(?:\d{1,2}/\d{1,2}/(?:\d{4}|\d{2})|\d{4}/\d{1,2}/\d{1,2}|\d{1,3}/\d{1,3}(?!/))(?!\d)"
    r"|(?<![\w/-])(?:and/or|s?he/s?he|his/her|her/his|him/her|(?:km|mi|m|[kMG]?[Bb](?:it)?|[mk]?g|l)/(?:h|s|l|m|kg|d|min)"
    r"|[A-Z]{1,3}/[A-Z]{1,3})(?![\w/-])"
)
"""A date, a fraction, a unit or one word for two: its slashes divide no answers."""
_WHOLE = re.compile(r"://|\bwww\.|(?:^|\s)[~.]{0,2}/\w")
"""An address or a path: the text is one answer, whatever its slashes are for, as a sentence is."""
_SENTENCE_WORDS = 6
"""Words from which on what begins with a capital and ends with a full stop is a sentence."""
_UNSURE = re.compile(
    r"\b(?:as an ai|i(?:'m| am) sorry|could(?:n't| not) find|no (?:definitive|specific|official) |"
    r"not (?:clear|possible|sure|specified)"
    r"|do(?:es)? not have|don't have|unable to|it depends|more (?:context|information))\b",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"\b\w{3,}\d\b")
_YEAR = re.compile(r"(?:1\d|20)\d\d")
_SHORTEST_GLUED = 5
"""Letters from which an accepted answer within a longer word is looked at: systems lose the space before a link."""
_SAYS_SOMETHING = 4
"""Different words with content from which on a negation in an accepted answer says something, and is no name."""
_NEAR = 0.75
"""Words that share this much of their letter pairs count as one word misspelt."""


def accepted(reference: str) -> list[str]:
    """The accepted answers in a reference: the parts between slashes, but for slashes that stand in one answer."""
    if _WHOLE.search(reference) or _is_sentence(reference):
        return [reference]
    whole = _ONE.sub(lambda match: match.group().replace("/", "\0"), reference)
    parts = [part.strip().replace("\0", "/") for part in whole.split("/")]
    return [part for part in parts if words(part)] or [reference]


def _is_sentence(text: str) -> bool:
    ended = text.rstrip("\"')]").endswith((".", "!", "?"))
    return ended and text[:1].isupper() and len(text.split()) >= _SENTENCE_WORDS


@lru_cache(maxsize=65_536)
def _pairs(word: str) -> frozenset[str]:
    padded = f"^{word}$"
    return frozenset(padded[i : i + 2] for i in range(len(padded) - 1))


def without_footnotes(answer: str, wanted: str) -> str:
    """`answer` without the one or two digits of a footnote right behind a word or a year that `wanted` has."""
    known = set(words(wanted))
    before = {word for word in known if not word.isdigit() or _YEAR.fullmatch(word)}

    def bare(match: re.Match[str]) -> str:
        token = match.group()
        cuts = ((token[:-size], token[-size:]) for size in (1, 2) if token.lower() not in known)
        return next((head for head, tail in cuts if head.lower() in before and tail not in known), token)

    return _NUMBERED.sub(bare, answer)


def unglued(answer: str, wanted: str) -> str:
    """`answer` with spaces around `wanted` where it lost one: "wasBuddhism", "Luke Bryansang".

    A word is looked for behind lower-case letters where it begins with a capital or a digit, a phrase on both sides:
    "ratio" is not in "generation", "Niger" not in "Nigeria", and no number in a longer one.
    """
    phrase = " " in wanted
    if len(wanted) < _SHORTEST_GLUED or not (phrase or wanted[0].isupper() or wanted[0].isdigit()):
        return answer
    inside = re.escape(wanted)
    return re.sub(rf"(?<=[a-z]){inside}" + rf"|(?<!\d){inside}(?=[a-z])" * phrase, r" \g<0> ", answer)


def _tidied(answer: str, wanted: str) -> str:
    return unglued(without_footnotes(answer, wanted), wanted)


def _near(word: str, others: set[str]) -> bool:
    """Whether a word is there, or one spelt much like it (Dice's coefficient over letter pairs), or its beginning."""
    if word in others:
        return True
    if word[0].isdigit() or len(word) < 4:
        return False
    mine = _pairs(word)
    return any(
        not other[0].isdigit() and 2 * len(mine & _pairs(other)) / (len(mine) + len(_pairs(other))) >= _NEAR
        for other in others
        if len(other) >= 4
    )


def _signals(question: str, answer: str, wanted_text: str) -> dict[str, float]:
    wanted, said = content_words(wanted_text), content_words(answer)
    asked, have = set(content_words(question)), set(said)
    new = [word for word in wanted if word not in asked]
    aim = new or list(wanted)
    parts = claims(answer) or [answer]
    best = max(parts, key=lambda part: share_found(aim, content_words(part)))
    plain, inside = f" {' '.join(words(wanted_text))} ", f" {' '.join(words(answer))} "
    first = set(content_words(" ".join(parts[:1])))
    need, give = numbers(wanted_text), numbers(answer)
    fresh = [word for word in dict.fromkeys(said) if word not in asked]
    return {
        "found": share_found(aim, have),
        "whole": float(plain in inside),
        "spelling": sum(_near(word, have) for word in set(aim)) / len(set(aim)) if aim else 0.0,
        "last_word": float(bool(aim) and _near(aim[-1], have)),
        "early": share_found(aim, first),
        "one_sentence": share_found(aim, content_words(best)),
        "numbers_found": len(need & give) / len(need) if need else 0.0,
        "said_back": share_found(fresh, wanted),
        "numbers_missed": len(need - give) / len(need) if need else 0.0,
        "numbers_other": float(bool(need) and not need & give and bool(give)),
        "turned": float(contradicts(wanted_text, best)),
        "given_away": 1 - len(set(new)) / len(set(wanted)) if wanted else 0.0,
        "wanted_words": min(1.0, len(wanted) / 12),
    }


def says_otherwise(question: str, answer: str, reference: str) -> bool:
    """Whether an answer denies what every accepted answer says, or has another number or value in its place."""
    bare = without_citations(answer)
    return all(_otherwise(question, _tidied(bare, one), one) for one in accepted(reference))


def _otherwise(question: str, answer: str, wanted: str) -> bool:
    aim = content_words(wanted)
    best = max(claims(answer) or [answer], key=lambda part: share_found(aim, content_words(part)))
    missed, instead = numbers(wanted) - numbers(answer), numbers(best) - numbers(wanted) - numbers(question)
    long = len(set(aim)) >= _SAYS_SOMETHING
    turned = contradicts(wanted, best) if long else turned_round(question, answer, wanted)
    return bool(missed and instead) or turned or marked_otherwise(wanted, answer)


def right_signals(question: str, answer: str, reference: str) -> tuple[float, ...]:
    """The signals of an answer against a reference, in order of DIRECTIONS; all 0 for an empty one of either."""
    bare = without_citations(answer)
    if not words(bare) or not words(reference):
        return (0.0,) * len(DIRECTIONS)
    several = accepted(reference)
    each = [_signals(question, _tidied(bare, one), one) for one in several]
    best = max(each, key=lambda found: (found["whole"], found["spelling"], found["found"], found["last_word"]))
    best |= {
        "times_other": float(all(names_others(one, bare) for one in several)),
        "all_accepted": sum(found["spelling"] >= 1 for found in each) / len(each),
        "accepted": min(1.0, (len(each) - 1) / 5),
        "unsure": float(bool(_UNSURE.search(bare))),
        "answer_words": min(1.0, len(words(bare)) / 60),
    }
    return tuple(best[name] for name in DIRECTIONS)
