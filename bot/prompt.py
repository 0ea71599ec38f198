"""Passages, history and a question to the chat messages that the model sees (pure).

The exact messages are logged and trained on, so whatever changes here changes what later adapters learn.
"""

from collections.abc import Callable, Sequence
from typing import Any

from store.answers import DECLINE

SYSTEM = (
    "You answer questions from numbered passages. Use only what the passages say, keep it short, and after each "
    f"sentence name the passage it comes from, like [1]. If no passage answers the question, say: {DECLINE}"
)
NO_PASSAGES = "There is no passage on this."

Messages = list[dict[str, str]]


def question_block(question: str, passages: Sequence[dict[str, Any]]) -> str:
    """The user's message: the numbered passages, then the question."""
    blocks = [f"[{passage['n']}] {passage['title']}\n{passage['text']}" for passage in passages]
    return "\n\n".join([*(blocks or [NO_PASSAGES]), f"Question: {question}"])


def messages(question: str, passages: Sequence[dict[str, Any]], history: Sequence[dict[str, str]]) -> Messages:
    """System message, earlier turns as they were said, and the question with its passages."""
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in history]
    return [
        {"role": "system", "content": SYSTEM},
        *turns,
        {"role": "user", "content": question_block(question, passages)},
    ]


def search_query(question: str, history: Sequence[dict[str, str]]) -> str:
    """What to search for: a short follow-up is joined to the question before it, so that it stands on its own."""
    asked = [turn["content"] for turn in history if turn["role"] == "user"]
    if not asked or (len(question.split()) > 8 and not _points_back(question)):
        return question
    return f"{asked[-1]}\n{question}"


def _points_back(question: str) -> bool:
    words = {word.strip("?,.!").lower() for word in question.split()}
    return bool(words & {"it", "its", "that", "this", "those", "these", "they", "them", "there", "he", "she", "one"})


def fitted(
    question: str,
    passages: Sequence[dict[str, Any]],
    history: Sequence[dict[str, str]],
    *,
    budget: int,
    count: Callable[[Messages], int],
    keep_passages: bool = False,
) -> tuple[Messages, list[dict[str, Any]], dict[str, int]]:
    """The messages within `budget` tokens, the passages left in them, and how many turns and passages were cut.

    The oldest turns go first, then the passages with the lowest score, then the end of the longest passage and of the
    question. `keep_passages` shortens passages but drops none. `count` gives the tokens of messages.
    """
    kept, turns = [dict(passage) for passage in passages], list(history)
    cut = {"turns": 0, "passages": 0, "characters": 0}
    while count(built := messages(question, kept, turns)) > budget:
        if turns:
            del turns[:2]
            cut["turns"] += 1
        elif len(kept) > 1 and not keep_passages:
            kept.remove(min(kept, key=lambda passage: passage["score"]))
            cut["passages"] += 1
        elif kept and max(len(passage["text"]) for passage in kept) > 200:
            longest = max(kept, key=lambda passage: len(passage["text"]))
            cut["characters"] += len(longest["text"]) - len(longest["text"]) * 3 // 4
            longest["text"] = longest["text"][: len(longest["text"]) * 3 // 4]
        elif len(question) > 200:
            cut["characters"] += len(question) // 4
            question = question[: len(question) * 3 // 4]
        else:
            break
    numbered = kept if keep_passages else [{**passage, "n": n} for n, passage in enumerate(kept, start=1)]
    built = messages(question, numbered, turns)
    return built, numbered, cut
