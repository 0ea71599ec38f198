"""Claims about preferences: what is one, when they are used, and that training on them moves an adapter."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import TrainingError
from finetune.prefer import prefer
from finetune.preferences import Preference, available, method_for, preferences, rows_for
from finetune.probe import losses

MESSAGES = [{"role": "user", "content": "How long is the Aare?"}]
needs_trl = pytest.mark.skipif(not available(), reason="TRL is not installed: pip install -e .[preference]")


def example(kind: str, *, target: str = "288 km [1].", logged: str = "No idea.") -> dict[str, Any]:
    return {"kind": kind, "messages": MESSAGES, "target": target, "logged_answer": logged}


def test_a_correction_is_better_than_what_it_replaced_and_a_liked_answer_is_a_label() -> None:
    found = preferences([example("correction"), example("approved"), example("upvoted", logged="288 km [1].")])
    assert found == [
        Preference(MESSAGES, "288 km [1].", "No idea."),
        Preference(MESSAGES, "288 km [1].", "No idea."),
        Preference(MESSAGES, "288 km [1]."),
    ]


def test_a_disliked_answer_is_only_unwanted() -> None:
    found = preferences([example("disliked", target="No idea."), example("upvoted")])
    assert found == [Preference(MESSAGES, "", "No idea."), Preference(MESSAGES, "288 km [1].")]
    assert rows_for("dpo", found) == []
    assert [row["label"] for row in rows_for("kto", found)] == [True, False]


def test_dislikes_and_likes_together_are_enough_for_kto_and_neither_alone() -> None:
    liked, disliked = [Preference(MESSAGES, "a")] * 60, [Preference(MESSAGES, "", "b")] * 60
    assert method_for([*liked, *disliked], "auto", least=100)[0] == "kto"
    assert method_for([*liked, *disliked], "dpo", least=100)[0] is None
    assert method_for(disliked * 2, "auto", least=100)[0] is None


@pytest.mark.parametrize(
    "row",
    [
        example("replay"),
        example("repaired"),
        example("correction", logged=""),
        example("correction", logged="288 km [1]."),
    ],
)
def test_what_nobody_preferred_is_no_preference(row: dict[str, Any]) -> None:
    assert preferences([row]) == []


@pytest.mark.parametrize(
    ("pairs", "labels", "wanted", "expected"),
    [
        (60, 0, "auto", "dpo"),
        (30, 60, "auto", "kto"),
        (30, 60, "dpo", "dpo"),
        (60, 0, "kto", "kto"),
        (60, 0, "off", None),
        (10, 20, "auto", None),
        (0, 200, "auto", None),
    ],
)
def test_the_method_follows_from_what_people_gave(pairs: int, labels: int, wanted: str, expected: str | None) -> None:
    found = [Preference(MESSAGES, "a", "b")] * pairs + [Preference(MESSAGES, "a")] * labels
    method, reason = method_for(found, wanted, least=100)
    assert method == expected
    assert reason.endswith(".")


def test_rows_are_what_trl_takes() -> None:
    found = [Preference(MESSAGES, "a", "b"), Preference(MESSAGES, "c")]
    said = [{"role": "assistant", "content": "a"}]
    assert rows_for("dpo", found) == [
        {"prompt": MESSAGES, "chosen": said, "rejected": [{"role": "assistant", "content": "b"}]}
    ]
    assert [(row["completion"][0]["content"], row["label"]) for row in rows_for("kto", found)] == [
        ("a", True),
        ("c", True),
        ("b", False),
    ]


def test_without_rows_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no preference to train on|preferences need TRL"):
        prefer([], method="dpo", base_model="x", adapter=tmp_path, out=tmp_path, max_tokens=64, seed=1, threads=1)


@needs_trl
@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_training_makes_the_chosen_answer_likelier_than_the_rejected_one(
    tiny_model: str, tiny_adapter: Path, tmp_path: Path, method: Any
) -> None:
    found = [Preference(MESSAGES, "the river is long", "bread is baked here")] * 8
    told = list[dict[str, Any]]()
    done = prefer(
        rows_for(method, found),
        method=method,
        base_model=tiny_model,
        adapter=tiny_adapter,
        out=tmp_path / "out",
        max_tokens=128,
        seed=1,
        threads=1,
        epochs=4,
        progress=told.append,
    )
    assert done["steps"] >= 8
    steps = [one for one in told if "loss" in one]
    assert len(steps) == done["steps"] and steps[-1]["eta_seconds"] == 0
    assert min(one["memory_mb"] for one in steps) > 0 and steps[0]["eta_seconds"] >= steps[-1]["eta_seconds"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json"} <= names
    assert gap(tiny_model, tmp_path / "out") > gap(tiny_model, tiny_adapter)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"


def gap(model: str, adapter: Path) -> float:
    """How much less the chosen answer costs than the rejected one, nats per token."""
    rows = [{"messages": MESSAGES, "target": text} for text in ("the river is long", "bread is baked here")]
    chosen, rejected = losses(rows, base_model=model, adapter=adapter, max_tokens=128, threads=1)
    assert chosen is not None and rejected is not None
    return rejected - chosen
