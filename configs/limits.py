"""What settings may hold beyond their type: spans of time, cron fields, the metrics that may decide (pure)."""

from datetime import UTC, datetime
from typing import Annotated

from croniter import CroniterError, croniter
from pydantic import AfterValidator, BeforeValidator, Field

DECIDING = (
    *("source_attribution", "answer_accuracy", "groundedness", "decline_correct"),
    *("context_relevance", "citation_recall", "citation_precision", "right_citation"),
    *("step_completeness", "structure", "technical_terms", "clarity", "depth"),
)
"""What may be a primary of the gate (`finetune/gate.py`)."""


def _deciding(names: list[str]) -> list[str]:
    accepted = f"expected some of {', '.join(DECIDING)}"
    if not names:
        raise ValueError(f"no metric would decide, {accepted}")
    for place, name in enumerate(names):
        if name not in DECIDING:
            raise ValueError(f'"{name}" is no metric that may decide, {accepted}')
        if name in names[:place]:
            raise ValueError(f'"{name}" is named twice, expected each once')
    return names


def _five_fields(cron: str) -> str:
    try:
        croniter(cron, datetime.now(UTC)).get_next(datetime)
    except (CroniterError, ValueError, KeyError) as error:
        raise ValueError(f'expected a moment to come in cron fields, such as "0 2 * * *" ({error})') from error
    if len(cron.split()) != 5:
        raise ValueError('expected the five fields of cron, such as "0 2 * * *"')
    return cron


def _switch(value: object) -> object:
    """YAML reads on, off and yes as true and false."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


Minutes = Annotated[float, Field(le=525_600)]
Hours = Annotated[float, Field(le=876_000)]
Days = Annotated[float, Field(le=36_500)]
"""Spans of time end after a year of minutes, or a century: the calendar of Python must hold what they are added to."""
Cron = Annotated[str, AfterValidator(_five_fields)]
Primary = Annotated[list[str], AfterValidator(_deciding)]
Switch = Annotated[str, BeforeValidator(_switch), Field(pattern="^(auto|on|off)$")]
