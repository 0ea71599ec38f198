"""A teacher model's answer to a question that people were not content with, as a target where the judge bears it out.

It answers the very messages that the bot was asked, with what people typed made anonymous. What it says is checked like
an answer of the bot: a sentence that its passages do not support spoils it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from finetune.chat_model import ChatModel
from finetune.itself import is_tested
from store.errors import Invalid

Teacher = Callable[[Sequence[Mapping[str, str]]], str]


def teacher(spec: Mapping[str, Any]) -> Teacher:
    """The model that the settings name; raises Invalid when it cannot be had."""
    called = f"the teacher {spec['model']}"
    return ChatModel.named(spec["model"], spec["options"], called=called, setting="teacher.model").says


def check(spec: Mapping[str, Any], tested: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Refuse the bot as its own teacher: `tested` names its base model and the addresses where it answers."""
    if spec["model"] and is_tested(spec["model"], spec["options"], tested, environment):
        raise Invalid(f"teacher.model {spec['model']} is the bot itself: it would teach its own mistakes.")
