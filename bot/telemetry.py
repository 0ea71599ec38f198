"""What a Prometheus server scrapes from `/metrics`: requests of this process, and what the store holds of the loop."""

import time
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlmodel import Session, col, func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from store import deployments, processes
from store.database import Database
from store.models import Adapter, Cycle, Exchange, Feedback

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""The buckets of durations; a streamed answer lasts until its last word."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Counted by name; whatever else somebody makes up is `other`."""


class Telemetry:
    """The measurements of one application."""

    def __init__(self, database: Database) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("ratchet_http_requests", "Requests answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "ratchet_http_request_seconds", "From request to last byte.", ("route",), buckets=SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._registry.register(_Stored(database))

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def seen(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


class Timed:
    """ASGI middleware that tells a Telemetry of each request, by the route's template, never by its path."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "") or "none"
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._telemetry.seen(method, route, status, time.monotonic() - begun)


class _Stored(Collector):
    """What the store holds, counted when somebody looks; the same from every bot of an installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families, read in one session."""
        with self._database.read() as session:
            yield _counted(session, "ratchet_exchanges", "Exchanges in the log, by state.", Exchange.state)
            yield _counted(session, "ratchet_feedback", "Ratings in the log.", Feedback.rating)
            yield _counted(session, "ratchet_adapters", "Adapters, by state.", Adapter.state)
            yield _counted(session, "ratchet_cycles", "Cycles, by state.", Cycle.state)
            row = deployments.deployment(session)
            serving = GaugeMetricFamily("ratchet_serving_share", "What answers which share.", labels=["adapter"])
            serving.add_metric([row.adapter], 1.0 - row.share if row.canary else 1.0)
            if row.canary is not None:
                serving.add_metric([row.canary], row.share)
            yield serving
            yield GaugeMetricFamily("ratchet_generation", "How often the deployment changed.", row.generation)
            alive = GaugeMetricFamily("ratchet_processes", "Processes that are alive.", labels=["kind"])
            for kind in ("bot", "scheduler"):
                alive.add_metric([kind], len(processes.alive(session, kind)))
            yield alive


def _counted(session: Session, name: str, text: str, by: Any) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["of"])
    for value, count in session.exec(select(by, func.count()).group_by(col(by))):
        family.add_metric([str(value) if value is not None else "none"], count)
    return family
