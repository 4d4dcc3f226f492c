"""Calls, errors and durations by service, span name, kind, system and status, counted as spans come in.

The names and labels are those of the OpenTelemetry Collector's span metrics, so that one dashboard serves both. Spans
of a system (see :mod:`.systems`) have its name besides, those of HTTP clients the server's address as well. They start
at 0 with the process and only grow; what is deleted from the store stays counted.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from causal_otel.collector.attributes import service_name
from causal_otel.collector.matching import span_duration
from causal_otel.collector.prometheus import Family
from causal_otel.collector.systems import BoundedSystems, host, system_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BOUNDS", "SERIES_LIMIT", "SpanCounts", "SpanMetrics", "count_spans", "total"]

BOUNDS = (0.002, 0.004, 0.006, 0.008, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.4, 2.0, 5.0, 10.0, 15.0)
"""The duration buckets' upper bounds in seconds, those of the OpenTelemetry Collector."""

SERIES_LIMIT = 2000
"""How many series there may be: span names with an id in them would otherwise fill any memory."""

_BOUNDS = tuple(round(bound * 1e9) for bound in BOUNDS)
_SYSTEM_LABELS = ("system", "server_address")
_INVALID_IDS = (bytes(16), bytes(8))

_Key = tuple[str, str, int, int, str]
"""Service, span name, the numbers of kind and status, system."""


class _Series:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0


SpanCounts = dict[_Key, _Series]


def count_spans(request: bytes) -> SpanCounts:
    """Count the valid spans of a serialized ``ExportTraceServiceRequest``; none if it cannot be read."""
    counts: SpanCounts = {}
    try:
        message = ExportTraceServiceRequest.FromString(request)
    except DecodeError:
        return counts
    for group in message.resource_spans:
        service = service_name(group.resource)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                if not _valid(span):
                    continue
                key = (service, span.name, span.kind, span.status.code, system_of(span))
                series = counts.get(key)
                if series is None:
                    series = counts[key] = _Series()
                nanoseconds = span_duration(span)
                series.counts[bisect_left(_BOUNDS, nanoseconds)] += 1
                series.total += nanoseconds
    return counts


def total(counts: SpanCounts) -> int:
    """How many spans that are."""
    return sum(sum(series.counts) for series in counts.values())


def _valid(span: Span) -> bool:
    ids = (span.trace_id, span.span_id)
    return len(ids[0]) == 16 and len(ids[1]) == 8 and ids[0] != _INVALID_IDS[0] and ids[1] != _INVALID_IDS[1]


class SpanMetrics:
    """The sum of all counts. Not for use by several threads at once."""

    def __init__(self) -> None:
        self._series: SpanCounts = {}
        self._left_out = 0
        self._systems = BoundedSystems()

    def add(self, counts: SpanCounts) -> None:
        """Add ``counts``; a new series beyond :data:`SERIES_LIMIT` is only counted as left out."""
        for (service, name, kind, status, system), new in counts.items():
            key = (service, name, kind, status, self._systems.bounded(service, system))
            series = self._series.get(key)
            if series is None:
                if len(self._series) >= SERIES_LIMIT:
                    self._left_out += sum(new.counts)
                    continue
                series = self._series[key] = _Series()
            series.counts = [old + more for old, more in zip(series.counts, new.counts, strict=True)]
            series.total += new.total

    def families(self) -> Iterator[Family]:
        """The metrics, for Prometheus."""
        calls = Family("traces_span_metrics_calls_total", "counter", "Spans received since the collector started.")
        durations = Family("traces_span_metrics_duration_seconds", "histogram", "How long they took.")
        for (service, name, kind, status, system), series in self._series.items():
            labels = {
                "service_name": service,
                "span_name": name,
                "span_kind": _name(Span.SpanKind, kind),
                "status_code": _name(Status.StatusCode, status),
            }
            labels |= {label: text for label, text in zip(_SYSTEM_LABELS, host(system), strict=True) if text}
            calls.add(sum(series.counts), labels)
            durations.add_histogram(BOUNDS, list(accumulate(series.counts)), series.total / 1e9, labels)
        left_out = Family(
            "causal_span_metrics_left_out_total",
            "counter",
            f"Spans in none of the above, because there are {SERIES_LIMIT} series already.",
        )
        left_out.add(self._left_out)
        yield from (calls, durations, left_out)


def _name(enum: type[Span.SpanKind] | type[Status.StatusCode], number: int) -> str:
    try:
        return str(enum.Name(number))
    except ValueError:  # a later protocol may know more
        return str(number)
