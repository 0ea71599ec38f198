"""The judge that the gate uses: cheap signals weighed by points that were fitted to what people said.

It needs no network and no GPU; with an embedding it also reads meaning. Its points are in `judge_weights.json`, written
by `python -m bench.judge --fit`, which names the labels and their licences. It knows nothing of adapters or the gate.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from finetune import enough, scorecard, signals
from finetune.accuracy import DIRECTIONS as RIGHT
from finetune.accuracy import right_signals, says_otherwise
from finetune.denials import contradicted
from finetune.meaning import Meaning, Read
from finetune.metrics import answer_accuracy
from store.answers import declined

States = Callable[[Sequence[tuple[str, str]]], scorecard.Floats]
"""A language model's states of questions over passages, one row each (`bot/reading.py`)."""
OTHERWISE = 0.5
"""What remains of a score where a text has another number, value or negation: no longer a yes, however alike it is."""
KEPT = 4_096
"""As many read questions over passages are kept: both sides of a gate are asked the same ones."""


class FittedJudge:
    """The gate's default judge: a scorecard each for support, accuracy, relevance and whether the context is enough.

    `bench/judge.py` prints how far each agrees with people on data that it was not fitted on; `docs/quality.md` has the
    table.
    """

    family = "fitted"

    def __init__(self, read: Read | None = None, states: States | None = None) -> None:
        """`read` gives unit vectors of texts and of their words; without it only spelling is compared.

        `states` reads a question over a passage, which tells better whether it holds the answer; it needs `read` too.
        """
        self._meaning = Meaning(read) if read is not None else None
        self._states = states if read is not None else None
        self._held = lru_cache(KEPT)(self._probed)

    @property
    def name(self) -> str:
        """`fitted`, or `fitted+meaning` where it has an embedding."""
        return "fitted" if self._meaning is None else "fitted+meaning"

    def _card(self, part: str, directions: Mapping[str, int], more: Mapping[str, int]) -> scorecard.Scorecard:
        names = (*directions, *more) if self._meaning is not None else tuple(directions)
        return scorecard.shipped(part if self._meaning is None else f"{part}+meaning", names)

    def support(self, claim: str, passage: str) -> float:
        """The probability that people find the claim supported by the passage; 0 for an empty one.

        Half of it where the passage contradicts the claim, however many words they share.
        """
        found = signals.support_signals(claim, passage)
        if not any(found):
            return 0.0
        if self._meaning is not None:
            found = signals.meant_signals(claim, passage, self._meaning)
        borne_out = self._card("support", signals.DIRECTIONS, signals.MEANING).probability(found)
        return OTHERWISE * borne_out if contradicted(claim, passage) else borne_out

    def accuracy(self, question: str, answer: str, references: Sequence[str]) -> float:
        """The probability that people find the answer right, given right ones; best over the references.

        References that are empty or all decline say that declining is right.
        """
        right = [reference for reference in references if not declined(reference)]
        if not right or not answer.strip() or declined(answer):
            return answer_accuracy(answer, right, question=question, answerable=bool(right)) or 0.0
        return self.agrees(question, answer, right)

    def agrees(self, question: str, answer: str, right: Sequence[str]) -> float:
        """How right an answer that says something is, best over right ones; what a judge of another kind replaces.

        One that says otherwise is a wrong one, however many words it shares.
        """
        return max(self._agrees(question, answer, reference) for reference in right)

    def _agrees(self, question: str, answer: str, reference: str) -> float:
        found = right_signals(question, answer, reference)
        if not any(found):
            return 0.0
        right = scorecard.shipped("accuracy", tuple(RIGHT)).probability(found)
        return OTHERWISE * right if says_otherwise(question, answer, reference) else right

    def relevance(self, question: str, passages: Sequence[str]) -> float:
        """How well people would rate the best of the passages for the question, in [0, 1]; 0 without passages."""
        return self._context("relevance", question, passages)

    def enough(self, question: str, passages: Sequence[str]) -> float:
        """The probability that one of the passages holds the answer; 0 without passages.

        Where states are read, they are of the passage that seems to hold it by words and meaning: reading takes time.
        """
        found = [self._context("enough", question, [passage]) for passage in passages]
        if not any(found) or self._states is None or self._meaning is None:
            return max(found, default=0.0)
        best = passages[found.index(max(found))]
        signals_ = (*enough.meant_signals(question, best, self._meaning), self._held(question, best))
        names = (*enough.DIRECTIONS, *enough.MEANING, *enough.READ)
        return scorecard.shipped("enough+states", names).probability(signals_)

    def _probed(self, question: str, passage: str) -> float:
        assert self._states is not None
        return float(enough.shipped_probe().probability(self._states([(question, passage)]))[0])

    def _context(self, part: str, question: str, passages: Sequence[str]) -> float:
        card = self._card(part, enough.DIRECTIONS, enough.MEANING)
        found = [
            enough.enough_signals(question, passage)
            if self._meaning is None
            else enough.meant_signals(question, passage, self._meaning)
            for passage in passages
        ]
        return max((card.probability(one) if any(one) else 0.0 for one in found), default=0.0)
