"""Every primary and guardrail of a comparison -> one verdict with its reasons, and what is still needed (pure)."""

from collections.abc import Sequence

from finetune.comparison import SERVING, Delta, Rules, Verdict, holm
from finetune.needed import about, least_documents, more_cases, most_of, needed_of


def _no_gain(primaries: Sequence[Delta], deltas: tuple[Delta, ...], rules: Rules) -> Verdict:
    """No gain is shown over all that it is held against: reject, unless what is not shown has a positive estimate."""
    said = tuple(delta.sentence for delta in primaries)
    rising = [one for one in primaries if one.difference > 0 and not one.passed]
    if not rising:
        better = {delta.metric for delta in primaries if delta.passed}
        first = "Better than what serves, but not than the anchor." if better else "Nothing got better."
        return Verdict("reject", (first, *said), deltas, None)
    lead = rising[0]
    beside = [one for one in deltas if one.role == "primary" and one.against == lead.against]
    confidence = holm(rules.confidence, len(beside), beside.index(lead))
    if (least := least_documents(confidence)) > lead.documents:
        first = f"A gain is possible but not shown; cases of {lead.documents} documents show none, {least} are needed."
        return Verdict("not_enough_evidence", (first, *said), deltas, None)
    least = rules.min_cases if lead.labels is None else rules.min_labels
    needed, of = more_cases(lead, confidence, effect=lead.difference, least=least), needed_of(lead)
    first = f"A gain is possible but not shown; {about(needed, of)} would show one of this size."
    return Verdict("not_enough_evidence", (first, *said), deltas, needed, of)


def _short(deltas: Sequence[Delta], metrics: set[str]) -> list[Delta]:
    return [d for d in deltas if d.role == "primary" and d.against != SERVING and d.metric in metrics]


def verdict(
    deltas: tuple[Delta, ...], rules: Rules, *, better: str = "Better where it was trained, no worse elsewhere."
) -> Verdict:
    """Promote when a primary gained and every guardrail holds; reject a loss; else say how many more cases are needed.

    `better` is the first sentence of a promotion.
    """
    primaries = [delta for delta in deltas if delta.role == "primary" and delta.against == SERVING]
    guards = [delta for delta in deltas if delta.role == "guardrail"]
    failed = [delta.sentence for delta in [*guards, *primaries] if delta.passed is False]
    # What is better than what serves must be better than the anchor too, where there is one.
    short = {d.metric for d in deltas if d.role == "primary" and d.against != SERVING and not d.passed}
    gained = [delta.sentence for delta in primaries if delta.passed and delta.metric not in short]
    open_ = [delta for delta in guards if delta.passed is None]
    if failed:
        return Verdict("reject", ("Something got worse.", *failed), deltas, None)
    if not gained:
        return _no_gain([*primaries, *_short(deltas, short)], deltas, rules)
    if open_:
        needed, task = most_of(open_, rules.confidence)
        first = f"Better, but a guardrail is still open; {about(needed, task)} would probably settle it."
        said = (first, *gained, *(delta.sentence for delta in open_))
        return Verdict("not_enough_evidence", said, deltas, needed, task)
    return Verdict("promote", (better, *gained), deltas, None)
