"""Trains the starter adapter from the handbook's own questions: what a fresh bot cites and declines with.

make starter        or: python examples/starter.py [FOLDER]
python examples/starter.py --measure     only measures what var/starter holds, and publishes it

Every question of examples/questions.jsonl over what the bot's own search finds in docs/handbook, twice with other
passages beside the one that answers, and the short notes of examples/labelled.jsonl; answers cite the passage that they
were written from, and decline where none of those shown answers. Five pages and some of the questions without an answer
stay out; base and starter are asked about them, and the card says what they answered. About an hour on one core.
"""

import hashlib
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bot import prompt  # noqa: E402
from bot.engine import TransformersEngine  # noqa: E402
from bot.models import base_digest, chat_model  # noqa: E402
from configs.settings import Settings, load_settings  # noqa: E402
from finetune import card, jobs  # noqa: E402
from finetune.targets import with_citations  # noqa: E402
from retrieval.__main__ import ingest, library_of  # noqa: E402
from retrieval.library import Library  # noqa: E402
from store.answers import DECLINE, cited_numbers, declined  # noqa: E402
from store.database import open_database  # noqa: E402

FOLDER = ROOT / "examples" / "starter"
ABOUT = (
    "The adapter that a fresh Ratchet begins with: it teaches the base model to answer from numbered passages, to\n"
    "cite them and to decline. It was trained by `make starter` from the questions of the bundled handbook alone.\n"
    "Five pages and a few questions without an answer were left out; it was measured on those."
)
SEED = 17
HELD_OUT = ("chunking.md", "asking-and-rating.md", "qlora-and-merging.md", "embeddings.md", "backups-and-settings.md")
ASIDE_NAME = "aside"
OUT = (*HELD_OUT, ASIDE_NAME)
SHOWN = 3
FEWER = 0.4
"""The share of questions that are shown one passage less."""
VARIANTS = 2
"""How often each question is asked, over other passages beside the right one: in place of a second pass."""
HIDDEN, HIDDEN_OUT = 0.05, 0.25
"""For this share of the questions, trained on and measured, there is an example without the answering passage: it
declines. Few, because a small model that is taught to decline near misses declines what it could answer."""
ASIDE = 0.3
"""The share of the questions without an answer that are measured instead of trained on."""
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RECIPE = {
    "rank": 8,
    "alpha": 16,
    "dropout": 0.05,
    "target_modules": ALL_LINEAR,
    "learning_rate_recipe": 2e-4,
    "learning_rate_used": 9.3e-4,
    "epochs": 1,
    "warmup_steps": 10,
    "batch_size": 4,
}
"""Every linear layer at a low rank: at most 12 MB, and no layer has to learn citing alone."""


class Written:
    """The judge of answers that were written from one passage: it supports them."""

    name = "written"

    def support(self, claim: str, passage: str) -> float:
        """1 always."""
        return 1.0

    def accuracy(self, question: str, answer: str, references: Sequence[str]) -> float:
        """1 always."""
        return 1.0

    def relevance(self, question: str, passages: Sequence[str]) -> float:
        """1 always."""
        return 1.0


def example(
    question: str, passages: list[dict[str, Any]], answer: str, gold: str | None, document: str
) -> dict[str, Any]:
    """One example over numbered passages; `gold` is the text of the answering one, None where it should decline."""
    shown = [{**passage, "n": number, "flags": []} for number, passage in enumerate(passages, start=1)]
    right = [passage for passage in shown if passage["text"] == gold]
    target = with_citations(answer, right, Written())[0] if right else DECLINE
    return {"messages": prompt.messages(question, shown, []), "target": target, "document": document}


def of_the_handbook(library: Library, variant: int) -> list[dict[str, Any]]:
    """The handbook's questions over what search finds, some of them again without what answers.

    The first variant shows the nearest other passages, later ones any of those found.
    """
    chance = random.Random(f"{SEED}:{variant}")
    made = []
    for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines():
        row = json.loads(line)
        found = [{"title": p["title"], "text": p["text"]} for p in library.search(row["question"], 8)]
        document = row["document"] or ""
        if row["passage"] is None:
            aside = ASIDE_NAME if int(hashlib.sha256(row["id"].encode()).hexdigest(), 16) % 100 < 100 * ASIDE else ""
            if variant == 0:
                made.append(example(row["question"], found[:SHOWN], "", None, aside))
            continue
        right = [p for p in found if row["passage"][:80] in p["text"]]
        others = [p for p in found if row["passage"][:80] not in p["text"]]
        if variant:
            chance.shuffle(others)
        count = SHOWN - (chance.random() < FEWER)
        if right:
            shown = [*right[:1], *others[: count - 1]]
            chance.shuffle(shown)
            made.append(example(row["question"], shown, row["answer"], right[0]["text"], document))
        far = [p for p in others if not _same_page(p, right)]
        if chance.random() < (HIDDEN_OUT if document in HELD_OUT else HIDDEN) and far:
            made.append(example(row["question"], far[:count], "", None, document))
    return made


def _same_page(passage: dict[str, str], right: list[dict[str, str]]) -> bool:
    return any(passage["title"].split(" > ")[0] == other["title"].split(" > ")[0] for other in right)


def of_the_notes(variant: int) -> list[dict[str, Any]]:
    """The short notes, each among two others."""
    chance = random.Random(f"{SEED}:{variant}")
    rows = [json.loads(line) for line in (ROOT / "examples" / "labelled.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row.get("passages")]
    made = []
    for row in rows:
        others = [other["passages"][0] for other in chance.sample(rows, SHOWN) if other is not row]
        shown = [{"title": "Notes", "text": text} for text in [row["passages"][0], *others[: SHOWN - 1]]]
        chance.shuffle(shown)
        made.append(example(row["question"], shown, row["answer"], row["passages"][0], "notes"))
    return made


def examples() -> list[dict[str, Any]]:
    """Everything there is to learn from and to measure, over a library of the handbook in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/starter.db")
        library, index = library_of(load_settings({}), database)
        ingest(library, [ROOT / "docs" / "handbook"], root=ROOT, quiet=True)
        made = [
            row for variant in range(VARIANTS) for row in (*of_the_handbook(library, variant), *of_the_notes(variant))
        ]
        index.close()
        database.close()
    return made


def measured(folder: str, adapter: Path, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What base and starter answer to the pages that stayed out, as shares."""
    engine = TransformersEngine(folder, threads=1, queue_limit=len(rows) + 1)
    engine.load("starter", adapter, digest="")
    found = {}
    for name in ("base", "starter"):
        writing = [engine.stream(row["messages"], adapter=name, max_tokens=60) for row in rows]
        said = ["".join(answer).strip() for answer in writing]
        right = [(row, text) for row, text in zip(rows, said, strict=True) if row["target"] != DECLINE]
        wrong = [text for row, text in zip(rows, said, strict=True) if row["target"] == DECLINE]
        cited = [bool(set(cited_numbers(row["target"])) & set(cited_numbers(text))) for row, text in right]
        found[name] = {
            "answerable": len(right),
            "right citation": round(sum(cited) / len(right), 3),
            "false declines": round(sum(declined(text) for _, text in right) / len(right), 3),
            "unanswerable": len(wrong),
            "declines them": round(sum(declined(text) for text in wrong) / len(wrong), 3),
        }
        print(json.dumps({name: found[name]}), flush=True)
    engine.close()
    return found


def publish(work: Path, target: Path, folder: str) -> None:
    """Measure what was trained and put it where it is shipped, with what was found in its card."""
    manifest = json.loads((work / "out" / card.MANIFEST).read_text())
    rows = jobs.read_rows(work / "held_out.jsonl")
    facts = {name: manifest[name] for name in ("phases", "seed", "steps", "tokens", "losses")}
    facts |= {"about": ABOUT, "measured": measured(folder, work / "out", rows)}
    part = work / "part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copyfile(work / "out" / name, part / name)
    shutil.rmtree(target, ignore_errors=True)
    digests = {name: manifest[name] for name in ("base_model", "base_digest", "dataset_digest")}
    print(card.publish(part, target, **digests, facts=facts))


def main() -> None:
    """Build the examples, train, measure, publish."""
    named = [name for name in sys.argv[1:] if not name.startswith("-")]
    target = Path(named[0]) if named else FOLDER
    settings = load_settings()
    folder = chat_model(settings.models.chat, models=settings.models.folder)
    if "--measure" not in sys.argv:
        train(settings, folder)
    publish(settings.server.data / "starter", target, folder)


def _measured_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What stayed out, each question once."""
    once = {
        (row["messages"][-1]["content"].rpartition("Question: ")[2], row["target"] == DECLINE): row
        for row in reversed(rows)
    }
    return [row for row in reversed(list(once.values())) if row["document"] in OUT]


def train(settings: Settings, folder: str) -> None:
    """Build the examples and train into the data folder."""
    rows = examples()
    kept = [row for row in rows if row["document"] not in OUT]
    print(f"{len(kept)} examples, {sum(row['target'] == DECLINE for row in kept)} of them decline", flush=True)
    work = settings.server.data / "starter"
    work.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", kept), ("held_out", _measured_rows(rows))):
        (work / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    shutil.rmtree(work / "out", ignore_errors=True)
    job = {
        "phases": [{"tasks": ["starter"], "recipe": RECIPE, "file": str(work / "train.jsonl")}],
        "out": str(work / "out"),
        "base_model": settings.models.chat,
        "base_folder": folder,
        "max_tokens": settings.training.max_tokens,
        "seed": SEED,
        "threads": settings.training.threads,
    }
    done = jobs.train_job(job, base_digest=base_digest(folder), show=lambda said: print(json.dumps(said), flush=True))
    print(json.dumps({key: value for key, value in done.items() if key != "folder"}))


if __name__ == "__main__":
    main()
