"""Claims about the engine on real vLLM servers, on the CPU with the packaged model (make test-vllm)."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.models import PACKAGED_CHAT, base_digest, chat_model
from bot.relay import RelayedAnswer
from bot.vllm import VllmEngine
from finetune import card
from store.errors import Unavailable
from store.models import BASE
from tests.conftest import ROOT
from tests.queued import until

VLLM = Path(os.environ.get("RATCHET_VLLM") or ROOT / "var" / "vllm") / "bin" / "vllm"
MODELS = Path(os.environ.get("RATCHET_MODELS") or ROOT / "var" / "models")
ASKED = [{"role": "user", "content": "Tell me a long story about a river and a bridge."}]
TOKENS = 40
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not VLLM.exists(), reason=f"no vLLM in {VLLM.parent.parent}: `make test-vllm` sets one up"),
]


class Server:
    """A real vLLM server in a process group of its own."""

    def __init__(self, model: str, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._model, self._log = model, log
        self.start()

    def start(self) -> None:
        more = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
        more |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        options = "--dtype bfloat16 --max-model-len 2048 --enforce-eager --enable-lora --max-lora-rank 32 --max-loras 2"
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [str(VLLM), "serve", self._model, *where, *options.split()],
                env=os.environ | more,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ready(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + 300
        while True:
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < deadline, "the server did not start in 300 s"
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"{self.url}/health").status_code == 200:
                    return
            time.sleep(0.5)

    def kill(self) -> None:
        """SIGKILL to the server and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def running(self) -> float:
        """How many requests vLLM itself says it is working on."""
        text = httpx2.get(f"{self.url}/metrics").text
        return sum(float(found) for found in re.findall(r"^vllm:num_requests_running\{.*\} (\S+)$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def model() -> str:
    return chat_model(PACKAGED_CHAT, models=MODELS)


@pytest.fixture(scope="module")
def servers(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    logs = tmp_path_factory.mktemp("logs")
    pair = [Server(model, logs / f"{n}.log") for n in range(2)]
    try:
        for server in pair:
            server.ready()
        yield pair
    finally:
        for server in pair:
            server.kill()


@pytest.fixture
def engine(servers: list[Server], model: str, tmp_path: Path) -> Iterator[VllmEngine]:
    urls = [server.url for server in servers]
    engine = VllmEngine(urls, shared=tmp_path / "shared", base_digest=base_digest(model), rest=0.5)
    yield engine
    for adapter in engine.loaded():
        engine.unload(adapter)
    engine.close()


def adapter_of(model: str, folder: Path, *, rank: int, seed: int) -> tuple[Path, str]:
    """A published adapter with weights large enough to change what the model says; its folder and digest."""
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "k_proj", "v_proj"])
    adapted = get_peft_model(base, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    adapted.save_pretrained(str(folder / "trained"))
    facts = {"rank": rank}
    digest = card.adopt(folder / "trained", folder / "v", base_model="m", base_digest=base_digest(model), facts=facts)
    return folder / "v", digest


@pytest.fixture(scope="module")
def adapters(model: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    """Two adapters of rank 20, which needs servers with --max-lora-rank 32."""
    return [adapter_of(model, tmp_path_factory.mktemp("adapters"), rank=20, seed=seed) for seed in (1, 2)]


def ask(engine: VllmEngine, adapter: str = BASE, max_tokens: int = TOKENS, **more: object) -> RelayedAnswer:
    return engine.stream(ASKED, adapter=adapter, max_tokens=max_tokens, **more)  # type: ignore[arg-type]


def said(engine: VllmEngine, adapter: str = BASE) -> str:
    return "".join(ask(engine, adapter))


def test_a_real_server_streams_and_counts(engine: VllmEngine, model: str) -> None:
    answer = ask(engine)
    pieces = list(answer)
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompt = tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert len(pieces) > TOKENS // 2 and "".join(pieces) == said(engine)
    assert answer.prompt_tokens == engine.count(ASKED) == len(prompt)
    assert (answer.completion_tokens, answer.finish_reason) == (TOKENS, "length")
    assert engine.context_tokens == 2048 and engine.healthy() == ""


def test_sampling_with_a_seed_can_be_repeated(engine: VllmEngine) -> None:
    texts = ["".join(ask(engine, temperature=1.0, top_p=0.9, seed=seed)) for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


def test_an_answer_ends_before_a_stop_string(engine: VllmEngine) -> None:
    whole = said(engine)
    stop = whole.split()[8]
    answer = ask(engine, stop=["never said", stop])
    assert "".join(answer) == whole[: whole.index(stop)] and answer.finish_reason == "stop"


def test_a_stopped_answer_is_given_up_by_the_server(engine: VllmEngine, servers: list[Server]) -> None:
    answer = ask(engine, max_tokens=1500)
    pieces = iter(answer)
    next(pieces)
    assert sum(server.running() for server in servers) == 1
    stopped = time.monotonic()
    answer.cancel()
    until(lambda: sum(server.running() for server in servers) == 0, seconds=3)
    assert len(list(pieces)) < 200 and time.monotonic() - stopped < 3


def test_an_adapter_of_rank_20_answers_beside_the_base(engine: VllmEngine, adapters: list[tuple[Path, str]]) -> None:
    base = said(engine)
    engine.load("v1", adapters[0][0], digest=adapters[0][1])
    answers = [ask(engine, name) for name in (BASE, "v1", BASE, "v1")]
    texts = ["".join(answer) for answer in answers]
    assert texts[0] != texts[1] and said(engine) == base != said(engine, "v1")


def test_a_rank_above_the_servers_is_refused(engine: VllmEngine, model: str, tmp_path: Path) -> None:
    folder, digest = adapter_of(model, tmp_path, rank=40, seed=3)
    with pytest.raises(Unavailable, match=r"has rank 40, but http://.* was started with --max-lora-rank 32") as found:
        engine.load("v9", folder, digest=digest)
    assert "--max-lora-rank 64" in found.value.hint
    assert engine.loaded() == [BASE] and engine.healthy() == "" and said(engine)


def test_swap_during_a_request_finishes_on_the_old_adapter(
    engine: VllmEngine, adapters: list[tuple[Path, str]]
) -> None:
    engine.load("v1", adapters[0][0], digest=adapters[0][1])
    expected = said(engine, "v1")
    answer = ask(engine, "v1")
    pieces = iter(answer)
    begun = next(pieces)
    engine.load("v2", adapters[1][0], digest=adapters[1][1])
    engine.unload("v1")
    assert begun + "".join(pieces) == expected != said(engine, "v2")


def test_a_warm_prompt_after_a_swap_answers_as_a_cold_name_does(
    engine: VllmEngine, adapters: list[tuple[Path, str]]
) -> None:
    engine.load("v1", adapters[0][0], digest=adapters[0][1])
    old = [said(engine, "v1") for _ in range(2)]
    engine.load("v2", adapters[1][0], digest=adapters[1][1])
    warm = [said(engine, "v2") for _ in range(2)]
    engine.load("v3", adapters[1][0], digest=adapters[1][1])
    cold = said(engine, "v3")
    assert set(warm) == {cold} and cold not in old


def test_an_answer_is_cut_at_the_context_without_an_error(engine: VllmEngine) -> None:
    long = [{"role": "user", "content": "river " * 1900}]
    answer = engine.stream(long, adapter=BASE, max_tokens=1000)
    assert "".join(answer).count("river") < 2048 and answer.finish_reason in ("stop", "length")
    assert answer.prompt_tokens + answer.completion_tokens <= 2048


def test_a_killed_replica_loses_no_request(
    engine: VllmEngine, servers: list[Server], adapters: list[tuple[Path, str]], model: str
) -> None:
    engine.load("v1", adapters[0][0], digest=adapters[0][1])
    answers = [ask(engine, name, max_tokens=120) for name in (BASE, BASE, "v1", "v1")]
    readers = [iter(answer) for answer in answers]
    begun = ["".join(next(reader) for _ in range(10)) for reader in readers]
    servers[0].kill()
    texts = [first + "".join(reader) for first, reader in zip(begun, readers, strict=True)]
    ended = [(answer.completion_tokens, answer.finish_reason) for answer in answers]
    assert all(count == 120 if reason == "length" else 10 < count <= 120 for count, reason in ended)
    assert all(text.startswith(first) for text, first in zip(texts, begun, strict=True))
    tokenizer = AutoTokenizer.from_pretrained(model)
    read = [len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts[:2]]
    assert all(abs(count - answer.completion_tokens) <= 3 for count, answer in zip(read, answers, strict=False))
    assert engine.healthy() == "" and said(engine, "v1")


def test_a_server_that_was_killed_comes_back_with_the_adapter(
    engine: VllmEngine, servers: list[Server], adapters: list[tuple[Path, str]]
) -> None:
    engine.load("v1", adapters[0][0], digest=adapters[0][1])
    expected = said(engine, "v1")
    servers[0].start()
    servers[0].ready()
    until(lambda: len(engine._fleet.usable()) == 2, seconds=30)
    servers[1].kill()
    assert said(engine, "v1") == expected
