"""Claims about recognising the model under test: by its name, and by any spelling of its address."""

from typing import Any

import pytest

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
