"""Traces for tests of the explanation, in a line for each span; times are milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.causality.explanation import Explanation, Finding, explain
from causal_otel.collector.analysis import TraceView, build
from tests.collector.analysis.making import TRACE_ID, pairs, span, span_id, trace

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

__all__ = [
    "OTHER_TRACE",
    "TRACE_ID",
    "call",
    "explained",
    "findings",
    "of_kind",
    "pairs",
    "query",
    "request",
    "shares",
    "span",
    "span_id",
    "stall",
    "task",
    "view",
]

OTHER_TRACE = "b2" * 16


def request(end: float, attributes: dict[str, Any] | None = None, **given: Any) -> ResourceSpans:
    """The root, ``POST /orders``."""
    return span("root", end=end, attributes=attributes, **{"operation": "POST /orders", "kind": "server", **given})


def query(
    name: str, start: float, end: float, attributes: dict[str, Any] | None = None, *, parent: str = "root", **given: Any
) -> ResourceSpans:
    """A query of PostgreSQL."""
    own = {"db.system.name": "postgresql", "server.address": "db", **(attributes or {})}
    return span(name, parent, start, end, kind="client", attributes=own, **{"operation": "SELECT items", **given})


def call(
    name: str, start: float, end: float, attributes: dict[str, Any] | None = None, *, parent: str = "root", **given: Any
) -> ResourceSpans:
    """A request to api.example.com."""
    own = {"http.request.method": "GET", "server.address": "api.example.com", **(attributes or {})}
    return span(name, parent, start, end, kind="client", attributes=own, **{"operation": "GET", **given})


def task(
    name: str, parent: str, start: float, end: float, attributes: dict[str, Any] | None = None, **given: Any
) -> ResourceSpans:
    """An execution of the task ``mail`` from the queue ``celery``, in the service ``worker``."""
    own = {"celery.task.name": "mail", "messaging.destination.name": "celery", **(attributes or {})}
    return span(name, parent, start, end, kind="consumer", service="worker", attributes=own, **given)


def stall(
    name: str, start: float, end: float, attributes: dict[str, Any] | None = None, *, parent: str = "root", **given: Any
) -> ResourceSpans:
    """A time in which ``report.py:31 render()`` held the event loop."""
    own = {"causal.block.frame": "report.py:31 render()", **(attributes or {})}
    return span(name, parent, start, end, operation="loop blocked", attributes=own, **given)


def view(*spans: ResourceSpans) -> TraceView:
    """The trace of these spans."""
    return build(trace(*spans))


def explained(*spans: ResourceSpans, others: tuple[TraceView, ...] = ()) -> Explanation:
    """Their trace's explanation."""
    return explain(view(*spans), others)


def shares(*spans: ResourceSpans, others: tuple[TraceView, ...] = ()) -> dict[str, float]:
    """Milliseconds of each share of the time to the answer, by its label."""
    return {each.label: round(each.nanoseconds / 1e6, 3) for each in explained(*spans, others=others).answer.shares}


def findings(*spans: ResourceSpans, others: tuple[TraceView, ...] = ()) -> list[tuple[str, str]]:
    """Kind and sentence of each finding."""
    return [(each.kind, each.sentence) for each in explained(*spans, others=others).findings]


def of_kind(kind: str, *spans: ResourceSpans, others: tuple[TraceView, ...] = ()) -> list[Finding]:
    """The findings of a kind."""
    return [each for each in explained(*spans, others=others).findings if each.kind == kind]
