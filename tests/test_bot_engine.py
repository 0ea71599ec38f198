"""Claims about the engine: versions side by side, swaps that drop nothing, and adapters that are refused."""

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from bot import adapters
from bot.adapters import CONFIG, MANIFEST, WEIGHTS, touched
from bot.engine import TransformersEngine
from bot.probe import computes_bfloat16
from bot.versions import compute_dtype
from finetune import card, precision
from store.errors import BrokenAdapter, Busy, Invalid, NoRoom, Unavailable
from store.models import BASE
from tests.queued import until

ASKED = [{"role": "user", "content": "How long is the river Aare?"}]
TOKENS = 30


@pytest.fixture(scope="module")
def engine(tiny_model: str) -> Iterator[TransformersEngine]:
    engine = TransformersEngine(tiny_model, dtype="float32", slots=4, queue_limit=8, context_tokens=512, threads=1)
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def only_the_base(engine: TransformersEngine) -> Iterator[None]:
    yield
    for adapter in engine.loaded():
        engine.unload(adapter)


def published(engine: TransformersEngine, folder: Path, target: Path, base_digest: str = "") -> tuple[Path, str]:
    """An adapter folder as the registry has it, with its digest."""
    digest = card.adopt(
        folder, target, base_model="tiny", base_digest=base_digest or engine.base_digest, facts={"rank": 4}
    )
    return target, digest


@pytest.fixture
def adapter(engine: TransformersEngine, tiny_adapter: Path, tmp_path: Path) -> tuple[Path, str]:
    return published(engine, tiny_adapter, tmp_path / "v1-1")


def said(engine: TransformersEngine, adapter: str = BASE, **more: object) -> str:
    return "".join(engine.stream(ASKED, adapter=adapter, max_tokens=TOKENS, **more))  # type: ignore[arg-type]


def test_an_adapter_answers_beside_the_base(engine: TransformersEngine, adapter: tuple[Path, str]) -> None:
    base = said(engine)
    engine.load("v1", adapter[0], digest=adapter[1])
    assert engine.loaded() == [BASE, "v1"]
    assert said(engine, "v1") != base == said(engine)


def test_a_merged_copy_shares_what_the_adapter_does_not_touch(
    engine: TransformersEngine, adapter: tuple[Path, str]
) -> None:
    engine.load("v1", adapter[0], digest=adapter[1])
    base, copy = (engine._versions.loaded[name].forward(1)._layers[0].linears for name in (BASE, "v1"))  # type: ignore[attr-defined]
    assert {part for part in base if base[part] is not copy[part]} == {"qkv"}
    merged = adapters.merged(engine._versions.base, adapter[0])
    before, after = (dict(model.named_parameters()) for model in (engine._versions.base, merged))
    own = {name for name in before if before[name].data_ptr() != after[name].data_ptr()}
    assert own == {name for name in before if "q_proj" in name or "v_proj" in name}


def test_answers_of_two_versions_at_once_are_those_given_alone(
    engine: TransformersEngine, adapter: tuple[Path, str]
) -> None:
    engine.load("v1", adapter[0], digest=adapter[1])
    alone = {name: said(engine, name) for name in (BASE, "v1")}
    streams = [(name, engine.stream(ASKED, adapter=name, max_tokens=TOKENS)) for name in (BASE, "v1", BASE, "v1")]
    assert all("".join(stream) == alone[name] for name, stream in streams)


def test_swap_during_a_request_finishes_on_the_old_adapter(
    engine: TransformersEngine, adapter: tuple[Path, str], tmp_path: Path
) -> None:
    engine.load("v1", adapter[0], digest=adapter[1])
    expected = said(engine, "v1")
    stream = engine.stream(ASKED, adapter="v1", max_tokens=TOKENS)
    pieces = iter(stream)
    begun = next(pieces)
    shutil.copytree(adapter[0], tmp_path / "v2-1")
    engine.load("v2", tmp_path / "v2-1", digest=adapter[1])
    engine.unload("v1")
    assert begun + "".join(pieces) == expected
    assert stream.completion_tokens == TOKENS and stream.finish_reason == "length"


def test_an_unloaded_version_refuses_new_requests(engine: TransformersEngine, adapter: tuple[Path, str]) -> None:
    engine.load("v1", adapter[0], digest=adapter[1])
    engine.unload("v1")
    with pytest.raises(Unavailable, match="adapter v1 is not loaded"):
        said(engine, "v1")
    engine.unload(BASE)
    assert engine.loaded() == [BASE]


def flipped(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-3] ^= 1
    (folder / WEIGHTS).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (flipped, f"{WEIGHTS} of adapter v1-1 is missing or altered since it was published"),
        (lambda folder: (folder / WEIGHTS).unlink(), f"{WEIGHTS} of adapter v1-1 is missing or altered"),
        (lambda folder: (folder / MANIFEST).unlink(), "has no manifest.json: it was never finished"),
        (lambda folder: (folder / CONFIG).write_text("{}"), f"{CONFIG} of adapter v1-1 is missing or altered"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "does not match the digest in the registry"),
    ],
)
def test_an_altered_adapter_is_refused_and_the_old_one_keeps_answering(
    engine: TransformersEngine, adapter: tuple[Path, str], damage: object, sentence: str
) -> None:
    expected = said(engine)
    damage(adapter[0])  # type: ignore[operator]
    with pytest.raises(BrokenAdapter, match=sentence):
        engine.load("v1", adapter[0], digest=adapter[1])
    assert engine.loaded() == [BASE] and engine.healthy() == ""
    assert said(engine) == expected


def test_a_folder_that_is_not_there_is_no_broken_adapter(engine: TransformersEngine, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=f"there is no adapter folder {tmp_path / 'v1-1'}") as error:
        engine.load("v1", tmp_path / "v1-1", digest="0" * 64)
    assert "Mount it or put it back" in error.value.hint


class Full(LlamaForCausalLM):
    """A model of which memory holds no second copy."""

    error: BaseException

    def __deepcopy__(self, _memo: object) -> "Full":
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 2147483648 bytes."),
    ],
)
def test_memory_that_is_short_is_no_broken_adapter(
    tiny_model: str, adapter: tuple[Path, str], error: BaseException
) -> None:
    model = Full.from_pretrained(tiny_model, dtype=torch.float32)
    model.error = error
    with pytest.raises(NoRoom, match="the memory does not hold adapter v1-1: ") as refused:
        adapters.merged(model, adapter[0])
    assert "it is tried again" in refused.value.hint


def test_an_adapter_of_another_base_model_is_refused(
    engine: TransformersEngine, tiny_adapter: Path, tmp_path: Path
) -> None:
    folder, digest = published(engine, tiny_adapter, tmp_path / "v1-1", "0" * 64)
    with pytest.raises(BrokenAdapter, match="made for the base model tiny, not for the one that serves") as error:
        engine.load("v1", folder, digest=digest)
    assert "models.chat" in error.value.hint


def remade(engine: TransformersEngine, source: Path, target: Path, change: object) -> tuple[Path, str]:
    """An adapter published with other weights, so that all its digests fit."""
    wrong = target.parent / "wrong"
    shutil.copytree(source, wrong)
    weights = load_file(wrong / WEIGHTS)
    save_file({name: change(tensor).contiguous() for name, tensor in weights.items()}, wrong / WEIGHTS)  # type: ignore[operator]
    return published(engine, wrong, target)


def test_an_adapter_with_values_that_are_not_finite_is_refused(
    engine: TransformersEngine, tiny_adapter: Path, tmp_path: Path
) -> None:
    folder, digest = remade(engine, tiny_adapter, tmp_path / "v1-1", lambda tensor: tensor * torch.nan)
    with pytest.raises(BrokenAdapter, match="adapter v1-1 holds values that are not finite in base_model"):
        engine.load("v1", folder, digest=digest)
    assert engine.loaded() == [BASE]


def test_an_adapter_of_another_shape_is_refused(engine: TransformersEngine, tiny_adapter: Path, tmp_path: Path) -> None:
    folder, digest = remade(engine, tiny_adapter, tmp_path / "v1-1", lambda tensor: tensor[:, : tensor.shape[1] // 2])
    expected = said(engine)
    with pytest.raises(BrokenAdapter, match="adapter v1-1 does not fit the base model"):
        engine.load("v1", folder, digest=digest)
    assert engine.loaded() == [BASE] and said(engine) == expected


def test_a_full_queue_says_busy_and_goes_on_later(tiny_model: str) -> None:
    engine = TransformersEngine(tiny_model, dtype="float32", slots=1, queue_limit=1, context_tokens=2048, threads=1)
    running = engine.stream(ASKED, adapter=BASE, max_tokens=1500)
    next(iter(running))
    waiting = engine.stream(ASKED, adapter=BASE, max_tokens=3)
    with pytest.raises(Busy, match="1 answers are waiting already"):
        engine.stream(ASKED, adapter=BASE, max_tokens=3)
    running.cancel()
    assert "".join(waiting) and waiting.completion_tokens == 3
    engine.close()
    assert engine.healthy() == "the engine's thread has ended."


def test_a_cancelled_request_frees_its_slot(engine: TransformersEngine) -> None:
    streams = [engine.stream(ASKED, adapter=BASE, max_tokens=400) for _ in range(4)]
    for stream in streams:
        stream.cancel()
    assert said(engine)
    until(lambda: not engine._running)


def test_a_cancelled_answer_is_read_no_further(engine: TransformersEngine) -> None:
    stream = engine.stream(ASKED, adapter=BASE, max_tokens=400)
    pieces = iter(stream)
    next(pieces)
    until(lambda: not engine._running)
    stream.cancel()
    assert stream.completion_tokens == 400 and len(list(pieces)) <= 1
    assert stream.finish_reason == "stop"


def test_an_answer_ends_before_a_stop_string(engine: TransformersEngine) -> None:
    pieces = list(engine.stream(ASKED, adapter=BASE, max_tokens=TOKENS))
    whole = "".join(pieces)
    stop = max(pieces[3:], key=len).strip()
    stream = engine.stream(ASKED, adapter=BASE, max_tokens=TOKENS, stop=["", "never said", stop])
    assert "".join(stream) == whole[: whole.index(stop)]
    assert stream.finish_reason == "stop"


def test_a_prompt_without_room_for_an_answer_is_refused(engine: TransformersEngine) -> None:
    with pytest.raises(Invalid, match=r"the prompt has \d+ tokens, the context 512"):
        engine.stream([{"role": "user", "content": "river " * 600}], adapter=BASE, max_tokens=5)


def test_logprobs_are_those_of_the_greedy_answer(engine: TransformersEngine, adapter: tuple[Path, str]) -> None:
    answer = "288 kilometres."
    found = engine.logprobs(ASKED, answer, adapter=BASE)
    count = len(engine.tokenizer(answer, add_special_tokens=False).input_ids) + 1
    assert len(found) == count and all(value <= 0 for value in found)
    engine.load("v1", adapter[0], digest=adapter[1])
    assert engine.logprobs(ASKED, answer, adapter="v1") != found
    assert engine.logprobs(ASKED, "x " * 600, adapter=BASE) == []


def test_a_missing_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises((Unavailable, OSError)):
        TransformersEngine(str(tmp_path / "none"))


def test_an_adapter_whose_copy_does_not_fit_the_budget_is_served_beside_the_base(
    tiny_model: str, adapter: tuple[Path, str]
) -> None:
    roomy = TransformersEngine(tiny_model, dtype="float32", slots=2, context_tokens=512, threads=1)
    versions = roomy._versions
    copy, own = touched(versions.base, adapter[0]), (adapter[0] / WEIGHTS).stat().st_size
    assert own < copy
    versions._budget = sum(version.bytes for version in versions._alive) + (own + copy) // 2
    roomy.load("v1", adapter[0], digest=adapter[1])
    assert not versions.loaded["v1"].merged
    beside = said(roomy, "v1")
    versions._budget += copy
    shutil.copytree(adapter[0], adapter[0].parent / "v2-1")
    roomy.load("v2", adapter[0].parent / "v2-1", digest=adapter[1])
    assert versions.loaded["v2"].merged
    assert said(roomy, "v2") == beside != said(roomy)
    roomy.close()


def test_a_budget_that_holds_not_even_the_adapters_weights_refuses_and_serves_on(
    tiny_model: str, adapter: tuple[Path, str]
) -> None:
    engine = TransformersEngine(tiny_model, dtype="float32", slots=2, context_tokens=512, threads=1)
    expected = said(engine)
    engine._versions._budget = sum(version.bytes for version in engine._versions._alive)
    with pytest.raises(NoRoom, match="adapter v1 needs 0 MB, 0 MB of the memory budget are left"):
        engine.load("v1", adapter[0], digest=adapter[1])
    assert engine.loaded() == [BASE] and said(engine) == expected
    engine.close()


def test_a_budget_too_small_for_the_model_is_refused_at_start(tiny_model: str) -> None:
    with pytest.raises(NoRoom, match=r"the model and 8 answers at once need \d+ MB, generation.memory_mb is 10"):
        TransformersEngine(tiny_model, dtype="float32", threads=1, memory_mb=10)


def test_an_unloaded_versions_memory_is_free_again(engine: TransformersEngine, adapter: tuple[Path, str]) -> None:
    before = sum(version.bytes for version in engine._versions._alive)
    engine.load("v1", adapter[0], digest=adapter[1])
    stream = engine.stream(ASKED, adapter="v1", max_tokens=TOKENS)
    engine.unload("v1")
    assert sum(version.bytes for version in engine._versions._alive) > before
    "".join(stream)
    del stream
    until(lambda: not engine._running)
    gc.collect()
    assert sum(version.bytes for version in engine._versions._alive) == before


def test_a_warm_prompt_after_a_swap_answers_as_a_cold_server(
    engine: TransformersEngine, adapter: tuple[Path, str], tiny_model: str
) -> None:
    base = said(engine)
    engine.load("v1", adapter[0], digest=adapter[1])
    warm = [said(engine, "v1"), said(engine, "v1")]
    cold = TransformersEngine(tiny_model, dtype="float32", slots=4, context_tokens=512, threads=1)
    cold.load("v1", adapter[0], digest=adapter[1])
    assert warm == [said(cold, "v1")] * 2
    assert base == said(cold) != warm[0]
    cold.close()


def test_eight_people_at_once_each_get_their_own_answer(tiny_model: str) -> None:
    engine = TransformersEngine(tiny_model, dtype="float32", slots=8, context_tokens=512, threads=1)
    asked = [[{"role": "user", "content": f"Tell me of river number {i}, please."}] for i in range(8)]
    alone = ["".join(engine.stream(one, adapter=BASE, max_tokens=TOKENS)) for one in asked]
    together = [engine.stream(one, adapter=BASE, max_tokens=TOKENS) for one in asked]
    assert ["".join(stream) for stream in together] == alone
    assert len(set(alone)) == 8
    engine.close()


def test_waiting_answers_know_their_place(tiny_model: str) -> None:
    engine = TransformersEngine(tiny_model, dtype="float32", slots=1, context_tokens=2048, threads=1)
    running = engine.stream(ASKED, adapter=BASE, max_tokens=1500)
    next(iter(running))
    second, third = (engine.stream(ASKED, adapter=BASE, max_tokens=2) for _ in range(2))
    assert (running.position, second.position, third.position) == (0, 1, 2)
    assert running.started(0) and not second.started(0.01)
    second.cancel()
    until(lambda: third.position == 1)
    running.cancel()
    assert third.started(10) and third.position == 0 and "".join(third)
    engine.close()


def test_auto_is_what_the_processor_multiplies_and_the_trainer_takes_the_same() -> None:
    assert compute_dtype("float32") == torch.float32
    assert compute_dtype("auto") == precision.compute_dtype()
    assert (compute_dtype("auto") == torch.bfloat16) == (torch.cuda.is_available() or computes_bfloat16())


@pytest.mark.parametrize(
    ("known", "multiplies"),
    [
        ({"avx512_bw": True, "avx512_vnni": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bw": True, "avx512_bf16": True}, True),
        ({"avx2": True, "amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True}, False),
    ],
)
def test_bfloat16_is_left_where_it_would_only_be_imitated(known: dict[str, bool], multiplies: bool) -> None:
    assert computes_bfloat16(known) is multiplies
    taken = precision.compute_dtype(known) == torch.bfloat16
    assert taken is (multiplies or torch.cuda.is_available())


def test_bfloat16_can_be_asked_for_on_any_processor(tiny_model: str) -> None:
    engine = TransformersEngine(tiny_model, dtype="bfloat16", slots=1, context_tokens=256, threads=1)
    assert len(list(engine.stream(ASKED, adapter=BASE, max_tokens=3))) > 0
    engine.close()


# what fails


def test_an_answer_that_cannot_begin_ends_alone(engine: TransformersEngine) -> None:
    expected = said(engine)
    with pytest.raises(Unavailable, match="the answer could not begin: Overflow"):
        said(engine, temperature=1.0, seed=2**64)
    running = engine.stream(ASKED, adapter=BASE, max_tokens=TOKENS)
    with pytest.raises(Unavailable, match="could not begin"):
        said(engine, temperature=1.0, seed=2**64)
    assert "".join(running) == said(engine) == expected and engine.healthy() == ""


def broken(engine: TransformersEngine, sentence: str) -> None:
    """Let the engine's thread meet an error that nothing on its way knows."""

    def job() -> None:
        raise LookupError(sentence)

    with engine._wake:
        engine._jobs.append(job)
        engine._wake.notify()


def test_an_error_that_nobody_foresaw_ends_the_answers_under_way_and_the_next_is_written(
    engine: TransformersEngine,
) -> None:
    expected = said(engine)
    running = iter(engine.stream(ASKED, adapter=BASE, max_tokens=400))
    next(running)
    broken(engine, "a shelf is empty")
    with pytest.raises(Unavailable, match="the engine failed: a shelf is empty"):
        "".join(running)
    assert said(engine) == expected and engine.healthy() == ""


def test_an_idle_engine_that_failed_says_so_once_and_is_ready_again(engine: TransformersEngine) -> None:
    until(lambda: not engine._running)
    broken(engine, "a shelf is empty")
    until(lambda: engine.healthy() == "the engine failed: a shelf is empty")
    assert engine.healthy() == ""


def test_each_version_that_runs_as_a_module_counts_its_own_keys_and_values(
    tiny_model: str, adapter: tuple[Path, str]
) -> None:
    engine = TransformersEngine(tiny_model, dtype="float16", slots=2, context_tokens=512, threads=1)
    versions = engine._versions
    copy, own = touched(versions.base, adapter[0]), versions._store_bytes()
    taken = sum(version.bytes for version in versions._alive)
    versions._budget = taken + own + 1
    with pytest.raises(NoRoom, match="adapter v1 needs 0 MB"):
        engine.load("v1", adapter[0], digest=adapter[1])
    versions._budget = taken + own + copy
    engine.load("v1", adapter[0], digest=adapter[1])
    assert versions.packed is None and versions.loaded["v1"].bytes == own + copy
    assert said(engine, "v1")
    engine.close()
