"""``/metrics``: the collector's own health and the span metrics, as Prometheus reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from anyio.to_thread import run_sync
from starlette.responses import Response
from starlette.routing import Route

from causal_otel.collector.prometheus import CONTENT_TYPE, Family, render
from causal_otel.collector.store.days import midnight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

    from causal_otel.collector.span_metrics import SpanMetrics

__all__ = ["routes"]


def routes(status: Callable[[], dict[str, Any]], metrics: SpanMetrics) -> list[Route]:
    """``/metrics``.

    Args:
        status: makes the document of :mod:`causal_otel.collector.status`; it is called from threads.
        metrics: what was counted; read in the event loop.
    """

    async def answer(_: Request) -> Response:
        health = list(_health(await run_sync(status)))
        return Response(render([*health, *metrics.families()]), media_type=CONTENT_TYPE)

    return [Route("/metrics", answer, methods=["GET"])]


_SAMPLES: tuple[tuple[str, Literal["counter", "gauge"], str, tuple[str, str]], ...] = (
    ("causal_store_spans_ingested_total", "counter", "Spans kept since the start.", ("writer", "spans")),
    ("causal_store_log_records_ingested_total", "counter", "Log records kept since the start.", ("writer", "logs")),
    ("causal_store_traces_received_total", "counter", "Traces that spans were kept of.", ("writer", "traces")),
    ("causal_store_bytes", "gauge", "What the store takes on the disk.", ("store", "bytes")),
    ("causal_store_limit_bytes", "gauge", "What it may take; absent: any.", ("store", "max_bytes")),
    ("causal_store_free_bytes", "gauge", "What its disk has left.", ("store", "free_bytes")),
    ("causal_store_spans", "gauge", "Spans in the store.", ("store", "spans")),
    ("causal_store_traces", "gauge", "Traces in the store, those over midnight by day.", ("store", "traces")),
    ("causal_store_oldest_age_seconds", "gauge", "How long ago the oldest day began.", ("store", "oldest_age")),
    (
        "causal_store_retention_lost_seconds",
        "gauge",
        "Of the time that traces are to be kept, what the size's limit has cost.",
        ("writer", "lost_seconds"),
    ),
    (
        "causal_store_retention_early_days_total",
        "counter",
        "Days deleted since the start before their time, for the size's limit.",
        ("writer", "early_days"),
    ),
    ("causal_store_queue_bytes", "gauge", "Bytes of requests that wait to be written.", ("writer", "queue_bytes")),
    ("causal_store_queue_limit_bytes", "gauge", "How many may wait.", ("writer", "queue_limit_bytes")),
    (
        "causal_store_retention_deleted_bytes_total",
        "counter",
        "Bytes of days that were deleted since the start.",
        ("writer", "deleted_bytes"),
    ),
    ("process_resident_memory_bytes", "gauge", "The process's memory.", ("process", "resident_bytes")),
    ("process_cpu_seconds_total", "counter", "The process's CPU time.", ("process", "cpu_seconds")),
)
"""Name, type and help, and where in the status the value is."""


def _health(status: dict[str, Any]) -> Iterator[Family]:
    """What of the status is a number."""
    for name, kind, description, (part, key) in _SAMPLES:
        family = Family(name, kind, description)
        if (value := status[part][key]) is not None:
            family.add(value)
        yield family
    ready = Family("causal_collector_ready", "gauge", "Whether spans can be kept, as /ready says: 1 or 0.")
    ready.add(int(not status["not_ready"]))
    yield ready
    days = Family("causal_store_days", "gauge", "Days in the store.")
    days.add(len(status["store"]["days"]))
    yield days
    retention = Family("causal_store_retention_seconds", "gauge", "How long traces are to be kept.")
    retention.add(status["store"]["retention_days"] * 86400)
    yield retention
    dropped = Family("causal_store_spans_dropped_total", "counter", "Spans that came in and were not kept.")
    dropped.add(status["writer"]["rejected"], {"reason": "invalid_id"})
    yield dropped
    records = Family("causal_store_log_records_dropped_total", "counter", "Log records that came in and were not kept.")
    records.add(status["writer"]["logs_rejected"], {"reason": "no_trace"})
    yield records
    misdated = Family(
        "causal_store_spans_misdated_total",
        "counter",
        "Spans kept that started before the days that are kept, or start over an hour from now.",
    )
    misdated.add(status["writer"]["expired"], {"reason": "expired"})
    misdated.add(status["writer"]["future"], {"reason": "future"})
    yield misdated
    oldest = Family("causal_store_oldest_timestamp_seconds", "gauge", "When the oldest day in the store begins.")
    if (day := status["store"]["oldest_day"]) is not None:
        oldest.add(midnight(day))
    yield oldest
    requests = Family("causal_receiver_requests_total", "counter", "Requests by transport and what became of them.")
    for transport, outcomes in status["requests"].items():
        for outcome, count in outcomes.items():
            requests.add(count, {"transport": transport, "outcome": outcome})
    yield requests
    if (forward := status["forward"]) is not None:
        yield from _forwarding(forward)
    started = Family("process_start_time_seconds", "gauge", "When the process was started.")
    started.add(status["started"])
    yield started


_FORWARD_GAUGES = {
    "queue_bytes": ("causal_forward_queue_bytes", "What waits to be sent on takes on the disk."),
    "queue_limit_bytes": ("causal_forward_queue_limit_bytes", "What it may take."),
    "queue_requests": ("causal_forward_queue_requests", "Requests that wait to be sent on."),
    "queue_spans": ("causal_forward_queue_spans", "Spans in them."),
    "oldest_age": ("causal_forward_queue_oldest_age_seconds", "How long the oldest of them has waited."),
    "last_success": ("causal_forward_last_success_timestamp_seconds", "When something was sent on last; 0: never."),
}


def _forwarding(forward: dict[str, Any]) -> Iterator[Family]:
    """What of the status of sending on is a number."""
    spans = Family("causal_forward_spans_total", "counter", "Spans that were to be sent on, by what became of them.")
    for outcome, count in forward["spans"].items():
        spans.add(count, {"outcome": outcome})
    yield spans
    for key, (name, description) in _FORWARD_GAUGES.items():
        family = Family(name, "gauge", description)
        if (value := forward[key]) is not None:
            family.add(value)
        yield family
    failing = Family("causal_forward_failing", "gauge", "Whether the last attempt to send on has failed: 1 or 0.")
    failing.add(int(bool(forward["problem"])))
    yield failing
