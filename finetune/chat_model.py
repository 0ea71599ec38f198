"""Another chat model, any that LangChain has: messages in, its text out. It judges (`chat_judge`) or teaches."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel

from finetune.libraries import library

PATIENCE = {"timeout": 60.0, "max_retries": 2}
"""Seconds that a request may take, and how often it is tried again, where the settings do not say otherwise."""


def made(name: str, options: Mapping[str, Any]) -> BaseChatModel:
    """A model that waits no longer than PATIENCE says, where its class takes that and the options do not say it."""
    from langchain.chat_models import init_chat_model  # noqa: PLC0415, seconds that only this needs

    model: BaseChatModel = init_chat_model(name, **{"temperature": 0, **options})
    spellings = [{name, field.alias or name} for name, field in type(model).model_fields.items()]
    open_ = [names for names in spellings if not names & set(options)]
    patience = {key: value for key, value in PATIENCE.items() if any(key in names for names in open_)}
    model = init_chat_model(name, **{"temperature": 0, **patience, **options})
    return model


class ChatModel:
    """A model that is asked; `called` names it in errors, `setting` is where its name comes from."""

    def __init__(self, model: BaseChatModel, called: str, *, setting: str) -> None:
        self._model, self._called, self._setting = model, called, setting

    @classmethod
    def named(cls, name: str, options: Mapping[str, Any], *, called: str, setting: str) -> "ChatModel":
        """By a name as `init_chat_model` takes it, `openai:gpt-5-mini`; raises Invalid when LangChain has none such."""
        with library(f"{called} cannot be made", setting):
            return cls(made(name, options), called, setting=setting)

    def says(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Its answer to messages with `role` and `content`, stripped; raises Invalid when it cannot be asked."""
        with library(f"{self._called} could not be asked", self._setting):
            reply = self._model.invoke([(one["role"], one["content"]) for one in messages])
        return str(reply.text).strip()
