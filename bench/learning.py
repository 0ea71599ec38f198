"""What the bot learns from people: simulated ones ask over given passages, rate and correct; cycles train on that.

python -m bench.learning                       one cycle of at most 600 examples; about two hours on two idle cores
python -m bench.learning --cycles 3 --chats 500
python -m bench.learning --recipe guide        the guide's recipe in place of every linear layer
python -m bench.learning --data DIR --examine v1    only ask an adapter that an earlier run left in DIR, and the base

The whole product runs: bot, log, scheduler, curation, trainer in one niced thread, gate, approval, swap. The cases
asked before and after are of articles that nobody asks about in between; half of them cannot be answered. After the
last cycle everything is rolled back, and the old answers must be back. `bench/learning_people.py` says who these people
are. The questions lie beside the checkout (`RATCHET_BENCH_DATA`, default ../shared/data); without them it ends.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from bench.learning_people import Asked, articles, copied, questions, reaction, scores, split
from bench.retrieval_sets import DATA, ROOT
from bench.table import show
from examples.demo import Bot

SQUAD = DATA / "squad" / "squad-2.0-dev-part.json"
STREAMS = 8
PEOPLE = 18
SEED = 5
ANSWER_TOKENS = 36
TASK = "rag_enhanced"
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RECIPES = {"guide": {}, "all-linear": {"rank": 16, "alpha": 32, "target_modules": ALL_LINEAR}}
ASKED_AGAIN = 100
"""Cases asked once more after the rollback; greedy answers must be the old ones word for word."""
OTHER_TASKS = 60
"""Cases of the handbook's other tasks whose perplexity is compared."""


def settings(tasks: Path, options: argparse.Namespace) -> dict[str, str]:
    """What differs from the default settings."""
    return {
        "TASKS": str(tasks),
        "STARTER": "false",
        "GENERATION__MAX_TOKENS": str(ANSWER_TOKENS),
        "GENERATION__THREADS": str(options.threads),
        "TRAINING__STRATEGY": "single",
        "TRAINING__MAX_EXAMPLES": str(options.examples),
        "TRAINING__MAX_PASSES": "2",
        "TRAINING__MAX_MINUTES": "90",
        "TRAINING__UNANSWERABLE_SHARE": str(options.unanswerable),
        "EVALUATION__HELD_OUT_SHARE": "0.12",
        "EVALUATION__BATCH": "16",
        "EVALUATION__ALTERNATIVE_CASES": "0",
        "EVALUATION__MAX_CASES": "100",
        "SCHEDULER__CRON": '"0 0 1 1 *"',
        "RETRIEVAL__DOCUMENTS": "[]",
        "WATCH__HOURS": "0",
    }


def taxonomy(folder: Path, recipe: str) -> Path:
    """The default taxonomy with another recipe for the task that is trained."""
    content = yaml.safe_load((ROOT / "configs" / "tasks.yaml").read_text())
    content["tasks"][TASK]["recipe"] |= RECIPES[recipe]
    file = folder / "tasks.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def ask(bot: Bot, asked: Asked, person: str, *, train: bool) -> dict[str, Any]:
    """Ask over given passages, as a person."""
    body = {
        "model": "ratchet",
        "user": person,
        "messages": [{"role": "user", "content": asked.question}],
        "metadata": {"train": train},
        "ratchet": {"passages": asked.given()},
    }
    return bot.post("/v1/chat/completions", body)


def said(reply: dict[str, Any]) -> str:
    """The answer's text."""
    return str(reply["choices"][0]["message"]["content"])


def chat(bot: Bot, asked: Sequence[Asked], *, seed: int) -> None:
    """Everybody asks, rates and corrects."""

    def one(number: int) -> None:
        person = f"person-{number % PEOPLE + 1}"
        reply = ask(bot, asked[number], person, train=True)
        told = reaction(asked[number], said(reply), chance=random.Random(f"{seed}:{asked[number].id}"))
        bot.post("/v1/feedback", {"exchange_id": reply["ratchet"]["exchange_id"], "user": person, **told})

    with ThreadPoolExecutor(STREAMS) as streams:
        list(streams.map(one, range(len(asked))))


def examined(bot: Bot, cases: Sequence[Asked], *, adapter: str) -> list[str]:
    """The answers to the held-out cases; raises where another adapter gave one than should."""
    with ThreadPoolExecutor(STREAMS) as streams:
        numbered = enumerate(cases)
        replies = list(streams.map(lambda one: ask(bot, one[1], f"examiner-{one[0] % PEOPLE}", train=False), numbered))
    other = {reply["ratchet"]["adapter"] for reply in replies} - {adapter}
    if other:
        raise RuntimeError(f"answers came from {sorted(other)}, expected {adapter} alone.")
    return [said(reply) for reply in replies]


def directly(data: Path, cases: Sequence[Asked], adapters: Sequence[str], *, threads: int) -> dict[str, list[str]]:
    """What adapters in a data folder answer to the cases without being deployed: the same prompts, greedy too."""
    from bot import prompt
    from bot.engine import TransformersEngine
    from bot.models import chat_model
    from configs.settings import load_settings

    models = load_settings().models
    folder = chat_model(models.chat, models=models.folder)
    engine = TransformersEngine(folder, threads=threads, queue_limit=len(cases) + 1)
    found = {}
    for adapter in adapters:
        if adapter != "base":
            engine.load(adapter, next(data.glob(f"adapters/{adapter}-*")), digest="")
        told = [
            prompt.messages(one.question, [{"n": n, **passage} for n, passage in enumerate(one.given(), start=1)], [])
            for one in cases
        ]
        writing = [engine.stream(messages, adapter=adapter, max_tokens=ANSWER_TOKENS) for messages in told]
        found[adapter] = ["".join(answer).strip() for answer in writing]
    engine.close()
    return found


def cycle(bot: Bot) -> dict[str, Any]:
    """Run a cycle until it waits for approval or has ended."""
    cycle_id = bot.post("/v1/admin/cycles", {})["cycle_id"]
    while True:
        found = bot.get(f"/v1/admin/cycles/{cycle_id}")
        if found["state"] != "running":
            return found
        time.sleep(5)


def other_tasks(data: Path, adapters: Sequence[str]) -> dict[str, float]:
    """The perplexity of answers to the handbook's questions of other tasks, passage given, by adapter."""
    from bot import prompt
    from bot.engine import TransformersEngine
    from bot.models import chat_model
    from configs.settings import load_settings
    from finetune.metrics import perplexity

    models = load_settings().models
    rows = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()]
    chosen = [row for row in rows if row["task"] != TASK and row["passage"]][:OTHER_TASKS]
    engine = TransformersEngine(chat_model(models.chat, models=models.folder), threads=2)
    found = {}
    for adapter in adapters:
        if adapter != "base":
            engine.load(adapter, next(data.glob(f"adapters/{adapter}-*")), digest="")
        losses: list[float] = []
        for case in chosen:
            passage = {"n": 1, "title": case["document"], "text": case["passage"]}
            losses += engine.logprobs(prompt.messages(case["question"], [passage], []), case["answer"], adapter=adapter)
        found[adapter] = perplexity(losses) or 0.0
    engine.close()
    return found


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1)
    parser.add_argument("--chats", type=int, default=1200, help="questions before each cycle")
    parser.add_argument("--cases", type=int, default=400, help="held-out cases")
    parser.add_argument("--examples", type=int, default=600, help="training examples of a cycle at most")
    parser.add_argument("--unanswerable", type=float, default=0.25, help="share of the chats and examples that decline")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="all-linear")
    parser.add_argument("--threads", type=int, default=2, help="of the engine; 1 beside other work")
    parser.add_argument("--data", type=Path, help="keep the bot's data here")
    parser.add_argument("--examine", metavar="ADAPTER", help="only ask this adapter of the folder --data")
    options = parser.parse_args()
    if not SQUAD.exists():
        sys.exit(f"{SQUAD} is not there: these questions lie beside the checkout only.")
    if options.examine:
        _examine(options)
        return
    with tempfile.TemporaryDirectory(prefix="ratchet-learning-") as folder:
        data = options.data or Path(folder)
        data.mkdir(parents=True, exist_ok=True)
        bot = Bot(data, settings(taxonomy(data, options.recipe), options))
        try:
            bot.wait()
            played(bot, data, options)
        finally:
            bot.stop()


def played(bot: Bot, data: Path, options: argparse.Namespace) -> None:
    """All cycles, and the way back."""
    learn, test = split(articles(SQUAD), seed=SEED)
    cases = questions(test, options.cases, unanswerable=0.5, seed=SEED)
    chats = questions(learn, options.chats * options.cycles, unanswerable=options.unanswerable, seed=SEED)
    rows = [{"what": "copying the nearest sentence", **scores(cases, [copied(case) for case in cases])}]
    first = examined(bot, cases, adapter="base")
    rows.append({"what": "base", **scores(cases, first)})
    print(json.dumps(rows[-1]), flush=True)
    adapters, facts, unapproved = ["base"], [], list[dict[str, Any]]()
    for number in range(options.cycles):
        chat(bot, chats[number * options.chats : (number + 1) * options.chats], seed=SEED)
        done = cycle(bot)
        print(
            json.dumps({key: done[key] for key in ("state", "outcome", "error")}),
            done["plan"].get("reasons"),
            flush=True,
        )
        facts.append(_facts(done))
        if done["state"] != "awaiting_approval":
            tried = directly(data, cases, [done["adapter_id"]], threads=options.threads) if done["adapter_id"] else {}
            unapproved += [{"what": f"{name}, not promoted", **scores(cases, said)} for name, said in tried.items()]
            break
        adapters.append(done["adapter_id"])
        bot.post(f"/v1/admin/adapters/{adapters[-1]}/approve", {"comment": "better on the held-out cases of the gate"})
        bot.wait_for(adapters[-1])
        found = examined(bot, cases, adapter=adapters[-1])
        rows.append({"what": f"after cycle {number + 1}", **scores(cases, found)})
        print(json.dumps(rows[-1]), flush=True)
    perplexities = other_tasks(data, adapters)
    for row, adapter in zip(rows[1:], adapters, strict=True):
        row["perplexity, other tasks"] = perplexities[adapter]
    rows[0]["perplexity, other tasks"] = ""
    if len(adapters) > 1:
        bot.post("/v1/admin/rollback", {"comment": "the way back", "to": "base"})
        bot.wait_for("base")
        back = examined(bot, cases[:ASKED_AGAIN], adapter="base")
        same = sum(a == b for a, b in zip(first, back, strict=False))
        facts[-1]["same answers after the rollback"] = f"{same} of {len(back)}"
    name = "learning" if options.recipe == "all-linear" else f"learning_{options.recipe}"
    show(
        name,
        [*rows, *({**row, "perplexity, other tasks": ""} for row in unapproved)],
        cases=len(cases),
        chats=options.chats,
        recipe=options.recipe,
        cycles=facts,
    )


def _examine(options: argparse.Namespace) -> None:
    """Print and keep what an adapter of an earlier run answers, beside the base and copying."""
    cases = questions(split(articles(SQUAD), seed=SEED)[1], options.cases, unanswerable=0.5, seed=SEED)
    found = directly(options.data, cases, ["base", options.examine], threads=options.threads)
    perplexities = other_tasks(options.data, list(found))
    rows = [{"what": "copying the nearest sentence", **scores(cases, [copied(one) for one in cases])}]
    rows[0]["perplexity, other tasks"] = ""
    for name, said in found.items():
        rows.append({"what": name, **scores(cases, said), "perplexity, other tasks": perplexities[name]})
    manifest = json.loads((next(options.data.glob(f"adapters/{options.examine}-*")) / "manifest.json").read_text())
    show("learning_examined", rows, cases=len(cases), **{key: manifest[key] for key in ("steps", "tokens")})


def _facts(done: dict[str, Any]) -> dict[str, Any]:
    results = done.get("results", {})
    kept = ("steps", "tokens", "seconds", "tokens_per_second")
    trained = {key: results.get("train", {}).get(key) for key in kept}
    curate = results.get("curate", {})
    return {"outcome": done["state"], "examples": curate.get("train"), "funnel": curate.get("funnel"), **trained}


if __name__ == "__main__":
    main()
