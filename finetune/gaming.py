"""What an answer does to look good without being good: copying, length, citing everything (pure); never goals."""

from collections.abc import Sequence

from finetune.metrics import claims, words
from store.answers import cited_numbers, without_citations


def verbatim_share(answer: str, passages: Sequence[str], *, size: int = 8) -> float:
    """Share of the answer's words inside runs of at least `size` words copied from one passage: a guard, not a goal."""
    said = words(without_citations(answer))
    sources = [words(passage) for passage in passages]
    runs = {tuple(source[i : i + size]) for source in sources for i in range(len(source) - size + 1)}
    starts = [i for i in range(len(said) - size + 1) if tuple(said[i : i + size]) in runs]
    return len({i + k for i in starts for k in range(size)}) / len(said) if said else 0.0


def concision(answer: str, references: Sequence[str], *, free: int = 60) -> float:
    """1 up to twice the longest reference's words, at least `free`; beyond, that length over the answer's."""
    said = len(words(without_citations(answer)))
    longest = max((len(words(without_citations(reference))) for reference in references), default=0)
    return min(1.0, max(free, 2 * longest) / said) if said else 1.0


def selective_citing(answer: str, passages: Sequence[str]) -> float | None:
    """Share of sentences that do not cite every passage shown; None where fewer than two are."""
    cited = [set(cited_numbers(sentence)) for sentence in claims(answer)]
    return 1 - sum(len(one) >= len(passages) for one in cited) / len(cited) if len(passages) > 1 and cited else None


def length_ratio(answer: str, references: Sequence[str]) -> float | None:
    """Shorter over longer word count of answer and the reference closest in length; 1 is the same length."""
    said = len(words(without_citations(answer)))
    lengths = [len(words(without_citations(reference))) for reference in references]
    return max((min(said, n) / max(said, n) for n in lengths if said or n), default=None)
