"""Judges that are plugged in by setting: an NLI model, a cross-encoder, a chat model.

None counts before `finetune/admission.py` has tried it; on what it may not count for, the fitted judge goes on. It
knows no adapter; the model under test never judges itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from finetune.admission import Admission, Labelled, admission, clearly_blind, told_by
from finetune.chat_judge import ChatJudge
from finetune.checked import Checked
from finetune.fitted import FittedJudge
from finetune.itself import is_tested
from finetune.judge import Judge
from finetune.libraries import library
from finetune.perturbations import Honest
from store.errors import Invalid

FITTED = "fitted"
LIMITS = ("min_suite", "min_balanced", "min_labels")


class Plugged(Judge, Protocol):
    """A judge that scores some of the metrics."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Which of support, accuracy and relevance it scores."""
        ...


class _Pairs:
    """A sentence-transformers cross-encoder that scores pairs of texts, each once."""

    def __init__(self, folder: str) -> None:
        """Load it; raises Invalid when it cannot be."""
        from sentence_transformers import CrossEncoder  # noqa: PLC0415, seconds that only this judge needs

        with library(f"the judge {folder} cannot be loaded", "judge.model"):
            self.model = CrossEncoder(folder, device="cpu")
        self.name = folder.rstrip("/").rsplit("/", 1)[-1]
        self._kept: dict[tuple[str, str], list[float]] = {}

    def outputs(self, first: str, second: str) -> list[float]:
        """The model's raw outputs for a pair; raises Invalid when it cannot read it."""
        pair = (first, second)
        if pair not in self._kept:
            with library(f"the judge {self.name} could not be asked", "judge.model"):
                found = self.model.predict([pair], convert_to_numpy=True, show_progress_bar=False, activation_fn=_raw)
            self._kept[pair] = [float(value) for value in np.atleast_1d(np.asarray(found[0]))]
        return self._kept[pair]


def _raw(outputs: Any) -> Any:
    return outputs


class NliJudge(FittedJudge):
    """Support as the probability that the passage entails the claim (Honovich et al. 2022, TRUE); accuracy likewise."""

    family = "nli"
    metrics = ("support", "accuracy")

    def __init__(self, folder: str) -> None:
        """Load a cross-encoder with a label named entailment; raises Invalid for any other."""
        super().__init__()
        self._pairs = _Pairs(folder)
        labels = {str(name).lower(): int(place) for place, name in self._pairs.model.config.id2label.items()}
        if "entailment" not in labels:
            raise Invalid(f"the judge {folder} has the labels {', '.join(labels)}, expected one called entailment.")
        self._entailed = labels["entailment"]

    @property
    def name(self) -> str:
        """`nli:` and the model's name."""
        return f"nli:{self._pairs.name}"

    def support(self, claim: str, passage: str) -> float:
        """The probability of entailment."""
        if not claim.strip() or not passage.strip():
            return 0.0
        values = self._pairs.outputs(passage, claim)
        top = max(values)
        odds = [math.exp(value - top) for value in values]
        return odds[self._entailed] / sum(odds)

    def agrees(self, question: str, answer: str, right: Sequence[str]) -> float:
        """How well the answer, to its question, entails the best reference."""
        return max(self.support(f"{question} {reference}", f"{question} {answer}") for reference in right)


class CrossEncoderJudge(FittedJudge):
    """Support and relevance by a cross-encoder with one output, the logit that a passage fits a text."""

    family = "cross-encoder"
    metrics = ("support", "relevance")

    def __init__(self, folder: str) -> None:
        """Load it; raises Invalid for a model with several outputs."""
        super().__init__()
        self._pairs = _Pairs(folder)
        if (outputs := len(self._pairs.outputs("a", "b"))) != 1:
            raise Invalid(f"the judge {folder} has {outputs} outputs, expected one.", "Set judge.kind to nli.")

    @property
    def name(self) -> str:
        """`cross-encoder:` and the model's name."""
        return f"cross-encoder:{self._pairs.name}"

    def support(self, claim: str, passage: str) -> float:
        """The probability that the passage fits the claim."""
        return self._fits(claim, passage)

    def relevance(self, question: str, passages: Sequence[str]) -> float:
        """The probability that the best passage fits the question."""
        return max((self._fits(question, passage) for passage in passages), default=0.0)

    def _fits(self, text: str, passage: str) -> float:
        if not text.strip() or not passage.strip():
            return 0.0
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, self._pairs.outputs(text, passage)[0]))))


class Counted:
    """A plugged-in judge on the metrics that it may count on, the fitted one on the others."""

    def __init__(self, judge: Judge, metrics: Sequence[str], other: FittedJudge) -> None:
        self._judge, self._metrics, self._other = Checked(judge), tuple(metrics), other
        self.family = judge.family

    @property
    def name(self) -> str:
        """Both judges, and for what the first counts."""
        return f"{self._judge.name} ({', '.join(self._metrics)}), {self._other.name}"

    def _of(self, metric: str) -> Judge:
        return self._judge if metric in self._metrics else self._other

    def support(self, claim: str, passage: str) -> float:
        """How well `passage` supports `claim`."""
        return self._of("support").support(claim, passage)

    def accuracy(self, question: str, answer: str, references: Sequence[str]) -> float:
        """How right `answer` is."""
        return self._of("accuracy").accuracy(question, answer, references)

    def relevance(self, question: str, passages: Sequence[str]) -> float:
        """How well the best of `passages` fits `question`."""
        return self._of("relevance").relevance(question, passages)

    def enough(self, question: str, passages: Sequence[str]) -> float:
        """The probability that one of the passages holds the answer, as the fitted judge has it."""
        return self._other.enough(question, passages)


def check(spec: Mapping[str, Any], tested: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Refuse a judge without a model, and one that is the model under test: `tested` names it and its addresses.

    `environment` may name an address too, where the options name none.
    """
    if spec["kind"] == FITTED:
        return
    model = str(spec["model"]).strip()
    if not model:
        raise Invalid(f"judge.kind is {spec['kind']}, and judge.model names no model.", "Set judge.model.")
    if is_tested(model, spec["options"], tested, environment):
        raise Invalid(
            f"judge.model {model} is the model that is judged: it would approve of itself.", "Name another model."
        )


def made(spec: Mapping[str, Any]) -> Plugged | None:
    """The judge that the settings name, None for the fitted one; raises Invalid when it cannot be had."""
    if spec["kind"] == FITTED:
        return None
    if spec["kind"] == "nli":
        return NliJudge(spec["model"])
    if spec["kind"] == "cross-encoder":
        return CrossEncoderJudge(spec["model"])
    return ChatJudge.named(spec["model"], spec["options"])


def admitted(
    spec: Mapping[str, Any], honest: Sequence[Honest], labels: Sequence[Labelled], *, fitted: FittedJudge | None = None
) -> tuple[Judge, Admission]:
    """The judge that an evaluation uses, and how the configured one did when it was tried.

    `fitted` is the default judge, where it is to read meaning. A judge that cannot be had or asked leaves it in charge,
    and the reasons say why. What the fitted judge is blind to stays where it goes on scoring.
    """
    limits = {name: spec[name] for name in LIMITS}
    fitted = fitted or FittedJudge()
    base = admission(fitted, ("support", "accuracy", "relevance"), honest, labels, **limits, fallback=True)
    blind = clearly_blind(base.suite, spec["min_suite"])
    try:
        judge = made(spec)
        if judge is None:
            return fitted, replace(base, counts=(), reasons=blind, blind=blind)
        found = admission(judge, judge.metrics, honest, labels, **limits)
    except Invalid as error:
        return fitted, Admission(f"{spec['kind']}:{spec['model']}", (), (), (), (error.message,), blind)
    if not found.counts:
        return fitted, replace(found, blind=blind)
    left = [one for one in base.suite if told_by(one) not in found.counts]
    return Counted(judge, found.counts, fitted), replace(found, blind=clearly_blind(left, spec["min_suite"]))
