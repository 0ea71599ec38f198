"""Claims about other chat models: none is waited for without end."""

import socket
from typing import Any

import pytest

from finetune.chat_model import ChatModel, made
from store.errors import Invalid


@pytest.mark.parametrize(
    ("options", "patience"),
    [
        ({}, (60.0, 2)),
        ({"timeout": 5}, (5, 2)),
        ({"request_timeout": 300, "max_retries": 0}, (300, 0)),
        ({"timeout": None}, (None, 2)),
    ],
)
def test_a_request_may_take_a_minute_unless_the_options_say_else(
    options: dict[str, Any], patience: tuple[float | None, int]
) -> None:
    model: Any = made("openai:grader", {"api_key": "none", **options})
    assert (model.request_timeout, model.max_retries) == patience


def test_a_server_that_never_answers_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        options = {"base_url": url, "api_key": "none", "timeout": 0.2, "max_retries": 0}
        model = ChatModel.named("openai:grader", options, called="the judge grader", setting="judge.model")
        with pytest.raises(Invalid, match="the judge grader could not be asked: Request timed out"):
            model.says([{"role": "user", "content": "Well?"}])
