"""APScheduler wiring: it only ticks. What is due becomes a cycle row; steps are claimed and done by one worker.

The tick answers what the pages ask (`store/requests.py`) while the worker trains.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from sqlmodel import col, select

from scheduler import adoption, cycle, decisions, due, judged, judging, planning, trouble
from scheduler.strategy import SETTINGS
from scheduler.workbench import Workbench
from store import cycles, processes, requests
from store.errors import Invalid, RatchetError
from store.models import Ask, Cycle, Schedule, new_id, now

TICK_SECONDS = 1
IDLE_SECONDS = 0.5


class Ticker:
    """The scheduler's heart: ticks every second, works on one step at a time."""

    def __init__(
        self,
        bench: Workbench,
        *,
        cron: str,
        parent: int | None = None,
        renew: Callable[[Workbench], Workbench] = lambda bench: bench,
    ) -> None:
        """Work with a workbench, which `renew` brings up to date at each tick and before each answer."""
        self._bench = bench
        self._renew = renew
        self._parent = parent
        self._cron = cron
        self._stop = threading.Event()
        self._started = now()
        self._process = processes.register(bench.database, "scheduler")

    def run(self) -> None:
        """Tick and work until `stop` is called."""
        ticks = BackgroundScheduler(timezone="UTC")
        ticks.add_job(
            self.tick, "interval", seconds=TICK_SECONDS, misfire_grace_time=None, coalesce=True, max_instances=1
        )
        ticks.start()
        try:
            while not self._stop.is_set():
                claim = cycles.claim(self._bench.database)
                if claim is None:
                    self._stop.wait(IDLE_SECONDS)
                else:
                    cycle.work(self._bench, claim)
        finally:
            ticks.shutdown(wait=False)
            processes.leave(self._bench.database, self._process)

    def stop(self) -> None:
        """End after the step under way."""
        self._stop.set()

    def tick(self) -> None:
        """Say that we live, start what is due, follow decisions, answer the pages."""
        if self._parent is not None and os.getppid() != self._parent:
            self.stop()
            return
        processes.beat(self._bench.database, self._process)
        self._bench = self._renew(self._bench)
        self._start_due()
        decisions.follow_decisions(self._bench)
        while (asked := requests.take(self._bench.database)) is not None:
            requests.answer(self._bench.database, asked.id, answer(self._bench, asked))
            self._bench = self._renew(self._bench)

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


def answer(bench: Workbench, asked: Ask) -> dict[str, Any]:
    """The answer to a request of the pages; a user's error is an answer too."""
    try:
        if asked.kind == "report":
            return planning.report_now(bench)
        if asked.kind == "plan":
            return planning.plan_now(bench)
        if asked.kind == "faults":
            return trouble.faults_now(bench)
        if asked.kind == "gaps":
            return trouble.gaps_now(bench)
        if asked.kind == "judged":
            return judged.exchange_now(bench, str(asked.payload.get("exchange_id", "")))
        if asked.kind == "groundedness":
            return judged.groundedness_now(bench)
        if asked.kind == "discovered":
            return adoption.discovered_now(bench)
        if asked.kind == "judge":
            return judging.judged_now(bench)
        if asked.kind == "adopt":
            return adoption.adopt(bench, **asked.payload)
        if asked.kind == "run_cycle":
            chosen = {name: asked.payload[name] for name in ("strategy", "comment") if name in asked.payload}
            return {"cycle_id": start_now(bench, str(asked.payload.get("actor", "admin")), **chosen).id}
    except RatchetError as error:
        return {"error": error.message, "hint": error.hint}
    return {"error": f"unknown request {asked.kind}."}
