"""Claims about recognising the model under test: by its name, and by any spelling of its address."""

import socket
from typing import Any

import psutil
import pytest

from configs.settings import load_settings
from finetune import judges
from finetune.itself import is_tested
from store.errors import Invalid
from tests.test_finetune_judges import SPEC

TESTED = ["smollm", "http://0.0.0.0:8000", "http://127.0.0.1:8000", "http://localhost:8000"]


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://localhost:8000/v1"},
        {"base_url": "http://LOCALHOST:8000/v1"},
        {"base_url": "http://localhost.:8000/v1"},
        {"base_url": "http://[::1]:8000/v1"},
        {"base_url": "http://[::ffff:127.0.0.1]:8000/v1"},
        {"base_url": "http://127.0.1.1:8000/v1"},
        {"base_url": "http://127.1:8000/v1"},
        {"base_url": "http://0.0.0.0:8000/v1"},
        {"base_url": "http://key@localhost:8000/v1"},
        {"openai_api_base": "http://localhost:8000/v1"},
        {"base_url": "127.0.0.1:8000"},
        {"base_url": "http://127\u30020\u30020\u30021:8000/v1"},
        {"base_url": "http://127\uff610\uff610\uff611:8000/v1"},
        {"base_url": "http://localhost\u3002:8000/v1"},
        {"base_url": "http://\uff11\uff12\uff17.0.0.1:8000/v1"},
        {"model_kwargs": {"endpoints": ["http://localhost:8000/v1"]}},
    ],
)
def test_the_model_under_test_is_known_by_any_spelling_of_its_address(options: dict[str, Any]) -> None:
    assert is_tested("openai:x", options, TESTED)


def test_another_port_another_host_and_a_key_are_not_the_model_under_test() -> None:
    for url in ("http://localhost:8001/v1", "http://10.0.0.7:8000/v1", "https://localhost/v1", "http://[::1", ""):
        assert not is_tested("openai:x", {"base_url": url, "api_key": "none", "max_retries": 0}, TESTED)


def test_an_address_in_the_environment_counts_where_no_option_names_one() -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        here = {name: "http://[::1]:8000/v1"}
        assert is_tested("openai:x", {}, TESTED, here) and is_tested("gpt-5-mini", {}, TESTED, here)
        assert not is_tested("openai:x", {"base_url": "https://api.example.com/v1"}, TESTED, here)
        assert not is_tested("anthropic:x", {}, TESTED, here)
        with pytest.raises(Invalid, match="approve of itself"):
            judges.check({**SPEC, "kind": "chat", "model": "openai:x"}, TESTED, here)


def test_the_model_under_test_is_known_at_every_address_of_this_machine() -> None:
    found = [one for several in psutil.net_if_addrs().values() for one in several]
    four = [one.address for one in found if one.family == socket.AF_INET]
    six = [one.address.partition("%")[0] for one in found if one.family == socket.AF_INET6]
    tested = load_settings({"RATCHET_HOST": "0.0.0.0"}).tested
    assert four
    for host in [*four, *(f"[{one}]" for one in six)]:
        assert is_tested("openai:x", {"base_url": f"http://{host}:8000/v1"}, tested), host
        assert not is_tested("openai:x", {"base_url": f"http://{host}:8001/v1"}, tested), host


def test_the_packaged_model_is_known_by_its_id_on_the_hub() -> None:
    name = "openai:HuggingFaceTB/SmolLM2-135M-Instruct"
    assert is_tested(name, {}, load_settings({}).tested)
    assert not is_tested(name, {}, load_settings({"RATCHET__MODELS__CHAT": "./models/mine"}).tested)
