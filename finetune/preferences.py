"""Curated examples to preferences: what people wrote over what the bot had said, and answers they liked (pure).

A corrected answer gives a pair: the correction is chosen, the logged answer rejected; so does a disliked one for which
a teacher model has a supported answer. A liked answer gives a label, and so does one that was disliked without either.
Only the training side is used, after all of curation's rules.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from finetune.examples import Kind

Method = Literal["dpo", "kto"]
LEAST_PAIRED = 0.5
"""DPO needs pairs: with a smaller share of them among the labels, KTO learns from more."""


@dataclass(frozen=True)
class Preference:
    """One prompt with a wanted answer, an unwanted one, or in a pair both; "" for what there is not."""

    messages: list[dict[str, str]]
    chosen: str
    rejected: str = ""


def available() -> bool:
    """Whether TRL, which trains on them, is installed."""
    return find_spec("trl") is not None


def preferences(examples: Iterable[Mapping[str, Any]]) -> list[Preference]:
    """The preferences that people expressed, in the order of the examples."""
    found = []
    for example in examples:
        logged = str(example.get("logged_answer", "")).strip()
        if example["kind"] in (Kind.APPROVED, Kind.CORRECTION, Kind.TAUGHT) and logged and logged != example["target"]:
            found.append(Preference(list(example["messages"]), example["target"], logged))
        elif example["kind"] == Kind.UPVOTED:
            found.append(Preference(list(example["messages"]), example["target"]))
        elif example["kind"] == Kind.DISLIKED:
            found.append(Preference(list(example["messages"]), "", example["target"]))
    return found


def method_for(found: Sequence[Preference], wanted: str, *, least: int) -> tuple[Method | None, str]:
    """How to train on preferences, or None, and why; `wanted` is auto, dpo, kto or off."""
    pairs = sum(bool(one.chosen and one.rejected) for one in found)
    unwanted = sum(bool(one.rejected) for one in found)
    labels = len(found) + pairs
    if wanted == "off":
        return None, "Preferences are off."
    if labels < least or not unwanted or (unwanted == len(found) and not pairs) or (wanted == "dpo" and not pairs):
        return (
            None,
            f"{labels} preference labels, {pairs} pairs, {unwanted} unwanted answers: {least} labels of both kinds are "
            "needed before they teach more than noise.",
        )
    if wanted == "dpo" or (wanted == "auto" and pairs >= LEAST_PAIRED * len(found)):
        return (
            "dpo",
            f"{pairs} pairs of a correction and the answer that it replaced: DPO on top, against the same without.",
        )
    return "kto", f"{labels} labels, {pairs} of them in pairs: KTO on top, against the same without."


def rows_for(method: Method, found: Sequence[Preference]) -> list[dict[str, Any]]:
    """The rows that TRL's trainers take: conversations with chosen and rejected, or completions with a label."""
    if method == "dpo":
        return [
            {"prompt": one.messages, "chosen": _said(one.chosen), "rejected": _said(one.rejected)}
            for one in found
            if one.chosen and one.rejected
        ]
    wanted = [{"prompt": one.messages, "completion": _said(one.chosen), "label": True} for one in found if one.chosen]
    unwanted = [
        {"prompt": one.messages, "completion": _said(one.rejected), "label": False} for one in found if one.rejected
    ]
    return [*wanted, *unwanted]


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
