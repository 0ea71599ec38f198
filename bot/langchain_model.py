"""The engine as a LangChain chat model, so that chains and tools written for LangChain can use what serves."""

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage, convert_to_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from bot.protocols import Generation

_ROLES = {"human": "user", "ai": "assistant", "system": "system"}


class EngineModel(BaseChatModel):
    """A LangChain chat model over an Engine and one adapter version; closing a stream cancels the answer."""

    engine: Any
    adapter: str
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    @property
    def _llm_type(self) -> str:
        return "ratchet"

    def begin(self, messages: list[dict[str, str]], stop: Sequence[str] | None = None) -> Generation:
        """Queue an answer now; `stream(…, generation=…)` then reads it. Raises what the engine raises."""
        generation: Generation = self.engine.stream(
            messages,
            adapter=self.adapter,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=tuple(stop or ()),
        )
        return generation

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        generation: Generation = kwargs.get("generation") or self.begin(plain(messages), stop)
        try:
            for text in generation:
                if run_manager is not None:
                    run_manager.on_llm_new_token(text)
                yield ChatGenerationChunk(message=AIMessageChunk(content=text))
        finally:
            generation.cancel()
        usage = UsageMetadata(
            input_tokens=generation.prompt_tokens,
            output_tokens=generation.completion_tokens,
            total_tokens=generation.prompt_tokens + generation.completion_tokens,
        )
        last = AIMessageChunk(content="", usage_metadata=usage, chunk_position="last")
        last.response_metadata = {"finish_reason": generation.finish_reason}
        yield ChatGenerationChunk(message=last)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager))


def plain(messages: list[BaseMessage]) -> list[dict[str, str]]:
    """LangChain messages as plain role and content."""
    return [
        {"role": _ROLES.get(message.type, "user"), "content": str(message.content)}
        for message in convert_to_messages(messages)
    ]
