"""What an answer does to look good without being good: copying, length, citing everything (pure); never goals."""

from collections.abc import Sequence

from finetune.wording import content_words, distinct, statements, words
from store.answers import cited_numbers, declined, without_citations


def verbatim_share(answer: str, passages: Sequence[str], *, size: int = 8) -> float:
    """Share of the answer's words inside runs of at least `size` words copied from one passage: a guard, not a goal."""
    said = words(without_citations(answer))
    sources = [words(passage) for passage in passages]
    runs = {tuple(source[i : i + size]) for source in sources for i in range(len(source) - size + 1)}
    starts = [i for i in range(len(said) - size + 1) if tuple(said[i : i + size]) in runs]
    return len({i + k for i in starts for k in range(size)}) / len(said) if said else 0.0


def concision(answer: str, references: Sequence[str], *, question: str = "", free: int = 60) -> float:
    """1 up to twice the longest reference's words, at least `free`; beyond, that length over the answer's.

    Times the share of its sentences that it had not said before, and of those that are to the point: with a question,
    one that has no word of content of it or of a reference is padding, however well it is cited. A decline is none.
    """
    said, parts = len(words(without_citations(answer))), statements(answer)
    longest = max((len(words(without_citations(reference))) for reference in references), default=0)
    fresh = len(distinct(answer)) / len(parts) if parts else 1.0
    fresh *= _to_the_point(parts, [question, *references]) if question and not declined(answer) else 1.0
    return fresh * min(1.0, max(free, 2 * longest) / said) if said else 1.0


def _to_the_point(parts: Sequence[str], texts: Sequence[str]) -> float:
    asked = {word for text in texts for word in content_words(text)}
    return sum(bool(asked & set(content_words(part))) for part in parts) / len(parts) if parts else 1.0


def selective_citing(answer: str, passages: Sequence[str]) -> float | None:
    """How few of the passages shown a sentence cites, in the mean: 1 for one or none, 0 for all, even steps between.

    None where fewer than two are shown.
    """
    cited = [set(cited_numbers(sentence)) for sentence in distinct(answer)]
    if len(passages) < 2 or not cited:
        return None
    return 1 - sum(min(1.0, max(0, len(one) - 1) / (len(passages) - 1)) for one in cited) / len(cited)


def length_ratio(answer: str, references: Sequence[str]) -> float | None:
    """Shorter over longer word count of answer and the reference closest in length; 1 is the same length."""
    said = len(words(without_citations(answer)))
    lengths = [len(words(without_citations(reference))) for reference in references]
    return max((min(said, n) / max(said, n) for n in lengths if said or n), default=None)
