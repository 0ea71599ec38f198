"""One small pure function per metric of an answer, each in [0, 1], or None where the metric does not apply.

It knows texts and a `support(claim, passage)` callable; it knows nothing of models, adapters, files or the gate.
Passages are numbered from 1, as the `[n]` markers in answers are. Two rules hold for every metric of what an answer
says: declining a question that cannot be answered is not scored (None), declining one that can be answered scores 0.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from finetune.wording import claims, content_words, contradicts, distinct, numbers, share_found, words
from store.answers import cited_numbers, declined, without_citations

Support = Callable[[str, str], float]
YES = 0.5
"""The support from which a passage counts as supporting a claim."""


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
