"""A judge whose every score is looked at: a number in [0, 1], or an error that says what it was."""

from collections.abc import Sequence

from finetune.judge import Judge
from store.errors import Invalid


class Checked:
    """Any judge; raises Invalid where it gives no score in [0, 1], such as NaN or a logit."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.name, self.family = judge.name, judge.family

    def support(self, claim: str, passage: str) -> float:
        """How well `passage` supports `claim`."""
        return self._score("support", self._judge.support(claim, passage))

    def accuracy(self, question: str, answer: str, references: Sequence[str]) -> float:
        """How right `answer` is."""
        return self._score("accuracy", self._judge.accuracy(question, answer, references))

    def relevance(self, question: str, passages: Sequence[str]) -> float:
        """How well the best of `passages` fits `question`."""
        return self._score("relevance", self._judge.relevance(question, passages))

    def _score(self, metric: str, value: float) -> float:
        if not 0 <= value <= 1:
            raise Invalid(f"the judge {self.name} gave the {metric} {value}, expected a number from 0 to 1.")
        return value
