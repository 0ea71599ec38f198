"""Claims about judges that break: whatever they raise or say that is no score, the fitted judge goes on."""

from pathlib import Path

from finetune import judges
from finetune.perturbations import Honest
from tests.test_finetune_judges import SPEC, tiny_encoder
from tests.test_finetune_judges import honest as honest


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
