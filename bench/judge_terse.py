"""The judge's parts about terse answers: SQuAD's own, by themselves and with their question (`finetune/terse.py`).

A wrong answer is that to another question about the same passage. The limit of two content words was chosen on the
articles that `bench.learning` learns from; these are the others. Support is by the shipped weights, which saw no SQuAD.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from bench.learning_direct import SEED, SQUAD
from bench.learning_people import Asked, articles, contains, correction, questions, split
from finetune.fitted import FittedJudge
from finetune.judge import SELECTING
from finetune.meaning import Read
from finetune.targets import with_citations
from finetune.terse import TERSE
from finetune.wording import content_words
from store.answers import cited_numbers

MOST = 2_000


def terse(read: Read) -> list[dict[str, Any]]:
    """A row for each way of judging and number of content words."""
    judge, pairs = FittedJudge(read), _pairs()
    table = []
    for count in range(1, 6):
        mine = [pair for pair in pairs if min(len(content_words(pair[1])), 5) == count]
        ways = {"by itself": lambda _, answer: answer, "with its question": lambda asked, answer: f"{asked} {answer}"}
        for name, claim in ways.items():
            right = [judge.support(claim(one.question, answer), text) for one, answer, _, text in mine]
            wrong = [judge.support(claim(one.question, other), text) for one, _, other, text in mine]
            table.append(
                {
                    "content words": f"{count}{'' if count < 5 else ' or more'}",
                    "judged": name + (", as the gate does" if (count <= TERSE) == (name != "by itself") else ""),
                    "n": len(mine),
                    "right supported": f"{np.mean(np.array(right) >= 0.5):.2f}",
                    "wrong supported": f"{np.mean(np.array(wrong) >= 0.5):.2f}",
                    "AUROC": f"{roc_auc_score([1] * len(right) + [0] * len(wrong), right + wrong):.3f}",
                }
            )
    return table


def cited() -> list[dict[str, Any]]:
    """Which passage a short correction cites: curation's judge, by the answer alone and by its question too.

    All questions of the articles to learn from, each over three passages, of which one answers.
    """
    asked = questions(split(articles(SQUAD), seed=SEED)[0], MOST, unanswerable=0.0, seed=SEED)
    table = []
    for name, question in {
        "by the answer alone": lambda _: "",
        "by the question too": lambda one: one.question,
    }.items():
        found = []
        for one in asked:
            passages = [{"n": n, "text": text} for n, text in enumerate(one.passages, start=1)]
            text, whole = with_citations(correction(one), passages, SELECTING, question=question(one))
            found.append((cited_numbers(text), whole))
        right = np.mean([whole and numbers == [one.gold] for (numbers, whole), one in zip(found, asked, strict=True)])
        held = np.mean([not (numbers and whole) for numbers, whole in found])
        table.append(
            {"chosen": name, "n": len(asked), "right passage": f"{right:.3f}", "held for review": f"{held:.3f}"}
        )
    return table


def _pairs() -> list[tuple[Asked, str, str, str]]:
    """Question, its longest answer, that to another question, as long in content words where there is one; passage."""
    asked = questions(split(articles(SQUAD), seed=SEED)[1], MOST, unanswerable=0.0, seed=SEED)
    about: dict[str, list[Asked]] = {}
    for one in asked:
        about.setdefault(_text(one), []).append(one)
    found = []
    for one in asked:
        answer = _said(one)
        others = [_said(other) for other in about[_text(one)]]
        wrong = [text for text in others if not contains(text, answer) and not contains(answer, text)]
        if wrong:
            found.append((one, answer, _nearest(answer, wrong), _text(one)))
    return found


def _nearest(answer: str, others: Sequence[str]) -> str:
    return min(others, key=lambda text: abs(len(content_words(text)) - len(content_words(answer))))


def _text(asked: Asked) -> str:
    """The passage that answers."""
    assert asked.gold is not None
    return asked.passages[asked.gold - 1]


def _said(asked: Asked) -> str:
    """The longest accepted answer as a sentence."""
    text = max(asked.answers, key=len).rstrip(".")
    return f"{text[0].upper()}{text[1:]}."
