"""The judge's parts about passages: are they about the question as people rate it, do they hold the answer.

FeedbackQA, each collection by the other two; SQuAD 2.0, articles in five folds. `bench/judge.py` prints them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from bench import judge_fit, judge_sets
from bench.judge_stats import Floats, folds, scores
from finetune import enough
from finetune.meaning import Meaning


def ways(meaning: Meaning) -> list[tuple[str, Meaning | None]]:
    """Our judge as the gate uses it, and by words alone."""
    return [("ours", meaning), ("ours, words alone", None)]


def context(meaning: Meaning) -> list[dict[str, Any]]:
    """A row for each judge on both sets."""
    rated, asked = judge_sets.feedback(), judge_sets.answerable(per_article=150)
    table = []
    means, sources = np.array([np.mean(r.ratings) for r in rated]), np.array([r.source for r in rated])
    full = judge_fit.context_rows([(r.question, r.passage) for r in rated], meaning)
    known = {"word recall": _column(full, "share"), "MiniLM cosine": _column(full, "passage_meaning")}
    for name, using in ways(meaning):
        values, found = _columns(full, using), np.zeros(len(rated))
        for source in sorted(set(sources.tolist())):
            card = judge_fit.relevance_card([r for r in rated if r.source != source], using)
            found[sources == source] = scores(card, values[sources == source])
        known[name] = found
    pairs = [r.ratings for r in rated if len(r.ratings) > 1]
    people = spearmanr([p[0] for p in pairs], [p[1] for p in pairs]).statistic
    first = np.array([r.ratings[0] for r in rated])
    for name, found in known.items():
        where = "FeedbackQA, other collection"
        one, all_ = spearmanr(first, found).statistic, spearmanr(means, found).statistic
        table.append(
            {"judge": name, "set": where, "n": len(rated), "Spearman, mean rating": f"{all_:.3f}", "one": f"{one:.3f}"}
        )
    table.append(
        {"judge": "people", "set": "FeedbackQA", "n": len(pairs), "Spearman, mean rating": "", "one": f"{people:.3f}"}
    )
    return table + _enough(asked, meaning)


def _column(full: Floats, name: str) -> Floats:
    """A signal of a question with its passage."""
    return full[:, [*enough.DIRECTIONS, *enough.MEANING].index(name)]


def _columns(full: Floats, using: Meaning | None) -> Floats:
    """The signals that a way has."""
    return full if using is not None else full[:, : len(enough.DIRECTIONS)]


def _enough(asked: Sequence[judge_sets.Asked], meaning: Meaning) -> list[dict[str, Any]]:
    parts = folds([one.article for one in asked], 5)
    labels = np.array([float(one.yes) for one in asked])
    pairs = [(one.question, one.passage) for one in asked]
    full, states = judge_fit.context_rows(pairs, meaning), judge_fit.packaged_states()(pairs)
    known = {"word recall": _column(full, "share"), "MiniLM cosine, best sentences": _column(full, "window_meaning")}
    for name, using, reads in (
        ("ours", meaning, True),
        ("ours, nothing read", meaning, False),
        ("ours, words alone", None, False),
    ):
        values, found = _columns(full, using), np.zeros(len(asked))
        for part in range(5):
            fit, test = parts != part, parts == part
            rows = [one for one, other in zip(asked, fit, strict=True) if other]
            card = judge_fit.enough_card(rows, using, states[fit] if reads else None)
            told = judge_fit.probe(states[fit], labels[fit]).probability(states[test])
            found[test] = scores(card, np.column_stack([values[test], told]) if reads else values[test])
        known[name] = found
    return [
        {
            "judge": name,
            "set": "SQuAD 2.0, other articles: AUROC",
            "n": len(asked),
            "Spearman, mean rating": "",
            "one": f"{roc_auc_score(labels, found):.3f}",
        }
        for name, found in known.items()
    ]
