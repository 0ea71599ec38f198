"""APScheduler wiring: it only ticks. What is due becomes a cycle row; its steps are claimed and done by one worker.

While the worker trains, the tick answers what the pages ask (`store/requests.py`). What has to be counted over the log
takes as long as the log is large: a thread of its own answers that, so that the tick goes on, and follows deletions.
Another one watches adapters: a harmful one must not stay because the next cycle trains meanwhile.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, func, select

from scheduler import adoption, cycle, decisions, due, forgotten, judged, judging, planning, trouble
from scheduler.kept import Kept
from scheduler.strategy import SETTINGS
from scheduler.workbench import Workbench
from store import cycles, processes, requests
from store.errors import Invalid, RatchetError
from store.models import Ask, AuditEntry, Cycle, CycleState, Schedule, new_id, now

TICK_SECONDS = 1
IDLE_SECONDS = 0.5
TROUBLE_SECONDS = 5.0
Answer = Callable[[Workbench, Ask], dict[str, Any]]


class Ticker:
    """The scheduler's heart: ticks every second, works on one step at a time."""

    def __init__(
        self,
        bench: Workbench,
        *,
        cron: str,
        parent: int | None = None,
        renew: Callable[[Workbench], Workbench] = lambda bench: bench,
        answers: Answer | None = None,
    ) -> None:
        """Work with a workbench, which `renew` brings up to date at each tick; `answers` are those to the pages."""
        self._bench = bench
        self._renew = renew
        self._parent = parent
        self._cron = cron
        self._stop = threading.Event()
        self._started = now()
        self._process = processes.register(bench.database, "scheduler")
        self._answer = answers or answer
        self._kept = Kept()
        self._said: dict[str, str] = {}
        self._beside = {self._count: threading.Thread(), self._watch: threading.Thread()}

    def run(self) -> None:
        """Tick and work until `stop` is called."""
        ticks = BackgroundScheduler(timezone="UTC")
        ticks.add_job(
            self.tick, "interval", seconds=TICK_SECONDS, misfire_grace_time=None, coalesce=True, max_instances=1
        )
        ticks.start()
        try:
            self._again(self._work)
        finally:
            ticks.shutdown(wait=False)
            processes.leave(self._bench.database, self._process)

    def stop(self) -> None:
        """End after the step under way."""
        self._stop.set()

    def tick(self) -> None:
        """Say that we live, start what is due, follow decisions, answer the pages; see that the threads go on.

        What goes wrong in one of these keeps none of the others from being done, and is said once while it lasts.
        """
        if self._parent is not None and os.getppid() != self._parent:
            self.stop()
            return
        first = (self._beat, self._take_settings, self._start_due, self._follow_decisions)
        for part in (*first, self._keep_threads, self._answer_pages):
            try:
                part()
            except Exception as error:  # the next tick tries again
                self._say_once(part.__name__, f"{type(error).__name__}: {error}")
            else:
                self._said.pop(part.__name__, None)

    def _say_once(self, part: str, error: str) -> None:
        if self._said.get(part) != error:
            self._said[part] = error
            said = f"the scheduler could not {part.strip('_').replace('_', ' ')}, and goes on: {error}"
            print(said, traceback.format_exc(limit=-4), sep="\n", file=sys.stderr, flush=True)

    def _beat(self) -> None:
        processes.beat(self._bench.database, self._process)

    def _take_settings(self) -> None:
        self._bench = self._renew(self._bench)

    def _follow_decisions(self) -> None:
        decisions.follow_decisions(self._bench)

    def _keep_threads(self) -> None:
        for round_, thread in self._beside.items():
            if not thread.is_alive():
                self._beside[round_] = threading.Thread(target=self._again, args=(round_,), daemon=True)
                self._beside[round_].start()

    def _answer_pages(self) -> None:
        while (asked := requests.take(self._bench.database, but=SLOW)) is not None:
            requests.answer(self._bench.database, asked.id, self._answer(self._bench, asked))
            self._take_settings()

    def _again(self, once: Callable[[], None]) -> None:
        """Do something again and again; a database that cannot be reached now may be there the next time."""
        while not self._stop.wait(IDLE_SECONDS):
            try:
                once()
            except (RatchetError, SQLAlchemyError) as error:
                print(f"the scheduler tries again: {error}", file=sys.stderr, flush=True)
                self._stop.wait(TROUBLE_SECONDS)

    def _work(self) -> None:
        while not self._stop.is_set():
            claim = cycles.claim(self._bench.database, states=[CycleState.RUNNING])
            if claim is None:
                return
            cycle.work(self._bench, claim)

    def _count(self) -> None:
        if forgotten.follow(self._bench):
            self._kept.clear()
        while (asked := requests.take(self._bench.database, only=SLOW)) is not None:
            if asked.kind in COUNTED:
                made = self._kept.of(asked.kind, _moment(self._bench), partial(self._counted, asked))
            else:
                made = self._answer(self._bench, asked)
            requests.answer(self._bench.database, asked.id, made)

    def _watch(self) -> None:
        while (claim := cycles.claim(self._bench.database, states=[CycleState.WATCHING])) is not None:
            cycle.work(self._bench, claim)

    def _counted(self, asked: Ask) -> dict[str, Any]:
        return self._answer(self._bench, asked) | {"as_of": now().isoformat()}

    def _start_due(self) -> None:
        with self._bench.database.read() as session:
            row = session.get(Schedule, 1)
            query = select(Cycle.created_at).where(Cycle.started_by == "schedule")
            last = session.exec(query.order_by(col(Cycle.created_at).desc()).limit(1)).first()
        schedule = row or Schedule(cron=self._cron)
        since = max(last or self._started, schedule.changed_at if row is not None else self._started)
        slot = due.slot(schedule.cron, now(), since) if schedule.enabled else None
        if slot is not None:
            cycles.start(self._bench.database, slot_key=slot, first_step=cycle.FIRST, started_by="schedule")


def start_now(bench: Workbench, actor: str, *, strategy: str | None = None, comment: str = "") -> Cycle:
    """Start a cycle now, by a strategy of somebody's choice; the running one when there is one.

    Raises Invalid for a strategy that there is not, or one without a comment that says why.
    """
    asked = wanted(strategy, comment)
    key = new_id("now")
    row, _ = cycles.start(bench.database, slot_key=key, first_step=cycle.FIRST, started_by=actor, asked=asked)
    return row


def wanted(strategy: str | None, comment: str) -> dict[str, str]:
    """A chosen strategy and why; raises Invalid for an unknown one, and for one without a comment."""
    if strategy is None:
        return {}
    if strategy not in SETTINGS:
        raise Invalid(f'the strategy is "{strategy}", expected {", ".join(SETTINGS)}.')
    if not comment.strip():
        raise Invalid("choosing a strategy needs a comment that says why.", 'Add --comment "…" or a "comment" field.')
    return {"strategy": strategy, "comment": comment.strip()}


COUNTED: dict[str, Callable[[Workbench], dict[str, Any]]] = {
    "report": planning.report_now,
    "plan": planning.shown_now,
    "faults": trouble.faults_now,
    "gaps": trouble.gaps_now,
    "groundedness": judged.groundedness_now,
    "discovered": adoption.discovered_now,
    "judge": judging.judged_now,
}
"""What is counted over the log, by what the pages ask."""
SLOW = (*COUNTED, "adopt")
"""What takes as long as the log is large, and is no business of the tick."""


def _moment(bench: Workbench) -> tuple[Any, ...]:
    """What makes a kept answer out of date: another taxonomy, what people decided or labelled, a cycle's next state."""
    with bench.database.read() as session:
        decided = session.exec(select(func.max(AuditEntry.id))).one()
        query = select(Cycle.id, Cycle.state).order_by(col(Cycle.created_at).desc()).limit(1)
        return bench.taxonomy, decided, session.exec(query).first()


def answer(bench: Workbench, asked: Ask) -> dict[str, Any]:
    """The answer to a request of the pages; a user's error is an answer too."""
    try:
        if asked.kind in COUNTED:
            return COUNTED[asked.kind](bench)
        if asked.kind == "judged":
            return judged.exchange_now(bench, str(asked.payload.get("exchange_id", "")))
        if asked.kind == "adopt":
            return adoption.adopt(bench, **asked.payload)
        if asked.kind == "run_cycle":
            chosen = {name: asked.payload[name] for name in ("strategy", "comment") if name in asked.payload}
            return {"cycle_id": start_now(bench, str(asked.payload.get("actor", "admin")), **chosen).id}
    except RatchetError as error:
        return {"error": error.message, "hint": error.hint}
    return {"error": f"unknown request {asked.kind}."}
