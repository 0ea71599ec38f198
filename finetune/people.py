"""People's labels of held-out answers in a report: what the judge got wrong on them corrects all cases (pure).

The values of `finetune/ppi.py` replace the judge's accuracy, so that the gate's means and intervals, over any task and
by document, are those of prediction-powered inference. Labelled cases must be a random sample of the cases.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from finetune.evaluate import Report
from finetune.ppi import rectified

METRIC = "answer_accuracy"
Said = Mapping[tuple[str, str], bool]


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
