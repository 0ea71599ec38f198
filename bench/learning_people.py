"""Simulated people on SQuAD 2.0: what they ask over given passages, how they rate, what they correct (pure).

A question comes with three passages of one article. Where it can be answered one of them is the one it was written for;
where it cannot, none of them contains any accepted answer. People rate truthfully, a tenth of the time the wrong way
round, and write what is right for a share of the answers that were wrong: the shortest accepted answer, or that the
documents do not answer. Beside them others ask the handbook's questions of other tasks and correct with the answer that
is written there. It knows no bot.
"""

import json
import random
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.answers import DECLINE, cited_numbers, declined, without_citations

PASSAGES = 3
LONGEST = 800
"""Characters of a passage; longer ones are not used, so that a cycle fits an hour of one thread."""
HELD_OUT_ARTICLES = 6
MEASURED = 60
"""At least so many of the handbook's questions are never asked; with them other tasks' perplexity is measured."""
NOISE = 0.1
CORRECTED = 0.6


@dataclass(frozen=True)
class Asked:
    """A question with the passages that are given with it; `gold` is the answering one, from 1, None where none is."""

    id: str
    article: str
    question: str
    titles: tuple[str, ...]
    passages: tuple[str, ...]
    answers: tuple[str, ...]
    gold: int | None

    def given(self) -> list[dict[str, str]]:
        """The passages as the API takes them."""
        return [{"title": title, "text": text} for title, text in zip(self.titles, self.passages, strict=True)]


def articles(file: Path) -> list[dict[str, Any]]:
    """The articles of a SQuAD 2.0 file, in order of title."""
    found: list[dict[str, Any]] = json.loads(file.read_text())["data"]
    return sorted(found, key=lambda article: article["title"])


def split(found: Sequence[dict[str, Any]], *, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Articles to learn from, and articles to test with."""
    order = random.Random(seed).sample(list(found), len(found))
    return order[HELD_OUT_ARTICLES:], order[:HELD_OUT_ARTICLES]


def questions(found: Sequence[dict[str, Any]], count: int, *, unanswerable: float, seed: int) -> list[Asked]:
    """`count` questions over articles, a share of them without an answer in the passages; each is used once."""
    chance = random.Random(seed)
    pool = [
        (article, place, entry)
        for article in found
        for place, paragraph in enumerate(article["paragraphs"])
        if len(paragraph["context"]) <= LONGEST
        for entry in paragraph["qas"]
        if not entry["is_impossible"] and entry["answers"]
    ]
    chance.shuffle(pool)
    wanted_without = round(count * unanswerable)
    made: list[Asked] = []
    without = 0
    for article, place, entry in pool:
        if len(made) == count:
            break
        decline = without < wanted_without and chance.random() < wanted_without / count * 1.1
        asked = _asked(article, place, entry, answerable=not decline, chance=chance)
        if asked is not None:
            made.append(asked)
            without += decline
    return made


def _asked(
    article: dict[str, Any], place: int, entry: dict[str, Any], *, answerable: bool, chance: random.Random
) -> Asked | None:
    """One question with its passages; None where the article has too few others that do not contain the answer."""
    answers = tuple(dict.fromkeys(answer.strip() for answer in entry["answers"]))
    texts = [paragraph["context"] for paragraph in article["paragraphs"]]
    others = [
        text
        for number, text in enumerate(texts)
        if number != place and len(text) <= LONGEST and not any(contains(text, answer) for answer in answers)
    ]
    needed = PASSAGES - answerable
    if len(others) < needed:
        return None
    shown = chance.sample(others, needed) + ([texts[place]] if answerable else [])
    chance.shuffle(shown)
    title = article["title"].replace("_", " ")
    gold = shown.index(texts[place]) + 1 if answerable else None
    return Asked(entry["id"], title, entry["question"].strip(), (title,) * PASSAGES, tuple(shown), answers, gold)


def handbook(rows: Sequence[dict[str, Any]], *, seed: int) -> tuple[list[Asked], list[dict[str, Any]]]:
    """Questions of a handbook to ask, with three of its passages each, and rows of other pages to measure with."""
    chance = random.Random(seed)
    pages = sorted({row["document"] for row in rows})
    chance.shuffle(pages)
    measured: list[dict[str, Any]] = []
    while len(measured) < MEASURED:
        page = pages.pop()
        measured += [row for row in rows if row["document"] == page]
    others = [row for row in rows if row["document"] in pages]
    asked = []
    for row in others:
        texts = {other["passage"]: other["document"] for other in others if other["document"] != row["document"]}
        shown = [*chance.sample(sorted(texts.items()), PASSAGES - 1), (row["passage"], row["document"])]
        chance.shuffle(shown)
        gold = shown.index((row["passage"], row["document"])) + 1
        titles, passages = tuple(title for _, title in shown), tuple(text for text, _ in shown)
        asked.append(Asked(row["id"], row["document"], row["question"], titles, passages, (row["answer"],), gold))
    return asked, measured


def plain(text: str) -> list[str]:
    """Lower-case words without articles and punctuation, as SQuAD compares them (Rajpurkar et al. 2016)."""
    bare = "".join(letter if letter not in string.punctuation else " " for letter in text.lower())
    return [word for word in bare.split() if word not in ("a", "an", "the")]


def contains(text: str, answer: str) -> bool:
    """Whether the words of an answer stand in a text, one after the other."""
    return f" {' '.join(plain(answer))} " in f" {' '.join(plain(text))} "


def token_f1(text: str, answers: Sequence[str]) -> float:
    """SQuAD's F1 of the words, best over the accepted answers; citation markers do not count."""
    said = Counter(plain(without_citations(text)))
    best = 0.0
    for answer in answers:
        wanted = Counter(plain(answer))
        both = sum((said & wanted).values())
        best = max(best, 2 * both / (said.total() + wanted.total()) if both else 0.0)
    return best


def right(asked: Asked, answer: str) -> bool:
    """Whether a person who knows the article is content: the answer with its source, or a fair decline."""
    if asked.gold is None:
        return declined(answer)
    return asked.gold in cited_numbers(answer) and any(contains(answer, one) for one in asked.answers)


def reaction(asked: Asked, answer: str, *, chance: random.Random) -> dict[str, Any]:
    """A rating, truthful but for NOISE, and for CORRECTED of the wrong answers what would have been right."""
    good = right(asked, answer)
    up = good != (chance.random() < NOISE)
    if good or chance.random() >= CORRECTED:
        return {"rating": "up" if up else "down"}
    return {"rating": "down", "correction": DECLINE if asked.gold is None else correction(asked)}


def correction(asked: Asked) -> str:
    """What a person writes: the shortest accepted answer as a sentence, without a citation."""
    short = min(asked.answers, key=len).rstrip(".")
    return f"{short[0].upper()}{short[1:]}."


def scores(asked: Sequence[Asked], answers: Sequence[str]) -> dict[str, float]:
    """Shares over the answerable and the unanswerable cases; `token_f1` is a mean."""
    pairs = list(zip(asked, answers, strict=True))
    can = [(one, text) for one, text in pairs if one.gold is not None]
    cannot = [text for one, text in pairs if one.gold is None]
    return {
        "right citation": _share([one.gold in cited_numbers(text) for one, text in can]),
        "declines unanswerable": _share([declined(text) for text in cannot]),
        "false declines": _share([declined(text) for _, text in can]),
        "contains the gold": _share([any(contains(text, a) for a in one.answers) for one, text in can]),
        "token F1": sum(token_f1(text, one.answers) for one, text in can) / max(1, len(can)),
        "words": sum(len(without_citations(text).split()) for _, text in can) / max(1, len(can)),
    }


def _share(found: Sequence[bool]) -> float:
    return sum(found) / max(1, len(found))


def copied(asked: Asked) -> str:
    """The sentence that shares most words with the question, cited: what a cheat would answer."""
    from finetune.wording import content_words
    from store.answers import sentences

    wanted = set(content_words(asked.question))
    ranked = [
        (len(wanted & set(content_words(sentence))), -number, sentence)
        for number, text in enumerate(asked.passages, start=1)
        for sentence in sentences(text)
    ]
    shared, number, sentence = max(ranked)
    return f"{sentence} [{-number}]" if shared >= len(wanted) / 2 else DECLINE
