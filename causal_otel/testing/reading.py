"""From recorded spans to traces as the collector has them: with their trees, and ready to be explained.

They take the way that spans take to a collector, redaction included: what a test sees is what would leave the process.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.trace_tree import build
from causal_otel.export.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

    from causal_otel.collector.view import TraceView
    from causal_otel.testing.recorder import Recorder, Scope

__all__ = ["messages", "mine", "views"]

_EPOCH = 1_000_000_000_000_000_000
_STEP = 1_000_000
"""Nanoseconds between two things that happen, where times are to be the same in every run: one millisecond."""


_encoding = Lock()
"""An encoder is for one thread at a time."""


@lru_cache(maxsize=4)
def _encoder(redaction: Any) -> Encoder:
    """One for all tests: what repeats from test to test is encoded once."""
    return Encoder(redaction=redaction)


def mine(scope: Scope, recorder: Recorder) -> list[Any]:
    """The spans of a test: of the traces that began in it, and of others' traces what was started in it."""
    known, is_foreign, began = scope.trace_ids, recorder.is_foreign, scope.began
    found = []
    for span, _ in scope.records.copy():
        trace_id = _trace_id(span)
        if trace_id in known or (is_foreign(trace_id) and began(span)):
            found.append(span)
    return found


def messages(spans: Iterable[Any]) -> list[TracesData]:
    """The traces of these spans, by the time of their first one."""
    by_trace: defaultdict[int, list[Any]] = defaultdict(list)
    for span in spans:
        by_trace[_trace_id(span)].append(span)
    found = []
    for some in by_trace.values():
        message = TracesData()
        with _encoding:
            for body, _ in _encoder(_redaction(some[0])).encode(some):
                message.MergeFromString(body)
        found.append(message)
    return sorted(found, key=lambda each: min(span.start_time_unix_nano for span in _spans(each)))


def views(traces: list[TracesData], *, deterministic: bool = False) -> list[TraceView]:
    """The same with their trees.

    Args:
        traces: what :func:`messages` gives.
        deterministic: whether things happen a millisecond after each other, in the order in which they did.
    """
    if deterministic:
        _number(traces)
    return [build(trace) for trace in traces]


def _number(traces: list[TracesData]) -> None:
    moments = {moment for trace in traces for span in _spans(trace) for moment in _moments(span)}
    places = {moment: _EPOCH + place * _STEP for place, moment in enumerate(sorted(moments))}
    for trace in traces:
        for span in _spans(trace):
            span.start_time_unix_nano = places[span.start_time_unix_nano]
            span.end_time_unix_nano = places[span.end_time_unix_nano]
            for event in span.events:
                event.time_unix_nano = places[event.time_unix_nano]


def _moments(span: Message) -> Iterator[int]:
    yield span.start_time_unix_nano
    yield span.end_time_unix_nano
    for event in span.events:
        yield event.time_unix_nano


def _spans(trace: TracesData) -> Iterator[Message]:
    for group in trace.resource_spans:
        for scoped in group.scope_spans:
            yield from scoped.spans


def _trace_id(span: Any) -> int:
    local = getattr(span, "_local_trace", None)
    return int((span.context if local is None else local).trace_id)


def _redaction(span: Any) -> Any:
    return getattr(getattr(getattr(span, "_tracer", None), "core", None), "redaction", None)
