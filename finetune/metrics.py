"""One small pure function per metric of an answer, each in [0, 1], or None where the metric does not apply.

It knows texts and a `support(claim, passage)` callable; it knows nothing of models, adapters, files or the gate.
Passages are numbered from 1, as the `[n]` markers in answers are. Two rules hold for every metric of what an answer
says: declining a question that cannot be answered is not scored (None), declining one that can be answered scores 0.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import Stemmer

from store.answers import cited_numbers, declined, sentences, without_citations

Support = Callable[[str, str], float]
YES = 0.5
"""The support from which a passage counts as supporting a claim."""

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
_NEGATOR = re.compile(r"^(?:not|no|never|none|neither|nor|without|cannot|nothing|nobody)$|n't$")
ITEM = re.compile(r"^[ \t]*(?:(?P<number>\d{1,3}[.)])|[-*•])[ \t]+(?P<text>\S.*)$", re.MULTILINE)


def words(text: str) -> list[str]:
    """The lower-case words and numbers of `text`; number words become digits, thousands separators go."""
    # One word a line, so that each replacement is one call for all of them.
    lines = "\n".join([*_WORD.findall(text), ""]).replace("’", "'").replace(",", "").lower().replace("'s\n", "\n")
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
    return frozenset(re.sub(r"\.0+$", "", word) for word in _bare(text) if word[0].isdigit())


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
    for sentence in claims(answer):
        key = _said(ITEM.sub(r"\g<text>", without_citations(sentence)))
        if key not in told or (cited_numbers(sentence) and not cited_numbers(told[key])):
            told[key] = sentence
    return list(told.values())


def _said(bare: str) -> tuple[object, ...]:
    """What a sentence says, for comparing: its words without those that only lead on, and its signs.

    One of hardly any word is compared by its characters.
    """
    plain = " ".join(bare.casefold().split()).rstrip(".!?:; ")
    found = [word for word in words(_LEADING.sub("", plain)) if word not in _LEADS_ON]
    return (tuple(found), tuple(_SIGN.findall(plain))) if len(found) >= _REPEATED else (plain,)


def wordless(answer: str) -> bool:
    """Whether an answer has no word in it, as where it is empty or a marker alone: that declines nothing."""
    return not words(without_citations(answer))


def _settled(answer: str, answerable: bool) -> tuple[bool, float | None]:
    """Whether declining settles the score, and the score: None when rightly declined, 0 when wrongly."""
    return declined(answer) and not wordless(answer), (0.0 if answerable else None)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _supported(sentence: str, numbers_cited: Sequence[int], passages: Sequence[str], support: Support) -> bool:
    """Whether the cited passages, concatenated, support the sentence; a number out of range never does."""
    if not numbers_cited or any(not 1 <= n <= len(passages) for n in numbers_cited):
        return False
    return support(without_citations(sentence), "\n".join(passages[n - 1] for n in numbers_cited)) >= YES


def citation_recall(answer: str, passages: Sequence[str], support: Support, *, answerable: bool = True) -> float | None:
    """Share of all sentences that their cited passages, concatenated, support (ALCE, Gao et al. 2023, section 3.3).

    One that is said twice counts once. A sentence without a citation, or with one out of range, is 0. Without passages
    only invented citations count.
    """
    settled, score = _settled(answer, answerable)
    if settled or (not passages and not cited_numbers(answer)):
        return score if settled else None
    return _mean([float(_supported(s, cited_numbers(s), passages, support)) for s in distinct(answer)])


def _good_citations(sentence: str, passages: Sequence[str], support: Support) -> list[float]:
    cited = cited_numbers(sentence)
    if not _supported(sentence, cited, passages, support):
        return [0.0] * len(cited)
    if len(cited) == 1:
        return [1.0]
    return [
        float(
            _supported(sentence, [n], passages, support)
            or not _supported(sentence, [other for other in cited if other != n], passages, support)
        )
        for n in cited
    ]


def citation_precision(
    answer: str, passages: Sequence[str], support: Support, *, answerable: bool = True
) -> float | None:
    """Share of citations whose sentence is supported and that support it alone or are needed (ALCE, section 3.3)."""
    settled, score = _settled(answer, answerable)
    if settled or (not passages and not cited_numbers(answer)):
        return score if settled else None
    return _mean([good for sentence in distinct(answer) for good in _good_citations(sentence, passages, support)])


def source_attribution(recall: float | None, precision: float | None) -> float | None:
    """Harmonic mean (F1) of citation recall and citation precision."""
    if recall is None or precision is None:
        return None
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def right_citation(answer: str, gold: int | None, *, answerable: bool = True) -> float | None:
    """1 when the answer cites the passage known to answer, else 0; None when none is known."""
    return None if gold is None or not answerable else float(gold in cited_numbers(answer))


def context_relevance(
    answer: str, passages: Sequence[str], support: Support, *, answerable: bool = True
) -> float | None:
    """Does the answer use what was retrieved: share of its sentences that some single passage supports."""
    settled, score = _settled(answer, answerable)
    if settled or not passages:
        return score if settled else None
    bare = [without_citations(sentence) for sentence in distinct(answer)]
    return _mean([float(any(support(s, passage) >= YES for passage in passages)) for s in bare])


def groundedness(answer: str, passages: Sequence[str], support: Support, *, answerable: bool = True) -> float | None:
    """Mean support of the answer's sentences by the best single passage: graded, so that small changes show."""
    settled, score = _settled(answer, answerable)
    if settled or not passages:
        return score if settled else None
    bare = [without_citations(sentence) for sentence in distinct(answer)]
    return _mean([max(support(s, passage) for passage in passages) for s in bare])


def passage_relevance(question: str, passages: Sequence[str]) -> float:
    """Do the passages fit the question: mean of tf / (tf + 1/2) over its content words, for the best single passage.

    tf is how often the passage has the word; the saturation is BM25's (Robertson et al. 1994) without lengths or
    rarity. 0 without passages.
    """
    wanted = set(content_words(question))
    counts = [Counter(content_words(passage)) for passage in passages]
    return max((_mean([count[w] / (count[w] + 0.5) for w in wanted]) for count in counts), default=0.0)


def _recall(answer: str, reference: str, echoed: set[str]) -> float:
    """Share of the reference's words in the answer's best stretch; words that the question gave away count a quarter.

    A stretch is three sentences, or twice as many as the reference has: an answer that pours out everything it was
    given does not answer by containing the words somewhere.
    """
    wanted = {word: 0.25 if word in echoed else 1.0 for word in content_words(reference)}
    parts = [set(content_words(sentence)) for sentence in claims(answer)]
    size = max(3, 2 * len(claims(reference)))
    stretches = (set().union(*parts[i : i + size]) for i in range(max(1, len(parts) - size + 1)))
    best = max(sum(weight for word, weight in wanted.items() if word in stretch) for stretch in stretches)
    return best / sum(wanted.values()) if wanted else 0.0


def _accuracy(answer: str, reference: str, echoed: set[str]) -> float:
    score = _recall(answer, reference, echoed)
    if numbers(reference) - numbers(answer):
        score /= 2
    for stated in claims(reference):
        best = max(claims(answer), key=lambda s: share_found(content_words(stated), content_words(s)), default="")
        if contradicts(without_citations(stated), without_citations(best)):
            return score / 2
    return score


def answer_accuracy(
    answer: str, references: Sequence[str], *, question: str = "", answerable: bool = True
) -> float | None:
    """Recall of the reference's content words, best over the references (as judged on EVOUNA, Wang et al. 2023).

    Recall, not F1: F1 punishes length and ranks systems wrongly. A number of the reference that is missing halves
    the score, and so does a negation that differs in the best matching sentence. An unanswerable question scores 1
    when declined, else 0; an answerable one scores 0 when declined, and None when there is no reference.
    """
    if not answerable or declined(answer):
        return float(declined(answer) and not answerable and not wordless(answer))
    echoed = set(content_words(question))
    return max((_accuracy(without_citations(answer), reference, echoed) for reference in references), default=None)


def perplexity(logprobs: Sequence[float]) -> float | None:
    """exp of the mean negative natural-log probability per token, at least 1; None without tokens."""
    return math.exp(-sum(logprobs) / len(logprobs)) if logprobs else None
