"""People's labels of held-out answers in a report: what the judge got wrong on them corrects all cases (pure).

The values of `finetune/ppi.py` replace the judge's accuracy, so that the gate's means and intervals, over any task and
by document, are those of prediction-powered inference. Labelled cases must be a random sample of the cases.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from finetune.evaluate import ALL, Report, Summary, summarise
from finetune.ppi import rectified

METRIC = "answer_accuracy"
Said = Mapping[tuple[str, str], bool]
LEAST = 5
"""Of a part of the cases, such as a task, with fewer labels than this the labels tell nothing by themselves."""


@dataclass(frozen=True)
class ByPeople:
    """An evaluation whose accuracies are the judge's corrected by people's labels `said` of so many cases.

    `anchor` is None where too few of its answers are labelled, or there is none.
    """

    labelled: int
    said: Said
    candidate: Report
    serving: Report
    anchor: Report | None


def labelled(report: Report, said: Said) -> int:
    """How many of a report's answers people labelled."""
    return sum((case.case_id, case.answer) in said for case in report.cases)


def corrected(report: Report, said: Said) -> Report:
    """The report with corrected accuracies, which may leave [0, 1]; `said` is by case and answer text."""
    places = [n for n, case in enumerate(report.cases) if case.scores.get(METRIC) is not None]
    judged = np.array([report.cases[n].scores[METRIC] for n in places], float)
    told = [said.get((report.cases[n].case_id, report.cases[n].answer)) for n in places]
    values = rectified(judged, np.array([np.nan if value is None else float(value) for value in told]))
    cases = list(report.cases)
    for n, value in zip(places, values, strict=True):
        cases[n] = replace(cases[n], scores={**cases[n].scores, METRIC: float(value)})
    return replace(report, cases=tuple(cases))


def summaries(report: Report, by_people: Report, said: Said) -> tuple[Summary, ...]:
    """Accuracy as `corrected` made it, over all cases and over each task of which people labelled at least LEAST."""
    tasks = [case.task for case in report.cases if (case.case_id, case.answer) in said]
    human = {one.task: one.human_share for one in report.summaries if one.metric == METRIC}
    cases = [replace(case, scores={METRIC: case.scores.get(METRIC)}, loss=None) for case in by_people.cases]
    found = summarise(cases, {case.case_id: False for case in cases})
    return tuple(
        replace(one, human_share=human.get(one.task, 0.0))
        for one in found
        if (len(tasks) if one.task == ALL else tasks.count(one.task)) >= LEAST
    )
