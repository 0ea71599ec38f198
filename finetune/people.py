"""People's labels of held-out answers in a report: what the judge got wrong on them corrects all cases (pure).

The values of `finetune/ppi.py` replace the judge's accuracy, so that the gate's means and intervals, over any task and
by document, are those of prediction-powered inference. The planned tasks' cases and the others are corrected by their
own labels only, which must be of a random sample of them.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from finetune.evaluate import ALL, CaseScore, Report, Summary, summarise
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


def at_look(number: int, confidence: float) -> float:
    """The confidence of the look of this number at growing labels; 0 is the judge's word alone.

    The first is allowed half of the error, each further one half as much as the one before: all together stay below it.
    """
    return 1 - (1 - confidence) / float(2**number)


@dataclass(frozen=True)
class Heard:
    """Two reports with what people said in them: labelled cases, and those where labels decide.

    Of each labelled case `labelled` has how much more right people found the candidate's answer: -1, 0 or 1. `judged`
    are the same two as the judge left them.
    """

    candidate: Report
    other: Report
    labelled: Mapping[str, int]
    decided: frozenset[str]
    judged: tuple[Report, Report]

    def labels(self, cases: Iterable[str]) -> dict[str, int] | None:
        """Those of these cases that people labelled; None where labels decide about none of them."""
        found = frozenset(cases)
        if not found & self.decided:
            return None
        return {name: value for name, value in self.labelled.items() if name in found}

    def by_judge(self, cases: Iterable[str]) -> list[tuple[CaseScore, CaseScore]]:
        """Both scores of these cases as the judge left them."""
        mine, theirs = ({case.case_id: case for case in report.cases} for report in self.judged)
        return [(mine[name], theirs[name]) for name in cases]


def heard(candidate: Report, other: Report, said: Said, *, planned: Collection[str], least: int) -> Heard:
    """The two reports corrected by labels, once `least` cases are labelled on both sides.

    Of the planned tasks' cases and of the others, those with as few labels of their own keep the judge's word; among
    the planned ones labels decide even then, so that too few of them show no gain.
    """
    known = labelled(candidate, said) & labelled(other, said)
    if len(known) < least:
        return Heard(candidate, other, {}, frozenset(), (candidate, other))
    mine = frozenset(case.case_id for case in candidate.cases if case.task in planned)
    groups = [mine, frozenset(case.case_id for case in candidate.cases) - mine]
    enough = [group for group in groups if len(group & known) >= least]
    kept = {key: value for key, value in said.items() if key[0] in known}
    sides = (candidate, other)
    for group in enough:
        sides = (corrected(sides[0], kept, group), corrected(sides[1], kept, group))
    right, theirs = ({case.case_id: said.get((case.case_id, case.answer)) for case in one.cases} for one in sides)
    more = {name: int(bool(right[name])) - int(bool(theirs[name])) for name in sorted(known)}
    return Heard(*sides, more, mine.union(*enough), (candidate, other))


def labelled(report: Report, said: Said) -> frozenset[str]:
    """The cases of which people labelled a report's answer."""
    rated = (case for case in report.cases if case.scores.get(METRIC) is not None)
    return frozenset(case.case_id for case in rated if (case.case_id, case.answer) in said)


def corrected(report: Report, said: Said, group: Collection[str] | None = None) -> Report:
    """The report with corrected accuracies, which may leave [0, 1]; `said` is by case and answer text.

    With a `group` only its cases are corrected, by its labels alone.
    """
    among = [n for n, case in enumerate(report.cases) if group is None or case.case_id in group]
    places = [n for n in among if report.cases[n].scores.get(METRIC) is not None]
    judged = np.array([report.cases[n].scores[METRIC] for n in places], float)
    told = [said.get((report.cases[n].case_id, report.cases[n].answer)) for n in places]
    values = rectified(judged, np.array([np.nan if value is None else float(value) for value in told]))
    cases = list(report.cases)
    for n, value in zip(places, values, strict=True):
        cases[n] = replace(cases[n], scores={**cases[n].scores, METRIC: float(value)})
    return replace(report, cases=tuple(cases))


def summaries(report: Report, by_people: Report, said: Said) -> tuple[Summary, ...]:
    """Accuracy as `corrected` made it, over all cases and over each task of which people labelled at least LEAST."""
    pairs = zip(report.cases, by_people.cases, strict=True)
    # Cases of a part that has too few labels are the very same in both: there the judge's word stands.
    tasks = [case.task for case, told in pairs if told is not case and (case.case_id, case.answer) in said]
    human = {one.task: one.human_share for one in report.summaries if one.metric == METRIC}
    cases = [replace(case, scores={METRIC: case.scores.get(METRIC)}, loss=None) for case in by_people.cases]
    found = summarise(cases, {case.case_id: False for case in cases})
    return tuple(
        replace(one, human_share=human.get(one.task, 0.0))
        for one in found
        if (len(tasks) if one.task == ALL else tasks.count(one.task)) >= LEAST
    )
