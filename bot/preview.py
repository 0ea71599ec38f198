"""Blind previews: an adapter and what serves answer the same question over the same passages, side by side.

Nothing of it enters the log. The store keeps which answer is whose; `store/previews.py` tells it after the choice.
"""

import random
from collections.abc import Mapping

from bot.chat import Chat, Prompt
from bot.live import Live
from bot.protocols import Engine, Generation
from store import adapters, previews
from store.database import Database
from store.errors import Conflict, Invalid
from store.models import AdapterState, Preview

PREVIEWED = (AdapterState.CANDIDATE, AdapterState.AWAITING_APPROVAL, AdapterState.APPROVED, AdapterState.CANARY)


class Previewer:
    """Answers a question twice; loads the adapter for as long as that takes when it is not deployed."""

    def __init__(self, database: Database, chat: Chat, engine: Engine, live: Live) -> None:
        self._database = database
        self._chat = chat
        self._engine = engine
        self._live = live

    def answer(self, question: str, adapter_id: str, person_id: str) -> Preview:
        """A preview whose labels A and B were drawn at random.

        Raises Invalid for an empty question, NotFound for an unknown adapter, Conflict for one that is not up for a
        decision or serves already, BrokenAdapter for one whose files were altered, Busy when too many wait.
        """
        if not question.strip():
            raise Invalid("the question is empty.", "Write a question.")
        self._check(adapter_id)
        serving = self._live.adapter
        if serving == adapter_id:
            raise Conflict(f"adapter {adapter_id} serves already: there is nothing to compare it with.")
        with self._live.hold(adapter_id), self._live.hold(serving):
            made = self._chat.prompt(question.strip(), self._chat.search(question.strip()), [])
            texts = self._written(made, (adapter_id, serving))
        row = Preview(
            person_id=person_id,
            adapter=adapter_id,
            serving=serving,
            question=question.strip(),
            passages=made.passages,
            answers=_labelled(texts),
        )
        previews.keep(self._database, row)
        return row

    def _check(self, adapter_id: str) -> None:
        with self._database.read() as session:
            state = adapters.get(session, adapter_id).state
        if state not in PREVIEWED:
            allowed = ", ".join(state.replace("_", " ") for state in PREVIEWED)
            raise Conflict(f"adapter {adapter_id} is {state}: only one that is {allowed} can be previewed.")

    def _written(self, made: Prompt, names: tuple[str, str]) -> dict[str, str]:
        begun: dict[str, Generation] = {}
        try:
            for name in names:
                begun[name] = self._engine.stream(made.messages, adapter=name, max_tokens=made.max_tokens)
            return {name: "".join(generation).strip() for name, generation in begun.items()}
        finally:
            for generation in begun.values():
                generation.cancel()


def _labelled(texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    names = list(texts)
    random.SystemRandom().shuffle(names)
    return {label: {"adapter": name, "text": texts[name]} for label, name in zip(previews.LABELS, names, strict=True)}
