"""What a judge is asked of one answer, and that it may give no clear grade: a score that is not there (pure)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from finetune import metrics
from finetune.judge import Judge, Ungraded
from finetune.terse import answering

SUPPORTED = (
    "context_relevance",
    "citation_recall",
    "citation_precision",
    "source_attribution",
    "groundedness",
)
"""The metrics of what an answer says for which a judge is asked what the passages support."""
Found = TypeVar("Found")


class Graded:
    """Asks a judge about one answer; None, and noted in `missed`, where it gives no clear grade."""

    def __init__(self) -> None:
        self.missed = False

    def __call__(self, ask: Callable[[], Found]) -> Found | None:
        """What `ask` finds, None where it raises Ungraded."""
        try:
            return ask()
        except Ungraded:
            self.missed = True
            return None


def supported(
    question: str, text: str, passages: Sequence[str], judge: Judge, *, answerable: bool
) -> dict[str, float | None]:
    """The metrics of SUPPORTED; raises Ungraded where the judge cannot tell of any of them."""
    support = answering(question, judge.support)
    recall = metrics.citation_recall(text, passages, support, answerable=answerable)
    precision = metrics.citation_precision(text, passages, support, answerable=answerable)
    found = (
        metrics.context_relevance(text, passages, support, answerable=answerable),
        recall,
        precision,
        metrics.source_attribution(recall, precision),
        metrics.groundedness(text, passages, support, answerable=answerable),
    )
    return dict(zip(SUPPORTED, found, strict=True))
