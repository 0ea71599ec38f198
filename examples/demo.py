"""The whole loop before your eyes: people chat and correct, a cycle trains, you see the gain, approve, roll back.

make demo        or: python examples/demo.py FOLDER   to keep its data there

Scripted people ask the handbook's questions over HTTP, rate truthfully and correct what is wrong. It starts a bot of
its own in a temporary folder on a free port, and ends with 1 when the new adapter does not cite measurably better on
held-out questions.
"""

import json
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402

from examples.running import Bot  # noqa: E402
from finetune.metrics import answer_accuracy  # noqa: E402
from finetune.table import as_table  # noqa: E402
from store.answers import DECLINE, cited_numbers, declined  # noqa: E402

CHATS = 134
STREAMS = 4
PEOPLE = 6
AGAIN = 4
SETTINGS = {
    "STARTER": "false",
    "RETRIEVAL__PASSAGES": "2",
    "GENERATION__MAX_TOKENS": "36",
    "TRAINING__MAX_EXAMPLES": "66",
    "TRAINING__MAX_PASSES": "2",
    "TRAINING__MIN_EXAMPLES": "30",
    "TRAINING__THREADS": "2",
    "TRAINING__UNANSWERABLE_SHARE": "0.04",
    "EVALUATION__BATCH": "16",
    "EVALUATION__ALTERNATIVE_CASES": "0",
    "RETRIEVAL__VERIFIED_ANSWERS": "false",
    "EVALUATION__MAX_CASES": "48",
    "SCHEDULER__CRON": '"0 0 1 1 *"',
    "WATCH__HOURS": "0",
}
console = Console(width=120)


@dataclass(frozen=True)
class Asked:
    """A question of examples/questions.jsonl and what the bot answered."""

    row: dict[str, Any]
    reply: dict[str, Any]

    @property
    def answer(self) -> str:
        """The bot's answer."""
        return str(self.reply["choices"][0]["message"]["content"])

    @property
    def gold(self) -> int | None:
        """The number of the shown passage that answers; None when none does."""
        passage = self.row["passage"]
        shown = self.reply["ratchet"]["passages"]
        return next((p["n"] for p in shown if passage and passage[:80] in p["text"]), None)

    @property
    def right(self) -> bool:
        """Whether a person who knows the handbook is content: right source and right answer, or a fair decline."""
        if self.gold is None:
            return declined(self.answer)
        accurate = answer_accuracy(self.answer, [self.row["answer"]], question=self.row["question"]) or 0.0
        return self.gold in cited_numbers(self.answer) and accurate >= 0.5


def main() -> int:
    """Play the loop; returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ratchet-demo-") as folder:
        bot = Bot(Path(sys.argv[1] if len(sys.argv) > 1 else folder), SETTINGS)
        try:
            bot.wait()
            console.rule("1. people chat, rate and correct")
            asked = chat(bot)
            console.rule("2. a cycle: classify, plan, curate, train, evaluate, gate")
            cycle = run_cycle(bot)
            adapter = cycle["adapter_id"]
            evaluation = bot.get(f"/v1/admin/adapters/{adapter}") if adapter else {"verdict": {}}
            better = show_gain(evaluation["verdict"])
            if cycle["state"] != "awaiting_approval":
                console.print(f"the gate did not promote: {cycle['state']}, {cycle['outcome']}. {cycle['error']}")
                return 1
            console.rule("3. approve, swap while somebody chats, ask again, roll back")
            swapped = swap(bot, adapter, asked)
        finally:
            bot.stop()
    console.print(f"\nthe whole loop took {(time.monotonic() - begun) / 60:.1f} minutes.")
    return 0 if better and swapped else 1


def chat(bot: Bot) -> list[Asked]:
    """Several people ask at once; what is wrong is corrected."""
    rows = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()][:CHATS]

    def one(number: int) -> Asked:
        person = f"person-{number % PEOPLE + 1}"
        asked = Asked(rows[number], bot.ask(rows[number]["question"], person))
        bot.post("/v1/feedback", feedback(asked, person))
        return asked

    with Progress(TextColumn("asking"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn(),
                  console=console) as bar, ThreadPoolExecutor(STREAMS) as streams:  # fmt: skip
        found = list(bar.track(streams.map(one, range(len(rows))), total=len(rows)))
    right = sum(asked.right for asked in found)
    console.print(f"{len(found)} questions asked by {PEOPLE} people: {right} answered rightly with the right source, "
                  f"{len(found) - right} corrected.")  # fmt: skip
    return found


def feedback(asked: Asked, person: str) -> dict[str, Any]:
    """A truthful rating, with the right answer where the bot's was wrong."""
    body = {"exchange_id": asked.reply["ratchet"]["exchange_id"], "user": person}
    if asked.right:
        return {**body, "rating": "up"}
    return {**body, "rating": "down", "correction": DECLINE if asked.gold is None else asked.row["answer"]}


def run_cycle(bot: Bot) -> dict[str, Any]:
    """Run a cycle and show its steps until it waits for approval or has ended."""
    cycle_id = bot.post("/v1/admin/cycles", {})["cycle_id"]
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        TextColumn("{task.fields[shown]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        bars: dict[str, Any] = {}
        while True:
            cycle = bot.get(f"/v1/admin/cycles/{cycle_id}")
            for step in cycle["steps"]:
                bars.setdefault(step["name"], bar.add_task(step["name"], total=1, shown=""))\
                    if step["name"] not in bars else None  # fmt: skip
                show_step(bar, bars[step["name"]], step)
            if cycle["state"] != "running":
                break
            time.sleep(1)
    for reason in cycle["plan"].get("reasons", []):
        console.print(f"  plan: {reason}")
    return cycle


def show_step(bar: Progress, task: Any, step: dict[str, Any]) -> None:
    """Bring a step's bar up to date."""
    progress = step["progress"] or {}
    shown = ""
    if "loss" in progress:
        shown = f"step {progress['step']}/{progress['steps']}  loss {progress['loss']:.2f}  " \
                f"{progress['tokens_per_second']:.0f} tok/s  {progress['eta_seconds']} s left"  # fmt: skip
    if step["state"] == "done":
        bar.update(task, total=1, completed=1, shown="")
        bar.stop_task(task)
    else:
        bar.update(task, total=progress.get("steps", 1), completed=progress.get("step", 0), shown=shown)


def show_gain(verdict: dict[str, Any]) -> bool:
    """The table of base and candidate on held-out questions; whether citing is measurably better."""
    if not verdict:
        return False
    console.print("\nheld-out questions, never trained on (serving = base model):\n")
    console.print(as_table(verdict), highlight=False)
    rows = [d for d in verdict["deltas"] if d["metric"] == "source_attribution" and d["role"] == "primary"]
    return bool(rows) and rows[0]["low"] > 0


def swap(bot: Bot, adapter: str, asked: list[Asked]) -> bool:
    """Approve during a chat, ask again what went wrong, roll back; whether each did what it must."""
    wrong = [one for one in asked if not one.right and one.gold is not None][:AGAIN]
    # Twice: the second time an answer goes on from the kept prompt, which bfloat16 may round to other words.
    before, once_more = ([bot.ask(one.row["question"], "person-1") for one in wrong] for _ in range(2))
    chatting = Chatting(bot, [one.row["question"] for one in asked])
    begun = time.monotonic()
    bot.post(f"/v1/admin/adapters/{adapter}/approve", {"comment": "cites measurably better on held-out questions"})
    bot.wait_for(adapter)
    console.print(f"approved; new requests went to {adapter} after {time.monotonic() - begun:.1f} s.")
    chatting.stop()
    console.print(f"meanwhile {chatting.answers} answers were written for somebody else, {chatting.lost} lost.")
    after = [bot.ask(one.row["question"], "person-1") for one in wrong]
    bot.post("/v1/admin/rollback", {"comment": "the demo shows the way back"})
    bot.wait_for("base")
    back = [bot.ask(one.row["question"], "person-1") for one in wrong]
    console.print("\nquestions that were answered badly, asked again (corrected or near what was: not held out):")
    for one, was, is_ in zip(wrong, before, after, strict=True):
        console.print(f"\n  [b]{one.row['question']}[/b]", highlight=False)
        console.print(f"  base:  {_line(was)}\n  {adapter}:    {_line(is_)}", highlight=False, markup=False)
    same = sum(_line(now) in map(_line, was) for now, *was in zip(back, before, once_more, strict=True))
    console.print(f"\nrolled back: {same} of {len(wrong)} answers of the base model are back, word for word.")
    named = [{reply["ratchet"]["adapter"] for reply in replies} for replies in (before, after, back)]
    return named == [{"base"}, {adapter}, {"base"}] and not chatting.lost


def _line(reply: dict[str, Any]) -> str:
    return " ".join(str(reply["choices"][0]["message"]["content"]).split())[:220]


class Chatting:
    """Somebody who keeps chatting in the background, and counts."""

    def __init__(self, bot: Bot, questions: list[str]) -> None:
        self.answers = self.lost = 0
        self._bot, self._questions = bot, questions
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for question in self._questions:
            if self._stop.is_set():
                return
            body = {"model": "ratchet", "user": "person-3", "messages": [{"role": "user", "content": question}]}
            response = self._bot.http.post("/v1/chat/completions", json=body)
            good = response.status_code == 200 and response.json()["choices"][0]["message"]["content"]
            self.answers += bool(good)
            self.lost += not good

    def stop(self) -> None:
        """End after the answer under way."""
        self._stop.set()
        self._thread.join()


if __name__ == "__main__":
    sys.exit(main())
