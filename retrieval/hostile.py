"""What a document must not do to its reader: hidden characters out, instructions flagged (pure).

A flag is a warning, never a proof: flagged passages are still found and quoted, but framed as data and kept out of
training. Text that hides by colour or size, or that persuades without any of these words, is not recognised.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum


class Flag(StrEnum):
    """Why a passage is handled with care."""

    HIDDEN = "hidden_characters"
    """Characters that no reader sees stood here: tags, text-direction overrides, or gaps of no width inside words."""
    INSTRUCTION = "instruction"
    """It tells the model what to do: to ignore its instructions, to take a role, to keep something from the person."""
    ROLE = "role_marker"
    """It plays a conversation: lines that begin as the system's or as both sides' turns."""
    TEMPLATE = "chat_template"
    """It holds the marks between turns of a chat model, such as <|im_start|>."""


@dataclass(frozen=True)
class Clean:
    """A text without hidden characters, and where (offsets into it) there were some that hide on purpose."""

    text: str
    hidden: tuple[int, ...] = ()


_EMOJI_FLAG = "\U0001f3f4[\U000e0061-\U000e007a]{1,6}\U000e007f"
_HIDING = "\u202a-\u202e\u2066-\u2069\U000e0000-\U000e01ef\u3164\uffa0\u115f\u1160\u180e"
_NO_WIDTH = "\u200b-\u200f\u2060-\u2064\ufeff"
_NOISE = "\u00ad\u0000-\u0008\u000b\u000e-\u001f\u007f-\u0084\u0086-\u009f\ufff9-\ufffb\ud800-\udfff"
_UNSEEN = re.compile(f"{_EMOJI_FLAG}|[{_HIDING}]+|[{_NO_WIDTH}]+|[{_NOISE}]+")
_JOINERS = "\u200c\u200d"

_TEMPLATE = re.compile(
    r"<[|｜][\w .▁-]{1,40}[|｜]>|</?(?:start|end)_of_turn>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS)\]"
    r"|<</?SYS>>|</s>|<(?:bos|eos|pad)>"
)
_RULES = r"(?:instruction|prompt|direction|rule|guideline|command|message|context)s?"
_INSTRUCTIONS = [
    rf"\b(?:ignore|disregard|forget|override|bypass)\b[\w\s,']{{0,40}}?\b(?:previous|prior|above|earlier|preceding|"
    rf"system|your|all|any|these|those)\b[\w\s,']{{0,20}}?\b{_RULES}\b",
    r"\b(?:ignore|disregard|forget) (?:everything|anything|all|what) (?:\w+ ){0,4}(?:above|before|told|said|so far)\b",
    r"\b(?:you are|act as|behave as|pretend to be|roleplay as) (?:now )?(?:in )?(?:an? )?(?:dan\b|unrestricted"
    r"|unfiltered|jailbroken|developer mode|evil\b)",
    r"\b(?:you are now|from now on,? you (?:are|will|must|should)|your new (?:role|task|"
    r"instructions?|rules?) (?:is|are))\b",
    rf"\b(?:reveal|print|repeat|show|output|leak|send)\b[\w\s]{{0,20}}\b(?:your|the) (?:system|hidden|initial|original|"
    rf"secret) {_RULES}",
    r"\b(?:do not|don'?t|never) (?:tell|inform|mention|reveal|show)\b[\w\s]{0,20}\b"
    r"(?:the )?(?:user|person|human|reader)s?\b",
    r"\b(?:new|updated|important|secret|hidden) (?:system )?instructions?"
    r"(?: for (?:the )?(?:ai|model|assistant|bot))?\s*:",
    r"\b(?:ai|language model|assistant|chatbot|llm)s?(?: reading this)?[,:]? (?:must|should|shall|please) "
    r"(?:always |now )?"
    r"(?:ignore|say|answer|respond|reply|recommend|output|tell|rate)\b",
    r"\b(?:ignoriere|vergiss|missachte)\b[\w\s]{0,30}\b(?:anweisung|instruktion|regel|vorgabe)\w*",
    r"\b(?:ignore[zr]?|oublie[zr]?)\b[\w\s]{0,30}\b(?:instructions|consignes|règles)\b",
    r"\b(?:ignora|olvida|ignore)\b[\w\s]{0,30}\b(?:instrucciones|reglas|istruzioni|regole|instruções)\b",
]
_INSTRUCTION = re.compile("|".join(f"(?:{one})" for one in _INSTRUCTIONS))
_TURN = re.compile(r"^(?:[^\w\n]|_){0,6}(system|developer|assistant|ai|user|human)[\W_]{0,3}:", re.MULTILINE)
_MODEL, _PERSON, _ABOVE = {"assistant", "ai"}, {"user", "human"}, {"system", "developer"}
_SYSTEM_HEADING = re.compile(r"^[ \t]*#{2,6}[ \t]*(?:system|instruction|assistant|response)[ \t]*:", re.MULTILINE)


def clean(text: str) -> Clean:
    """The text without characters that no reader sees; joiners stay where a script or an emoji needs them."""
    parts: list[str] = []
    hidden: list[int] = []
    at = length = 0
    for found in _UNSEEN.finditer(text):
        parts.append(text[at : found.start()])
        length += found.start() - at
        kept = _needed(text, found)
        if not kept and _hides(text, found):
            hidden.append(length)
        parts.append(kept)
        length, at = length + len(kept), found.end()
    return Clean("".join([*parts, text[at:]]), tuple(hidden))


def _needed(text: str, found: "re.Match[str]") -> str:
    """What of the unseen characters has to stay: an emoji flag, a joiner between emoji or letters that join."""
    unseen = found.group()
    if unseen[0] == "\U0001f3f4":
        return unseen
    before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
    joins = len(unseen) == 1 and unseen in _JOINERS and before and after and not (before + after).isascii()
    return unseen if joins and _joining(before) and _joining(after) else ""


def _joining(character: str) -> bool:
    """Whether it is a letter of a script beyond the European ones, or part of an emoji."""
    category = unicodedata.category(character)
    return category in {"So", "Sk", "Mn", "Mc"} or (category == "Lo" and character > "\u0590")


def _hides(text: str, found: "re.Match[str]") -> bool:
    """Whether the unseen characters hide something: always for some; those without width when inside a word."""
    if re.search(f"[{_HIDING}]", found.group()):
        return True
    before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
    inside = before.isascii() and after.isascii() and before.isalpha() and after.isalpha()
    return bool(re.search(f"[{_NO_WIDTH}]", found.group())) and (inside or len(found.group()) >= 8)


def flags_of(text: str) -> list[str]:
    """The flags that a text deserves by what it says."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    turns = set(_TURN.findall(plain))
    found = {
        Flag.INSTRUCTION: bool(_INSTRUCTION.search(re.sub(r"\s+", " ", plain))),
        Flag.ROLE: bool(turns & _ABOVE or (turns & _MODEL and turns & _PERSON) or _SYSTEM_HEADING.search(plain)),
        Flag.TEMPLATE: bool(_TEMPLATE.search(text)),
    }
    return [str(flag) for flag, present in found.items() if present]


def passage_flags(title: str, text: str, start: int, end: int, hidden: tuple[int, ...]) -> list[str]:
    """The flags of a passage with its title; `hidden` are offsets of hidden characters into its document."""
    unseen = [str(Flag.HIDDEN)] if any(start <= at <= end for at in hidden) else []
    return [*unseen, *flags_of(f"{title}\n{text}")]
