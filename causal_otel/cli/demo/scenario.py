"""What the demo asks of its API, and the traces that must come of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.cli.demo.stage import Stage
from causal_otel.collector.analysis import SpanView, TraceView, build
from causal_otel.collector.query import TraceReader
from causal_otel.names import DB_SYSTEM_NAME, HTTP_REQUEST_METHOD
from causal_otel.testing.process import ServerError, check_running

__all__ = ["ANALYSIS", "GRAPH_STATS", "Landmark", "MissingSpans", "Shown", "play", "wait_for_trace"]

_REQUEST_SECONDS = 15.0
_ANALYSIS_SECONDS = 30.0
_ARRIVAL_SECONDS = 15.0
_QUIET_SECONDS = 0.5
_POLL_SECONDS = 0.1


class MissingSpans(RuntimeError):
    """A trace is not what it must be; the message says what is missing."""


@dataclass(frozen=True)
class Landmark:
    """A span that a trace must have.

    Args:
        what: how to call it.
        service: whose it is.
        kind: its kind, as in :class:`causal_otel.collector.query.Query`.
        attributes: some of its attributes; None as a value: any value.
        note: what to tell about it on the screen, if anything.
    """

    what: str
    service: str
    kind: str
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    note: str = ""

    def find(self, trace: TraceView) -> SpanView | None:
        """The first span that is it."""
        return next(filter(self._is, trace.spans), None)

    def _is(self, span: SpanView) -> bool:
        return (span.service, span.kind) == (self.service, self.kind) and all(
            key in span.attributes and value in (None, span.attributes[key]) for key, value in self.attributes.items()
        )


def _databases(service: str) -> list[Landmark]:
    systems = {"Neo4j": "neo4j", "Redis": "redis", "PostgreSQL": "postgresql"}
    return [
        Landmark(f"a {name} client span of {service}", service, "client", {DB_SYSTEM_NAME: system})
        for name, system in systems.items()
    ]


GRAPH_STATS = (
    Landmark(
        "the server span of demo-api",
        "demo-api",
        "server",
        note="The request, at demo-api. Redis has nothing cached, so it asks all three databases at once, in an anyio "
        "task group: the slowest of the three decides.",
    ),
    *_databases("demo-api"),
)

ANALYSIS = (
    Landmark(
        "the server span of demo-api",
        "demo-api",
        "server",
        note="The request, at demo-api. Its bar is short: the caller has the answer while the work goes on.",
    ),
    *_databases("demo-api"),
    Landmark("the producer span of demo-api", "demo-api", "producer", note="It puts a task on Celery's queue."),
    Landmark(
        "the consumer span of demo-worker",
        "demo-worker",
        "consumer",
        note="Here the trace crosses into demo-worker, another process. The gap before its bar is the time in the "
        "queue.",
    ),
    *_databases("demo-worker"),
    Landmark(
        "the internal span of demo-worker",
        "demo-worker",
        "internal",
        note="A span of the service's own, made with causal_otel.span().",
    ),
    Landmark(
        "the HTTP client span of demo-worker",
        "demo-worker",
        "client",
        {HTTP_REQUEST_METHOD: None},
        note="The call of the external service, as the worker sees it.",
    ),
    Landmark(
        "the server span of demo-scoring",
        "demo-scoring",
        "server",
        note="The same call, as that service sees it. What its bar is shorter by is the way there and back.",
    ),
)


@dataclass(frozen=True)
class Shown:
    """A trace worth showing.

    Args:
        request: the request it began with.
        trace: all of it.
        landmarks: what it must have, found.
    """

    request: str
    trace: TraceView
    landmarks: tuple[Landmark, ...]


def play(stage: Stage) -> tuple[Shown, Shown]:
    """Ask for the graph's statistics and for an analysis, and wait for the traces.

    All of it is done twice and shown once: the first round warms up the Java server, pools and caches.

    Raises:
        ServerError: The API, or what it needs, does not answer as it must.
        MissingSpans: A trace is not whole after a while.
    """
    with httpx.Client(base_url=stage.api_url, timeout=_REQUEST_SECONDS, trust_env=False) as client:
        _round(stage, client)
        stats, analysis = _round(stage, client)
    traces = stage.collector.traces
    return (
        Shown("GET /api/graph/stats", wait_for_trace(traces, stats, GRAPH_STATS), GRAPH_STATS),
        Shown("POST /api/analyses", wait_for_trace(traces, analysis, ANALYSIS), ANALYSIS),
    )


def _round(stage: Stage, client: httpx.Client) -> tuple[str, str]:
    """One request of each kind; returns their trace ids."""
    stats = _answer(stage, client, "GET", "/api/graph/stats")
    analysis = _answer(stage, client, "POST", "/api/analyses", json={"company": "Acme"})
    number = analysis.json()["id"]
    deadline = time.monotonic() + _ANALYSIS_SECONDS
    while _answer(stage, client, "GET", f"/api/analyses/{number}").json()["state"] != "done":
        check_running()
        if time.monotonic() > deadline:
            raise ServerError(f"demo-worker has not done its task in {_ANALYSIS_SECONDS:g} s.", stage.worker.output())
        time.sleep(_POLL_SECONDS)
    return stats.headers["x-trace-id"], analysis.headers["x-trace-id"]


def _answer(stage: Stage, client: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    try:
        response = client.request(method, path, **options)
    except httpx.HTTPError as error:
        check_running()
        raise ServerError(f"demo-api did not answer {method} {path}: {error}.", stage.api.output()) from None
    if response.is_error:
        check_running()
        raise ServerError(f"demo-api answered {method} {path} with {response.status_code}.", stage.api.output())
    return response


def wait_for_trace(traces: TraceReader, trace_id: str, landmarks: Sequence[Landmark]) -> TraceView:
    """A trace, once it has all landmarks, no span lacks its parent, and no more arrive.

    Raises:
        MissingSpans: That is not so after a while.
    """
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    count, quiet_since = -1, 0.0
    while True:
        check_running()
        trace = build(traces.trace(bytes.fromhex(trace_id)) or TracesData())
        if len(trace.spans) != count:
            count, quiet_since = len(trace.spans), time.monotonic()
        missing = [mark.what for mark in landmarks if mark.find(trace) is None]
        missing += [f"the parent of {span.name}" for span in trace.spans if span.orphan]
        if not missing and time.monotonic() - quiet_since > _QUIET_SECONDS:
            return trace
        if time.monotonic() > deadline:
            arrived = ", ".join(f"{span.name} ({span.service})" for span in trace.spans) or "nothing"
            raise MissingSpans(
                f"The trace {trace_id} is not whole after {_ARRIVAL_SECONDS:g} s. What is missing: "
                f"{', '.join(missing) or 'nothing, but more spans keep arriving'}. What arrived: {arrived}."
            )
        time.sleep(_POLL_SECONDS)
