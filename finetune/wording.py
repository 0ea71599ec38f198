"""What a text says in words: its words, numbers and negations, its sentences, and which of these say anything (pure).

Metrics, judges and guards all read texts through this page, so that a word is the same word for each of them.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

import Stemmer

from store.answers import cited_numbers, sentences, without_citations

_STEMMER = Stemmer.Stemmer("english")
_FUNCTION_WORDS = (
    "a an the and or but if then else of to in on at by for with from as is are was were be been being am do does did "
    "done have has had having it its this that these those there here he she they we you i his her their our your my "
    "me him them us who whom whose which what when where why how not no nor so than too very can could may might must "
    "shall should will would about into over under again also such any some each other more most only own same s t d "
    "ll m re ve up down out off between through during before after while because until both few all just"
)
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")
_COUNTS = "two three four five six seven eight nine ten eleven twelve"
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_COUNTS.split(), start=2)}
_DECIMAL_COMMA = re.compile(r"^(\d+),(\d{1,2})$", re.MULTILINE)
_LEADING_ZEROS = re.compile(r"^0+(?=\d)", re.MULTILINE)
_SIGN = re.compile(r"[^\w\s.,;:!?'\"()\[\]*`\u2018-\u201f\u2026-]")
"""Signs that tell something, as "<" does; what only divides or marks up is none."""
_REPEATED = 3
"""Words from which on a sentence is compared by them."""
_LINKS = (
    "indeed moreover furthermore additionally therefore thus hence consequently overall basically actually certainly "
    "clearly obviously also really naturally importantly notably evidently definitely"
)
_LEADS_ON = frozenset(_LINKS.split())
"""Words that only lead from one sentence to the next, wherever they stand."""
_LEADING = re.compile(
    r"^(?:(?:again|so|then|yes|well|and|in (?:fact|short|summary|other words)|to (?:repeat|sum up)|note that|of course"
    r"|as (?:said|mentioned|stated)|that is)\b[\s,:]*)+"
)
"""How a sentence may begin that says nothing more than one before it."""
_LEADING_TO = re.compile(r"^#{1,6}\s|:[*_]*$|^[*_]*(?:yes|no)[.!]?[*_]*$", re.IGNORECASE)
"""What leads to the next sentence: a heading, a line before a list, a bare yes or no."""
_RULE = re.compile(r"^\|[\s:|-]+$")
"""The line below the head of a table."""
_NEGATOR = re.compile(
    r"^(?:not|no|never|none|neither|nor|without|cannot|nothing|nobody"
    r"|nicht|kein(?:e[mnrs]?)?|nie|niemals|ohne|weder|pas|jamais|sans|aucune?)$|n't$"
)
"""A negation, in English, German or French."""
ITEM = re.compile(r"^[ \t]*(?:(?P<number>\d{1,3}[.)])|[-*•])[ \t]+(?P<text>\S.*)$", re.MULTILINE)


def words(text: str) -> list[str]:
    """The lower-case words and numbers of `text`; number words become digits, separators and zeros in front go."""
    # One word a line, so that each replacement is one call for all of them.
    lines = "\n".join([*_WORD.findall(text), ""]).replace("’", "'").lower().replace("'s\n", "\n")
    lines = _DECIMAL_COMMA.sub(r"\1.\2", lines).replace(",", "") if "," in lines else lines
    lines = _LEADING_ZEROS.sub("", lines) if "\n0" in lines or lines[:1] == "0" else lines
    return [_NUMBER_WORDS.get(word, word) for word in lines.split("\n")[:-1]]


@lru_cache(maxsize=256)
def _bare(text: str) -> list[str]:
    """The words of `text` without list numbering and citation markers; not to be changed.

    An index in code goes as a marker does: the passage may say `items[0]` without marking it as code.
    """
    return words(ITEM.sub(r"\g<text>", without_citations(text.replace("`", ""))))


@lru_cache(maxsize=65_536)
def content_words(text: str) -> tuple[str, ...]:
    """The stems of the words of `text` that carry content, in order; all its words when none does."""
    bare = _bare(text)
    return tuple(_STEMMER.stemWords([w for w in bare if w not in STOP_WORDS] or bare))


@lru_cache(maxsize=65_536)
def numbers(text: str) -> frozenset[str]:
    """The numbers in `text`, without list numbering and citation markers; `1,000` is `1000`, `two` is `2`."""
    return frozenset(re.sub(r"\.0{1,2}$", "", word) for word in _bare(text) if word[0].isdigit())


def share_found(wanted: Iterable[str], text: Iterable[str]) -> float:
    """The share of the distinct words in `wanted` that are in `text`; 0 when none is wanted."""
    target = set(wanted)
    return len(target & set(text)) / len(target) if target else 0.0


@lru_cache(maxsize=65_536)
def _polarity(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The stems within two content words of a negation of their clause, and all other stems."""
    negated: set[str] = set()
    plain: set[str] = set()
    for clause in re.split(r"[,;:.!?]| but ", text):
        left = 0
        for word in words(clause):
            if _NEGATOR.search(word):
                left = 2
            elif word not in STOP_WORDS:
                (negated if left > 0 else plain).add(_STEMMER.stemWord(word))
                left -= 1
    return frozenset(negated), frozenset(plain)


def denies(text: str) -> bool:
    """Whether a text has a negation in it."""
    return any(_NEGATOR.search(word) for word in words(text))


def contradicts(claim: str, sentence: str) -> bool:
    """Whether one of two sentences negates a word that the other one states."""
    (no, yes), (other_no, other_yes) = _polarity(claim), _polarity(sentence)
    return bool(no & (other_yes - other_no) or other_no & (yes - no))


def claims(answer: str) -> list[str]:
    """The sentences of `answer` that have a word in them; a marker that stands alone joins the sentence before it."""
    found: list[str] = []
    for sentence in sentences(answer):
        if words(without_citations(sentence)):
            found.append(sentence)
        elif found and cited_numbers(sentence):
            found[-1] += f" {sentence}"
    return found


def distinct(answer: str) -> list[str]:
    """The sentences of `claims`, each once: what is said again says nothing more.

    Said again is what has the same words and signs in the same order, but for words that only lead from one sentence
    to the next ("Indeed, the fee is due"). Of such sentences the first that cites counts.
    """
    told: dict[tuple[object, ...], str] = {}
    for sentence in statements(answer):
        key = _said(ITEM.sub(r"\g<text>", without_citations(sentence)))
        if key not in told or (cited_numbers(sentence) and not cited_numbers(told[key])):
            told[key] = sentence
    return list(told.values())


def statements(answer: str) -> list[str]:
    """The sentences of `claims`; a heading, a table's head, "You need:" or "Yes." without a citation joins the next.

    They state nothing by themselves; what they say still counts, in the sentence that they lead to.
    """
    found: list[str] = []
    lines = sentences(answer)
    before: list[str] = []
    for sentence, after in zip(lines, [*lines[1:], ""], strict=False):
        if not words(without_citations(sentence)):
            if found and not before and cited_numbers(sentence):
                found[-1] += f" {sentence}"
        elif after and not cited_numbers(sentence) and (_LEADING_TO.search(sentence) or _RULE.match(after)):
            before.append(sentence)
        else:
            found.append("\n".join([*before, sentence]))
            before = []
    return [*found, *before]


def _said(bare: str) -> tuple[object, ...]:
    """What a sentence says, for comparing: its words without those that only lead on, and its signs.

    One of hardly any word is compared by its characters.
    """
    plain = " ".join(bare.casefold().split()).rstrip(".!?:; ")
    found = [word for word in words(_LEADING.sub("", plain)) if word not in _LEADS_ON]
    return (tuple(found), tuple(_SIGN.findall(plain))) if len(found) >= _REPEATED else (plain,)
