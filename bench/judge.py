"""How far the judge agrees with people, on data that it was not fitted on.

python -m bench.judge                    everything; half an hour on one core, most of it embedding
python -m bench.judge --part support     one part: support, accuracy, context, changed, terse or cited
python -m bench.judge --fit              fit anew, write finetune/judge_weights.json

Ours is measured by words alone (`judge.meaning: false`) and with an embedding's vectors (the default).

Support: AttributionBench dev, ten folds by question ("same sources"), and each source judged by what the other three
taught ("other source"); ExpertQA's claims on questions that AttributionBench dev does not have. The threshold of
macro-F1 comes from the other half of the same claims' questions, for every judge. WordJudge's constants were fitted on
AttributionBench dev itself: its lines there are no test. The difference to the share of content words is
bootstrapped by question.
Accuracy: EVOUNA NQ, five folds by question. Context: FeedbackQA, each collection by the other two; SQuAD 2.0, articles
in five folds. Changed: does the honest answer win over the one we made worse;
support without ExpertQA's labels, responding fitted on the other half of the questions. Terse and cited:
bench/judge_terse.py. Signs and coverage with 200 labels are in bench/ppi.py.
The data sets lie beside the checkout (`RATCHET_BENCH_DATA`, default ../shared/data).
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from bench import judge_fit, judge_sets
from bench.judge_context import context, ways
from bench.judge_stats import Floats, bootstrap, cut, folds, scores
from bench.judge_terse import cited, terse
from bench.retrieval_sets import DATA
from bench.table import show
from bot.models import packaged_read
from finetune import accuracy, perturbations, responding, scorecard, signals
from finetune.denials import contradicted
from finetune.fitted import OTHERWISE
from finetune.judge import WordJudge, supported_answer
from finetune.meaning import Meaning
from finetune.scorecard import Scorecard
from finetune.wording import content_words, share_found


def _claims(meaning: Meaning) -> list[dict[str, Any]]:
    rows = judge_sets.attribution()
    known = frozenset(row.question for row in rows)
    others = judge_sets.expert_claims(without=known)
    labels = np.array([float(row.yes) for row in rows])
    sources, questions = np.array([row.source for row in rows]), [row.question for row in rows]
    found = {name: np.zeros(len(rows)) for name, _ in ways(meaning)}
    crossed = {name: np.zeros(len(rows)) for name in found}
    elsewhere: dict[str, Floats] = {}
    simple, simple_elsewhere = _simple(rows, meaning), _simple(others, meaning)
    for name, using in ways(meaning):
        values = judge_fit.support_rows(rows, using)
        for into, parts in ((found, folds(questions, 10)), (crossed, sources)):
            for part in sorted(set(parts.tolist())):
                card = judge_fit.support_card([r for r, p in zip(rows, parts, strict=True) if p != part], using)
                into[name][parts == part] = scores(card, values[parts == part])
        elsewhere[name] = scores(judge_fit.support_card(rows, using), judge_fit.support_rows(others, using))
    for ours, of in ((found, rows), (crossed, rows), (elsewhere, others)):
        halved = np.array([OTHERWISE if contradicted(r.claim, "\n".join(r.references)) else 1.0 for r in of])
        ours |= {name: values * halved for name, values in ours.items()}
    found |= simple
    crossed |= simple
    elsewhere |= simple_elsewhere
    table = []
    for name in found:
        table.append(_claim_line(name, "same sources", labels, found[name], found["content-word share"], questions))
    for source in sorted(set(sources.tolist())):
        mine = sources == source
        asked = [q for q, m in zip(questions, mine, strict=True) if m]
        for name in crossed:
            base = crossed["content-word share"][mine]
            table.append(_claim_line(name, f"other source: {source}", labels[mine], crossed[name][mine], base, asked))
    yes = np.array([float(row.yes) for row in others])
    for name in elsewhere:
        base = elsewhere["content-word share"]
        table.append(
            _claim_line(name, "ExpertQA, other questions", yes, elsewhere[name], base, [r.question for r in others])
        )
    return table


def _simple(rows: Sequence[judge_sets.Labelled], meaning: Meaning) -> dict[str, Floats]:
    """What the judge has to beat."""
    texts = ["\n".join(row.references) for row in rows]
    pairs = list(zip([row.claim for row in rows], texts, strict=True))
    words = WordJudge()
    return {
        "WordJudge": np.array([words.support(*pair) for pair in pairs]),
        "content-word share": np.array([share_found(content_words(a), content_words(b)) for a, b in pairs]),
        "MiniLM cosine, best window": np.array(
            [judge_fit.meant_support(*pair, meaning)[len(signals.DIRECTIONS)] for pair in pairs]
        ),
    }


def _claim_line(
    name: str, where: str, labels: Floats, found: Floats, base: Floats, questions: Sequence[str]
) -> dict[str, Any]:
    half = folds(questions, 2)
    f1 = np.mean(
        [
            f1_score(labels[half == k], found[half == k] >= cut(labels[half != k], found[half != k]), average="macro")
            for k in (0, 1)
        ]
    )

    def gain(at: npt.NDArray[np.int64]) -> float:
        if len(set(labels[at])) < 2:
            return 0.0
        return float(roc_auc_score(labels[at], found[at]) - roc_auc_score(labels[at], base[at]))

    low, high = bootstrap(questions, gain)
    return {
        "judge": name,
        "claims": where,
        "n": len(labels),
        "AUROC": f"{roc_auc_score(labels, found):.3f}",
        "macro-F1": f"{f1:.3f}",
        "AUROC gained on words": f"{gain(np.arange(len(labels))):+.3f} ({low:+.3f} to {high:+.3f})",
    }


def _accuracy() -> list[dict[str, Any]]:
    rows = judge_sets.systems()
    values, labels = judge_fit.accuracy_rows(rows), np.array([float(row.yes) for row in rows])
    parts = folds([row.question for row in rows], 5)
    ours = np.zeros(len(rows))
    for part in range(5):
        card = judge_fit.accuracy_card(values[parts != part], labels[parts != part])
        ours[parts == part] = scores(card, values[parts == part])
    ours[[accuracy.says_otherwise(row.question, row.answer, row.reference) for row in rows]] *= OTHERWISE
    names = list(accuracy.DIRECTIONS)
    words = WordJudge()
    known = {
        "ours": ours,
        "an accepted answer is contained": values[:, names.index("whole")],
        "recall of the accepted answer's words": values[:, names.index("found")],
        "WordJudge": np.array([words.accuracy(row.question, row.answer, [row.reference]) for row in rows]),
    }
    systems = np.array([row.system for row in rows])
    return [
        {
            "judge": name,
            "n": len(rows),
            "AUROC": f"{roc_auc_score(labels, found):.3f}",
            "balanced accuracy": f"{_balanced(labels, found, parts):.3f}",
            "wrong signs of 10": _wrong_signs(labels, found >= cut(labels, found), systems),
        }
        for name, found in known.items()
    ]


def _balanced(labels: Floats, found: Floats, parts: npt.NDArray[np.int64]) -> float:
    """Balanced accuracy at the threshold that is best on the other folds."""
    said = np.zeros(len(labels), bool)
    for part in sorted(set(parts.tolist())):
        mine = parts == part
        places = np.unique(np.quantile(found[~mine], np.linspace(0.01, 0.99, 99)))
        best = max(places, key=lambda place: balanced_accuracy_score(labels[~mine], found[~mine] >= place))
        said[mine] = found[mine] >= best
    return float(balanced_accuracy_score(labels, said))


def _wrong_signs(labels: Floats, said: npt.NDArray[np.bool_], systems: npt.NDArray[Any]) -> int:
    """Of the ten pairs of systems, those that the judge ranks the other way round than people do."""
    people = {s: labels[systems == s].mean() for s in judge_sets.SYSTEMS}
    judge = {s: said[systems == s].mean() for s in judge_sets.SYSTEMS}
    pairs = [(a, b) for i, a in enumerate(judge_sets.SYSTEMS) for b in judge_sets.SYSTEMS[i + 1 :]]
    return sum(bool((people[a] - people[b]) * (judge[a] - judge[b]) <= 0) for a, b in pairs)


def _changed(meaning: Meaning) -> list[dict[str, Any]]:
    fit, expert = judge_fit.fitted_answers()
    spans = judge_sets.squad_answers(articles=slice(1, None, 2), per_article=40)
    others = [row for row in judge_sets.attribution() if row.source != "ExpertQA"]
    responds = judge_fit.responds_card(fit)
    table = []
    for name, using in ways(meaning):
        judge = _Support(judge_fit.support_card(others, using), using)

        def score(question: str, answer: str, passages: Sequence[str], judge: WordJudge = judge) -> float:
            told = responding.responding_signals(question, answer, passages)
            own = responding.own_share(answer, passages)
            return supported_answer(answer, passages, judge) * responds.probability(told) * own

        table += _won(name, score, expert, spans)
    words = WordJudge()
    return table + _won(
        "WordJudge", lambda _, answer, passages: supported_answer(answer, passages, words), expert, spans
    )


class _Support(WordJudge):
    """A judge of support by a scorecard that is not the shipped one."""

    def __init__(self, card: Scorecard, meaning: Meaning | None) -> None:
        self._card, self._meaning = card, meaning

    def support(self, claim: str, passage: str) -> float:
        """The probability by the scorecard."""
        if self._meaning is None:
            return self._card.probability(signals.support_signals(claim, passage))
        return self._card.probability(judge_fit.meant_support(claim, passage, self._meaning))


def _won(name: str, score: perturbations.Score, expert: Any, spans: Any) -> list[dict[str, Any]]:
    table = []
    for where, cases in (("ExpertQA", expert), ("SQuAD", spans)):
        found = perturbations.outcomes(perturbations.made_worse(cases), score)
        shares = {one.variant: f"{one.share:.2f} (n = {one.n})" for one in found}
        table.append({"judge": name, "answers": where, **shares})
    return table


PARTS: dict[str, Callable[[Meaning], list[dict[str, Any]]]] = {
    "support": _claims,
    "accuracy": lambda _: _accuracy(),
    "context": context,
    "changed": _changed,
    "terse": lambda _: terse(packaged_read),
    "cited": lambda _: cited(),
}


def main() -> None:
    """Print and keep the tables, or fit."""
    parser = argparse.ArgumentParser(prog="python -m bench.judge", description=__doc__)
    parser.add_argument("--part", choices=sorted(PARTS))
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    if not (DATA / "attributionbench").exists():
        print(f"{DATA} holds no attributionbench: nothing to compare with.")
        return
    meaning = Meaning(packaged_read)
    if options.fit:
        judge_fit.write(meaning)
        print(f"written: {scorecard.WEIGHTS.name}")
    for name, part in PARTS.items():
        if not options.fit and options.part in (None, name):
            show(f"judge_{name}", part(meaning))


if __name__ == "__main__":
    main()
