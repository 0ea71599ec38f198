"""What the bot learns from people: simulated ones ask over given passages, rate and correct; cycles train on that.

python -m bench.learning                       one cycle of at most 600 examples; 90 minutes on two idle cores
python -m bench.learning --cycles 3 --chats 400 --examples 300
python -m bench.learning --data DIR            keep the bot's data, for bench.learning_direct
python -m bench.learning --data DIR --resume   go on with a run that was cut off, with the same options

The whole product runs: bot, log, scheduler, curation, trainer in one niced thread, gate, approval, swap. The cases
asked before and after are of articles that nobody asks about in between; half of them cannot be answered. Meanwhile
others ask the handbook's questions of other tasks; the perplexity of its answers on other pages says what is forgotten.
An adapter that the gate refuses stays out, and the next cycle follows. After the last cycle everything is rolled back,
and the old answers must be back: as many as when the base is asked twice in a row, since a reply's company in its batch
rounds otherwise. `bench/learning_people.py` says who these people are. The questions lie beside the
checkout (`RATCHET_BENCH_DATA`, default ../shared/data); without them it ends.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from bench.learning_direct import (
    ANSWER_TOKENS,
    SEED,
    SQUAD,
    STREAMS,
    TASK,
    cases_to_ask,
    folder_of,
    perplexities,
    traffic,
)
from bench.learning_people import Asked, articles, copied, questions, reaction, scores, split
from bench.learning_run import Run
from bench.retrieval_sets import ROOT
from bench.table import draw_curve, show
from examples.running import Bot

PEOPLE = 18
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
EVERY_LAYER = {"rank": 16, "alpha": 32, "target_modules": ALL_LINEAR}
RECIPES = {"guide": {}, "all-linear": EVERY_LAYER, "tuned": {**EVERY_LAYER, "learning_rate": 1e-4}}
CURVES = ("right citation", "declines unanswerable", "false declines", "contains the gold", "token F1")


def settings(
    tasks: Path,
    *,
    examples: int,
    minutes: float,
    unanswerable: float,
    held_out: float,
    threads: int = 1,
    trainer_threads: int = 1,
    other_orders: int = 0,
    passes: int | None = None,
) -> dict[str, str]:
    """What differs from the default settings."""
    return {
        "TASKS": str(tasks),
        "STARTER": "false",
        "GENERATION__MAX_TOKENS": str(ANSWER_TOKENS),
        "GENERATION__THREADS": str(threads),
        "TRAINING__STRATEGY": "single",
        "TRAINING__PREFERENCE": '"off"',
        "TRAINING__MAX_EXAMPLES": str(examples),
        "TRAINING__MAX_MINUTES": str(minutes),
        "TRAINING__MAX_PASSES": str(passes or "null"),
        "TRAINING__THREADS": str(trainer_threads),
        "TRAINING__OTHER_ORDERS": str(other_orders),
        "TRAINING__UNANSWERABLE_SHARE": str(unanswerable),
        "EVALUATION__HELD_OUT_SHARE": str(held_out),
        "EVALUATION__BATCH": "16",
        "EVALUATION__ALTERNATIVE_CASES": "0",
        "EVALUATION__MAX_CASES": "150",
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


def chat(bot: Bot, asked: Sequence[Asked], *, seed: int, people: int = PEOPLE) -> None:
    """Everybody asks, rates and corrects."""

    def one(number: int) -> None:
        person = f"person-{number % people + 1}"
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


def alike(before: Sequence[str], after: Sequence[str]) -> str:
    """How many answers are the same word for word."""
    return f"{sum(a == b for a, b in zip(before, after, strict=True))} of {len(after)}"


def ended(bot: Bot, cycle_id: str) -> dict[str, Any]:
    """A cycle that waits for approval or has ended, once it does."""
    while True:
        found = bot.get(f"/v1/admin/cycles/{cycle_id}")
        if found["state"] != "running":
            return found
        time.sleep(5)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1)
    parser.add_argument("--chats", type=int, default=1200, help="questions before each cycle")
    parser.add_argument("--cases", type=int, default=400, help="held-out cases")
    parser.add_argument("--examples", type=int, default=600, help="training examples of a cycle at most")
    parser.add_argument("--unanswerable", type=float, default=0.25, help="share of the chats and examples that decline")
    parser.add_argument("--minutes", type=float, default=100, help="of a cycle's training, by the plan's estimate")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="all-linear")
    parser.add_argument("--threads", type=int, default=2, help="of the engine; 1 beside other work")
    parser.add_argument("--passes", type=int, help="over the examples at most; the recipe's without it")
    parser.add_argument("--other-orders", type=int, default=0, help="of the passages, which later passes see")
    parser.add_argument("--trainer-threads", type=int, default=1, help="of the trainer; the goal's hour is of one")
    parser.add_argument("--data", type=Path, help="keep the bot's data here")
    parser.add_argument("--resume", action="store_true", help="go on with the run kept in --data")
    parser.add_argument("--name", default="learning", help="of the file under bench/results")
    parser.add_argument(
        "--held-out", type=float, default=0.12, help="share of the passages that the gate measures with"
    )
    options = parser.parse_args()
    if not SQUAD.exists():
        print(f"{SQUAD} is not there: these questions lie beside the checkout only.")
        return
    with tempfile.TemporaryDirectory(prefix="ratchet-learning-") as folder:
        data = options.data or Path(folder)
        data.mkdir(parents=True, exist_ok=True)
        run = Run.of(data) if options.resume else Run(recipe=options.recipe)
        if run.recipe != options.recipe:
            parser.error(f'The run in {data} has the recipe "{run.recipe}", expected --recipe {run.recipe}.')
        names = (
            "examples",
            "minutes",
            "unanswerable",
            "held_out",
            "threads",
            "trainer_threads",
            "other_orders",
            "passes",
        )
        chosen = {name: getattr(options, name) for name in names}
        bot = Bot(data, settings(taxonomy(data, options.recipe), **chosen))
        try:
            bot.wait()
            if options.resume:
                known_again(bot, data)
            played(bot, data, options, run)
        finally:
            bot.stop()


def known_again(bot: Bot, data: Path) -> None:
    """Sign in with a new admin key: a bot takes the one of its environment only at its first start."""
    command = [sys.executable, "-m", "store", "key", "add", "admin"]
    done = subprocess.run(
        command, env={**os.environ, "RATCHET_DATA": str(data)}, capture_output=True, check=True, text=True
    )
    bot.http.headers["Authorization"] = f"Bearer {done.stdout.split()[-1]}"


def played(bot: Bot, data: Path, options: argparse.Namespace, run: Run) -> None:
    """All cycles, and the way back."""
    cases = cases_to_ask(options.cases)
    if not run.first:
        run.first = examined(bot, cases, adapter="base")
        run.twice = alike(run.first, examined(bot, cases, adapter="base"))
        run.rows.append({"what": "copying the nearest sentence", **scores(cases, [copied(case) for case in cases])})
        run.rows.append({"what": "base", **scores(cases, run.first)})
        run.keep(data)
        print(json.dumps(run.rows[-1]), flush=True)
    for number in range(len(run.facts), options.cycles):
        one_cycle(bot, data, options, run, number=number, cases=cases)
    if run.serving != "base":
        bot.post("/v1/admin/rollback", {"comment": "the way back", "to": "base"})
        bot.wait_for("base")
        back = examined(bot, cases, adapter="base")
        run.rows.append({"what": "after the rollback: base", **scores(cases, back)})
        run.facts[-1]["same answers after the rollback"] = alike(run.first, back)
        run.facts[-1]["same answers of the base asked twice in a row"] = run.twice
    _add_perplexities(run, data, threads=options.threads)
    _show(run, options, cases=len(cases))
    draw_curve(options.name, run.rows[1:], label="what", values=list(CURVES))


def one_cycle(
    bot: Bot, data: Path, options: argparse.Namespace, run: Run, *, number: int, cases: Sequence[Asked]
) -> None:
    """People talk, a cycle trains, an admin approves what the gate let through, and the cases are asked."""
    learn, others = split(articles(SQUAD), seed=SEED)[0], traffic()[0]
    chats = questions(learn, options.chats * options.cycles, unanswerable=options.unanswerable, seed=SEED)
    told = [*chats[number * options.chats : (number + 1) * options.chats], *others[number :: options.cycles]]
    if run.told == number:
        chat(bot, random.Random(SEED + number).sample(told, len(told)), seed=SEED)
        run.told += 1
        run.keep(data)
    if not run.cycle:
        run.cycle = bot.post("/v1/admin/cycles", {})["cycle_id"]
        run.keep(data)
    done = ended(bot, run.cycle)
    facts = _facts(done)
    print(json.dumps({"error": done["error"], **facts}), flush=True)
    if done["state"] == "awaiting_approval":
        comment = {"comment": "better on the held-out cases of the gate"}
        bot.post(f"/v1/admin/adapters/{done['adapter_id']}/approve", comment)
    if done["state"] in ("awaiting_approval", "promoted"):
        run.serving = done["adapter_id"]
        bot.wait_for(run.serving)
    found = examined(bot, cases, adapter=run.serving)
    run.rows.append({"what": f"after cycle {number + 1}: {run.serving}", **scores(cases, found)})
    run.facts.append(facts)
    run.names += [done["adapter_id"]] if done["adapter_id"] else []
    run.cycle = ""
    run.keep(data)
    _show(run, options, cases=len(cases))


def _show(run: Run, options: argparse.Namespace, *, cases: int) -> None:
    """Print and write what is known so far: a run of many hours may be cut off."""
    show(options.name, run.rows, cases=cases, chats=options.chats, recipe=options.recipe, cycles=run.facts)


def _add_perplexities(run: Run, data: Path, *, threads: int) -> None:
    """The perplexity on other tasks of the adapter of each row; adapters that were refused have no other figures."""
    found = perplexities({name: folder_of(data, name) for name in run.names}, threads=threads)
    for row in run.rows:
        row["perplexity, other tasks"] = found.get(row["what"].split(": ")[-1], "")


def _facts(done: dict[str, Any]) -> dict[str, Any]:
    results = done.get("results", {})
    kept = ("steps", "tokens", "seconds", "tokens_per_second")
    trained = {key: results.get("train", {}).get(key) for key in kept}
    curate = results.get("curate", {})
    phases = [[phase[key] for key in ("examples", "replay", "epochs", "minutes")] for phase in done["plan"]["phases"]]
    facts = {"examples, replay, passes, minutes planned": phases, "funnel": curate.get("funnel"), **trained}
    return {"outcome": done["outcome"] or done["state"], "reasons": done["plan"].get("reasons"), **facts}


if __name__ == "__main__":
    main()
