"""Claims about judges that break: whatever they raise or say that is no score, the fitted judge goes on."""

from pathlib import Path

import pytest

from finetune import judges
from finetune.admission import admission
from finetune.checked import Checked
from finetune.fitted import FittedJudge
from finetune.judges import Counted
from finetune.perturbations import Honest
from store.errors import Invalid
from tests.test_finetune_judges import LIMITS, SPEC, labels, tiny_encoder
from tests.test_finetune_judges import honest as honest


class Says(FittedJudge):
    """A judge that says one value of every claim with a certain word in it."""

    name = "odd"

    def __init__(self, word: str, value: float) -> None:
        super().__init__()
        self._word, self._value = word, value

    def support(self, claim: str, passage: str) -> float:
        return self._value if self._word in claim else super().support(claim, passage)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.2, -0.1])
def test_what_is_no_number_from_0_to_1_is_refused_with_the_value(value: float, honest: list[Honest]) -> None:
    judge = Says(honest[0].answer.split()[0], value)
    said = f"the judge odd gave the support {value}, expected a number from 0 to 1"
    with pytest.raises(Invalid, match=said):
        admission(judge, ("support",), honest[:12], labels(40, honest), **LIMITS)
    with pytest.raises(Invalid, match=said):
        Counted(judge, ("support",), FittedJudge()).support(honest[0].answer, "Passage.")


def test_every_score_is_looked_at() -> None:
    judge = Checked(FittedJudge())
    assert judge.support("It rains.", "It rains.") == FittedJudge().support("It rains.", "It rains.")
    assert (judge.accuracy("Why?", "", ["Rain."]), judge.relevance("Why?", [])) == (0.0, 0.0)


def test_whatever_a_judge_s_library_raises_leaves_the_fitted_one_in_charge(
    tmp_path: Path, honest: list[Honest]
) -> None:
    cut = Path(tiny_encoder(tmp_path / "cut", ["entailment", "neutral"])) / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    judge, tried = judges.admitted({**SPEC, "kind": "nli", "model": str(cut.parent)}, honest[:20], [])
    assert judge.name == "fitted" and "cut cannot be loaded: " in tried.reasons[0]
    few = tiny_encoder(tmp_path / "few", ["entailment", "neutral"], words=200)
    judge, tried = judges.admitted({**SPEC, "kind": "nli", "model": few}, honest[:20], [])
    assert judge.name == "fitted" and tried.reasons[0].startswith("the judge few could not be asked: ")
