"""Fits the judge's scorecards to what people said; writes them, with sources, to finetune/judge_weights.json."""

import json
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from bench import judge_sets
from bench.judge_sets import Asked, Labelled, Rated, System
from bot.models import PACKAGED_CHAT, chat_model
from bot.reading import LAYER, States
from configs.settings import load_settings
from finetune import accuracy, enough, perturbations, responding, scorecard, signals
from finetune.enough import Probe
from finetune.meaning import Meaning
from finetune.perturbations import Honest
from finetune.scorecard import Scorecard

Floats = npt.NDArray[np.float64]
CHANGED_WEIGHT = 0.15
"""What a claim that we changed ourselves weighs against one that people labelled."""
PROBE_C = 0.01
"""How firmly a probe's weights are held near 0 (scikit-learn's C)."""
RATED = (0.75, 1.5, 2.25)
"""Mean ratings from which a passage counts as good: one yes-or-no question each, fitted together."""
SOURCES = {
    "support": "AttributionBench dev, 1,198 claims labelled by people (Li et al. 2024; AttributedQA, ExpertQA, LFQA, "
    "Stanford-GenSearch), and supported claims changed by finetune/perturbations.py, counted as unsupported",
    "accuracy": "EVOUNA NQ, answers of five systems judged by people (Wang et al. 2023), Apache-2.0; points only",
    "relevance": "FeedbackQA, ratings of passages by people (Li et al. 2022); points only",
    "enough": "SQuAD 2.0 dev, part (Rajpurkar et al. 2018), CC BY-SA 4.0; points only",
    "responds": "ExpertQA rand_val, part (Malaviya et al. 2024), MIT, and SQuAD 2.0 dev, part, CC BY-SA 4.0: answers "
    "of people against copied context, echoed questions and answers to other questions",
}


meant_support = cache(signals.meant_signals)
meant_context = cache(enough.meant_signals)


def support_rows(rows: Sequence[Labelled], meaning: Meaning | None) -> Floats:
    """The signals of claims, one row each."""
    joined = [(row.claim, "\n".join(row.references)) for row in rows]
    if meaning is None:
        return np.array([signals.support_signals(*one) for one in joined])
    return np.array([meant_support(*one, meaning) for one in joined])


def changed_claims(rows: Sequence[Labelled], *, seed: int = 0) -> list[Labelled]:
    """Supported claims negated, with another number or name, or another question's claim: unsupported ones.

    What is swapped in comes from all claims, whoever they are of; their labels are not looked at.
    """
    made, pool = [], judge_sets.attribution()
    for row in (row for row in rows if row.yes):
        rng = random.Random(f"{seed} {row.claim}")
        case = Honest(row.question, row.claim, row.references)
        strange = [name for other in rng.sample(pool, 8) for name in perturbations.names(other.claim)]
        texts = (
            perturbations.negated(case, rng),
            perturbations.number_changed(case, rng),
            perturbations.name_swapped(case, rng, pool=strange),
        )
        elsewhere = next(o for o in rng.sample(pool, 8) if o.question != row.question)
        texts = (*texts, elsewhere.claim)
        made += [Labelled(t, row.references, row.question, row.source, False) for t in texts if t is not None]
    return made


def support_card(rows: Sequence[Labelled], meaning: Meaning | None = None) -> Scorecard:
    """The scorecard of support, fitted to labelled claims and to our changes of the supported ones."""
    changed = changed_claims(rows)
    values = support_rows([*rows, *changed], meaning)
    labels = np.array([float(row.yes) for row in (*rows, *changed)])
    weights = np.array([1.0] * len(rows) + [CHANGED_WEIGHT] * len(changed))
    directions = signals.DIRECTIONS | (signals.MEANING if meaning is not None else {})
    return scorecard.fit(values, labels, directions=directions, weights=weights, free=("very_long",), knots=5)


def accuracy_rows(rows: Sequence[System]) -> Floats:
    """The signals of systems' answers, one row each."""
    return np.array([accuracy.right_signals(row.question, row.answer, row.reference) for row in rows])


def accuracy_card(values: Floats, labels: Floats) -> Scorecard:
    """The scorecard of accuracy."""
    return scorecard.fit(values, labels, directions=accuracy.DIRECTIONS, ridge=0.001, free=("times_other",))


def context_rows(pairs: Sequence[tuple[str, str]], meaning: Meaning | None) -> Floats:
    """The signals of questions with passages, one row each."""
    if meaning is None:
        return np.array([enough.enough_signals(*pair) for pair in pairs])
    return np.array([meant_context(*pair, meaning) for pair in pairs])


@cache
def packaged_states() -> States:
    """The packaged chat model, which reads questions over passages."""
    folder = load_settings().models.folder
    return States(chat_model(PACKAGED_CHAT, models=folder))


def probe(states: Floats, labels: Floats) -> Probe:
    """A linear probe of states: logistic regression on their z-scores, a firm ridge."""
    scaler = StandardScaler().fit(states)
    found = LogisticRegression(C=PROBE_C, max_iter=1_000).fit(scaler.transform(states), labels)
    weights = found.coef_[0] / scaler.scale_
    return Probe(weights, float(found.intercept_[0] - scaler.mean_ @ weights))


def probed_apart(states: Floats, labels: Floats, articles: Sequence[str]) -> Floats:
    """What a probe says of each row, fitted to other articles, in five groups: what a scorecard may be fitted to."""
    found = np.zeros(len(labels))
    for fit, test in GroupKFold(5).split(states, groups=list(articles)):
        found[test] = probe(states[fit], labels[fit]).probability(states[test])
    return found


def _directions(meaning: Meaning | None) -> dict[str, int]:
    return enough.DIRECTIONS | (enough.MEANING if meaning is not None else {})


def relevance_card(rows: Sequence[Rated], meaning: Meaning | None = None) -> Scorecard:
    """The scorecard of context relevance: is a passage rated at least so well, asked at three heights."""
    values = context_rows([(row.question, row.passage) for row in rows], meaning)
    means = np.array([np.mean(row.ratings) for row in rows])
    labels = np.concatenate([(means >= height).astype(float) for height in RATED])
    return scorecard.fit(np.vstack([values] * len(RATED)), labels, directions=_directions(meaning), ridge=0.003)


def enough_card(rows: Sequence[Asked], meaning: Meaning | None = None, states: Floats | None = None) -> Scorecard:
    """The scorecard of whether a passage is enough to answer; with `states` of the rows, a probe of them counts too."""
    values, directions = context_rows([(row.question, row.passage) for row in rows], meaning), _directions(meaning)
    labels = np.array([float(row.yes) for row in rows])
    if states is not None:
        told = probed_apart(states, labels, [row.article for row in rows])
        values, directions = np.column_stack([values, told]), directions | enough.READ
    return scorecard.fit(values, labels, directions=directions, ridge=0.003)


def responds_card(cases: Sequence[Honest], *, seed: int = 0) -> Scorecard:
    """The scorecard of responding: people's answers against copied context, the question itself, another's answer."""
    rows, rng = [], random.Random(seed)
    for case, worse in perturbations.made_worse(cases, seed=seed):
        other = rng.choice(cases)
        cheats = [worse.get("copied"), case.question, other.answer if other.question != case.question else None]
        for cheat in cheats:
            if cheat is not None:
                pair = (case.answer, cheat)
                rows += [responding.responding_signals(case.question, text, case.passages) for text in pair]
    return scorecard.fit(np.array(rows), np.zeros(len(rows)), directions=responding.DIRECTIONS, paired=True)


def fitted_answers() -> tuple[list[Honest], list[Honest]]:
    """People's answers in two parts, to fit and to test: every other article of SQuAD, question of ExpertQA."""
    expert = judge_sets.expert_answers()
    questions = sorted({case.question for case in expert})
    first = set(questions[0::2])
    fit = [case for case in expert if case.question in first]
    # ExpertQA's answers are fewer and longer: they count four times, so that spans do not decide alone.
    return (
        [*judge_sets.squad_answers(articles=slice(0, None, 2), per_article=14), *fit * 4],
        [case for case in expert if case.question not in first],
    )


def write(meaning: Meaning | None) -> dict[str, Any]:
    """Fit every scorecard, write the file and return what was written."""
    systems = judge_sets.systems()
    right = accuracy_card(accuracy_rows(systems), np.array([float(row.yes) for row in systems]))
    claims, rated, asked = judge_sets.attribution(), judge_sets.feedback(), judge_sets.answerable(per_article=150)
    cards = {
        "support": support_card(claims),
        "accuracy": right,
        "relevance": relevance_card(rated),
        "enough": enough_card(asked),
        "responds": responds_card(fitted_answers()[0]),
    }
    if meaning is not None:
        cards |= {
            "support+meaning": support_card(claims, meaning),
            "relevance+meaning": relevance_card(rated, meaning),
            "enough+meaning": enough_card(asked, meaning),
            "enough+states": enough_card(asked, meaning, _write_probe(asked)),
        }
    content = {"fitted_on": SOURCES, **{name: card.to_json() for name, card in cards.items()}}
    scorecard.WEIGHTS.write_text(_lines(content))
    scorecard.shipped.cache_clear()
    return content


def _write_probe(asked: Sequence[Asked]) -> Floats:
    """Fit the probe to all rows, write it, and return their states."""
    states = packaged_states()([(row.question, row.passage) for row in asked])
    found = probe(states, np.array([float(row.yes) for row in asked]))
    content = {"fitted_on": SOURCES["enough"], "states": f"{PACKAGED_CHAT}, layer {LAYER}, where the question ends"}
    weights = [float(f"{weight:.4g}") for weight in found.weights]
    enough.PROBE.write_text(json.dumps(content | {"bias": round(found.bias, 4), "weights": weights}) + "\n")
    enough.shipped_probe.cache_clear()
    return states


def _lines(content: dict[str, Any]) -> str:
    """JSON with a line per signal."""
    parts = []
    for name, value in content.items():
        if "points" not in value:
            parts.append(f"{json.dumps(name)}: {json.dumps(value, indent=2)}")
            continue
        rows = ",\n".join(f"  {json.dumps(signal)}: {json.dumps(points)}" for signal, points in value["points"].items())
        parts.append(f'{json.dumps(name)}: {{"bias": {value["bias"]}, "points": {{\n{rows}\n}}}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"
