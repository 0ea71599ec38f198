"""How well exchanges are sorted into tasks: few examples, tasks never seen, our own labelled exchanges.

python -m bench.tasks                    everything; about five minutes on two cores
python -m bench.tasks --part few         one part: few, rejection or own

Few: Banking77 with eight examples per intent, five draws, against the nearest centroid and a logistic regression (its
strength by cross-validation) on the same embeddings. Rejection: a quarter of the intents is left out and asked about;
"known" is the share of questions of the others that get their right task, "unknown" the share of questions of left-out
intents (near), or of experts' questions of other fields (far), that get none. Ours uses the threshold it chose by
itself; the bare centroid gets the one that is best on these very questions. Own: `examples/labelled.jsonl`, five tasks.
The data sets lie beside the checkout (`RATCHET_BENCH_DATA`, default ../shared/data); one that is absent is left out.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.retrieval_sets import CACHE, DATA, ROOT
from bench.table import show
from bot.models import PACKAGED_EMBEDDING, embedding_model
from configs.tasks import UNCLASSIFIED, load_tasks
from retrieval.embedding import Embedder
from scheduler.tasks import Classifier, Item, Labelled, TaskSpec

SHOTS = 8
SEEDS = 5
LEFT_OUT = 0.25
BINS = 10
LABELLED = ROOT / "examples" / "labelled.jsonl"
Floats = npt.NDArray[np.float64]


class Vectors:
    """The vectors of texts, embedded once and kept under var/bench."""

    def __init__(self, texts: Sequence[str]) -> None:
        known = sorted(set(texts))
        digest = hashlib.sha256(json.dumps([PACKAGED_EMBEDDING, known]).encode()).hexdigest()[:16]
        file = CACHE / f"tasks-{digest}.npy"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING).encode(known))
        self._at = {text: place for place, text in enumerate(known)}
        self._vectors = np.load(file)

    def __call__(self, texts: list[str]) -> Floats:
        """Vectors in the order of `texts`, shape (texts, dimensions)."""
        return np.asarray(self._vectors[[self._at[text] for text in texts]], dtype=np.float64)


@dataclass(frozen=True)
class Asked:
    """Questions of Banking77 by intent: those to draw examples from, and those to test with."""

    train: dict[str, list[str]]
    test: list[tuple[str, str]]


def banking() -> Asked | None:
    """The set, or None where it is absent."""
    folder = DATA / "banking77"
    if not folder.exists():
        return None
    by_intent: dict[str, list[str]] = defaultdict(list)
    for row in _rows(folder / "train.csv"):
        by_intent[row["category"]].append(row["text"].strip())
    return Asked(
        dict(sorted(by_intent.items())), [(r["text"].strip(), r["category"]) for r in _rows(folder / "test.csv")]
    )


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return list(csv.DictReader(lines))


def foreign() -> list[str]:
    """Experts' questions of many fields, which no intent of a bank deserves."""
    file = DATA / "expertqa" / "questions.jsonl"
    if not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return random.Random(0).sample(sorted({line["question"].strip() for line in lines}), 1000)


def drawn(asked: Asked, seed: int, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The examples of a seed, SHOTS for each intent."""
    chance = random.Random(seed)
    return {name: tuple(chance.sample(asked.train[name], SHOTS)) for name in names}


def ours(shots: dict[str, tuple[str, ...]], vectors: Vectors, questions: Sequence[str]) -> list[Labelled]:
    """What the product makes of questions."""
    tasks = [TaskSpec(name, name.replace("_", " "), examples) for name, examples in shots.items()]
    return Classifier(tasks, vectors).classify([Item(question) for question in questions])


def centroid(shots: dict[str, tuple[str, ...]], vectors: Vectors, points: Floats) -> Floats:
    """Cosines to the mean of each intent's examples, shape (questions, intents)."""
    centres = np.stack([vectors(list(examples)).mean(axis=0) for examples in shots.values()])
    return np.asarray(points @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T)


def logistic(shots: dict[str, tuple[str, ...]], vectors: Vectors, points: Floats) -> npt.NDArray[np.int64]:
    """The intents that a logistic regression gives; its strength by cross-validation on the examples."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    known = vectors([text for examples in shots.values() for text in examples])
    classes = np.repeat(np.arange(len(shots)), SHOTS)
    search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [3, 10, 30, 100]}, cv=4)
    return np.asarray(search.fit(known, classes).predict(points), dtype=np.int64)


def few(asked: Asked, vectors: Vectors) -> list[dict[str, Any]]:
    """Accuracy on the test questions, mean and standard deviation over seeds."""
    names, questions = list(asked.train), [text for text, _ in asked.test]
    points, right = vectors(questions), np.array([names.index(intent) for _, intent in asked.test])
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(SEEDS):
        shots = drawn(asked, seed, names)
        labelled = ours(shots, vectors, questions)
        best = np.array([int(np.argmax([one.scores[name] for name in names])) for one in labelled])
        said = [one.label for one in labelled]
        found["ours, label"].append(np.mean([a == names[b] for a, b in zip(said, right, strict=True)]))
        found["ours, best task"].append(float((best == right).mean()))
        found["nearest centroid"].append(float((centroid(shots, vectors, points).argmax(axis=1) == right).mean()))
        found["logistic regression"].append(float((logistic(shots, vectors, points) == right).mean()))
        print(seed, {name: round(float(values[-1]), 4) for name, values in found.items()}, flush=True)
    return [
        {"part": "few", "what": name, "accuracy": f"{np.mean(values):.4f}", "sd": f"{np.std(values, ddof=1):.4f}"}
        for name, values in found.items()
    ]


def auroc(known: Floats, unknown: Floats) -> float:
    """The chance that a known question scores above an unknown one; ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([known, unknown]))[: len(known)]
    return float((ranks.sum() - len(known) * (len(known) + 1) / 2) / (len(known) * len(unknown)))


def oracle(right: npt.NDArray[np.bool_], known: Floats, unknown: Floats) -> tuple[float, float]:
    """Known and unknown shares at the threshold with the best mean of both, found on the test itself."""
    cuts = np.unique(np.concatenate([known, unknown]))
    pairs = [(float((right & (known >= cut)).mean()), float((unknown < cut).mean())) for cut in cuts[::5]]
    return max(pairs, key=sum)


def rejection(asked: Asked, vectors: Vectors, others: Sequence[str]) -> list[dict[str, Any]]:
    """Known ones named rightly, unknown ones refused, and how well the score tells them apart; means over seeds."""
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for seed in range(SEEDS):
        names = sorted(asked.train)
        gone = set(random.Random(100 + seed).sample(names, round(LEFT_OUT * len(names))))
        kept = [name for name in names if name not in gone]
        shots = drawn(asked, seed, kept)
        known = [pair for pair in asked.test if pair[1] not in gone]
        for kind, unknown in (("near", [text for text, intent in asked.test if intent in gone]), ("far", others)):
            if unknown:
                for what, values in _refused(shots, vectors, known, unknown).items():
                    found[what, kind].append(values)
    rows = []
    for (what, kind), values in found.items():
        means = np.mean(values, axis=0)
        row = {"part": f"rejection, {kind}", "what": what}
        rows.append(row | {key: f"{v:.3f}" for key, v in zip(("known", "unknown", "AUROC"), means, strict=True)})
    return rows


def _refused(
    shots: dict[str, tuple[str, ...]], vectors: Vectors, known: list[tuple[str, str]], unknown: Sequence[str]
) -> dict[str, tuple[float, float, float]]:
    labelled = ours(shots, vectors, [text for text, _ in known] + list(unknown))
    inside, outside = labelled[: len(known)], labelled[len(known) :]
    best = [np.array([max(one.scores.values()) for one in part]) for part in (inside, outside)]
    names = list(shots)
    cosines = [centroid(shots, vectors, vectors(texts)) for texts in ([text for text, _ in known], list(unknown))]
    right = np.array(
        [names[place] == intent for place, (_, intent) in zip(cosines[0].argmax(axis=1), known, strict=True)]
    )
    tops = [part.max(axis=1) for part in cosines]
    mine = np.array(
        [max(one.scores, key=one.scores.__getitem__) == intent for one, (_, intent) in zip(inside, known, strict=True)]
    )
    said = float(np.mean([one.label == intent for one, (_, intent) in zip(inside, known, strict=True)]))
    refused = float(np.mean([one.label == UNCLASSIFIED for one in outside]))
    return {
        "ours, own threshold": (said, refused, auroc(*best)),
        "ours, oracle": (*oracle(mine, *best), auroc(*best)),
        "centroid, oracle": (*oracle(right, *tops), auroc(*tops)),
    }


def macro_f1(labels: Sequence[str], found: Sequence[str]) -> tuple[float, dict[str, float]]:
    """The mean F1 of the labels, and each one's."""
    each = {}
    for task in sorted(set(labels)):
        both = sum(a == b == task for a, b in zip(labels, found, strict=True))
        each[task] = 2 * both / max(1, list(labels).count(task) + list(found).count(task))
    return sum(each.values()) / len(each), each


def calibration(chances: Sequence[float], right: Sequence[bool]) -> float:
    """The expected calibration error over BINS bins of equal width (Guo et al., 2017)."""
    at = np.minimum((np.array(chances) * BINS).astype(int), BINS - 1)
    error = 0.0
    for place in range(BINS):
        mine = at == place
        if mine.any():
            error += mine.mean() * abs(np.array(chances)[mine].mean() - np.array(right)[mine].mean())
    return float(error)


def own(encode: Any) -> list[dict[str, Any]]:
    """Macro-F1 over the five tasks and "unclassified" on our own labelled exchanges, and the calibration error."""
    tasks = load_tasks(ROOT / "configs" / "tasks.yaml").tasks
    specs = [TaskSpec(name, task.description, task.examples, task.passages_score) for name, task in tasks.items()]
    rows = [json.loads(line) for line in LABELLED.read_text().splitlines()]
    labels = [row["label"] for row in rows]
    classifier = Classifier(specs, encode)
    table = []
    for what, items in (("question alone", _questions(rows)), ("all signals", _items(rows))):
        found = classifier.classify(items)
        said = [one.label for one in found]
        of_tasks = [pair for pair in zip(labels, said, strict=True) if pair[0] != UNCLASSIFIED]
        five, _ = macro_f1(*zip(*of_tasks, strict=True))
        every, each = macro_f1(labels, said)
        right = [a == b for a, b in zip(labels, said, strict=True)]
        table.append(
            {"part": "own", "what": what, "macro-F1, five tasks": f"{five:.3f}", "with unclassified": f"{every:.3f}"}
            | {"accuracy": f"{np.mean(right):.3f}", "n": len(rows)}
            | {"calibration error": f"{calibration([one.confidence for one in found], right):.3f}"}
            | {f"F1 {task}": f"{value:.3f}" for task, value in each.items()}
        )
    return table


def _questions(rows: Sequence[dict[str, Any]]) -> list[Item]:
    return [Item(row["question"]) for row in rows]


def _items(rows: Sequence[dict[str, Any]]) -> list[Item]:
    return [Item(row["question"], row["answer"], tuple(row.get("passages", ()))) for row in rows]


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["few", "rejection", "own"], help="only this part; nothing is kept")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    asked = banking()
    if asked is None:
        print("Banking77 is left out: its files are not there.")
    began = time.monotonic()
    parts: dict[str, list[dict[str, Any]]] = {}
    if asked is not None and options.part in (None, "few", "rejection"):
        others = foreign()
        texts = [text for part in asked.train.values() for text in part] + [text for text, _ in asked.test] + others
        texts += [name.replace("_", " ") for name in asked.train]
        vectors = Vectors(texts)
        if options.part != "rejection":
            parts["few"] = few(asked, vectors)
        if options.part != "few":
            parts["rejection"] = rejection(asked, vectors, others)
    if options.part in (None, "own"):
        parts["own"] = own(Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING).encode)
    for name, rows in parts.items():
        show(f"tasks_{name}", rows, seconds=round(time.monotonic() - began))


if __name__ == "__main__":
    main()
