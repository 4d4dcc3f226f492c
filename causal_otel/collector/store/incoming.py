"""Requests taken apart: spans by trace, with what the tables need to know of each."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from causal_otel.causality.spans.parts import thread_wait_is_inside
from causal_otel.collector.attributes import KINDS, plain, service_name, text
from causal_otel.collector.error_labels import joined
from causal_otel.collector.own_frames import own_frame
from causal_otel.collector.store import indexing
from causal_otel.collector.store.days import HOUR, LARGEST
from causal_otel.collector.store.histogram import BOUNDS
from causal_otel.collector.store.measures import Measure, measures_of
from causal_otel.collector.store.otlp_slim import RawRequest, SlimSpan
from causal_otel.collector.store.schema import SPREAD
from causal_otel.collector.store.series import Series, SeriesPool
from causal_otel.collector.times import length
from causal_otel.names import (
    ERROR_TYPE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
    OTEL_SCOPE_NAME,
    OTEL_SCOPE_VERSION,
    OTEL_STATUS_CODE,
    OTEL_STATUS_DESCRIPTION,
    SERVICE_VERSION,
    W3C_TRACESTATE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Observation", "Origin", "Piece", "SpanParser", "origin_of", "pieces"]

_NO_ID = {bytes(8), bytes(16)}
_ERROR = Status.STATUS_CODE_ERROR
_OF_EXCEPTIONS = (EXCEPTION_TYPE, EXCEPTION_STACKTRACE)
_LONGEST = 100
"""Characters of a version."""


class Origin(NamedTuple):
    """Where spans come from.

    Attributes:
        service: the service's name.
        version: the service's version; empty: it does not tell one.
        resource: a ``ResourceSpans`` without spans, serialized.
        scope: a ``ScopeSpans`` without spans, serialized.
        hashes: of the tags that every span has by its scope.
        thread_wait_inside: whether its spans wait for threads themselves.
    """

    service: str
    version: str
    resource: bytes
    scope: bytes
    hashes: frozenset[int]
    thread_wait_inside: bool


class Observation(NamedTuple):
    """What the tables need to know of a span; times in nanoseconds, as far as SQLite can count.

    ``hour`` is when it starts, ``bucket`` where its duration is in a histogram, ``measures`` what it tells of itself.
    """

    series: Series
    start: int
    hour: int
    duration: int
    bucket: int
    error: bool
    span_id: bytes
    parent_id: bytes
    measures: Sequence[Measure]


class Piece:
    """The spans of one trace that came together and start within :data:`~.schema.SPREAD` of each other.

    Args:
        trace_id: the trace's.
        start: when one of them starts.

    Attributes:
        trace_id: the trace's.
        start: when the earliest starts, Unix time in nanoseconds.
        latest: when the latest starts.
        parts: serialized spans by where they come from.
        observations: one for each span.
        hashes: of all their tags.
    """

    __slots__ = ("hashes", "latest", "observations", "parts", "start", "trace_id")

    def __init__(self, trace_id: bytes, start: int) -> None:
        self.trace_id = trace_id
        self.start = self.latest = start
        self.parts: dict[Origin, list[bytes]] = {}
        self.observations: list[Observation] = []
        self.hashes: set[int] = set()

    def takes(self, start: int) -> bool:
        """Whether a span that starts then belongs here; it is expected to be added if so."""
        if start < self.start:
            if self.latest - start >= SPREAD:
                return False
            self.start = start
        elif start > self.latest:
            if start - self.start >= SPREAD:
                return False
            self.latest = start
        return True


class SpanParser:
    """Parses spans, and remembers the hashes of attributes."""

    def __init__(self) -> None:
        self._tags = indexing.TagHashes()
        self._series = SeriesPool()
        self._statuses: dict[bytes, tuple[bool, frozenset[int]]] = {}

    def make_room(self) -> None:
        """Forget what is remembered, if it is too much. To be called now and then, between spans."""
        self._tags.make_room()

    def add(self, raw: bytes, span: Any, origin: Origin, piece: Piece) -> set[int]:
        """Put a span into its trace's piece: ``raw``, and the :class:`~.otlp_slim.SlimSpan` that it is.

        Returns:
            The hashes of the span's own tags.
        """
        attributes = list(span.attributes)
        hashes = set(map(self._tags.__getitem__, attributes))
        kind = span.kind
        start = span.start
        duration = length(start, span.end)
        told: dict[str, Any] | None = None
        system = self._tags.system(attributes, kind)
        measures: Sequence[Measure] = ()
        if not self._tags.of_measures.isdisjoint(hashes):
            told = self._tags.told(attributes)
            measures = measures_of(told, duration, thread_wait_inside=origin.thread_wait_inside)
        error = False
        if status := span.status:
            known = self._statuses.get(status)
            if known is None:
                known = self._status(status)
            error, of_status = known
            hashes |= of_status
        exception = "", ""
        if events := span.events:
            exception = self._add_events(events, hashes)
        if error:
            told = self._tags.told(attributes) if told is None else told
            measures = *measures, Measure(ERROR_TYPE, joined(told, exception), duration)
        if links := span.links:
            linked = {Span.Link.FromString(link).trace_id for link in links}
            hashes.update(indexing.link_hash(trace_id) for trace_id in linked if trace_id != span.trace_id)
        if state := span.trace_state:
            hashes |= indexing.hashes([(W3C_TRACESTATE, state)])
        if start > LARGEST:
            start = LARGEST
        spans = piece.parts.get(origin)
        if spans is None:
            piece.parts[origin] = [raw]
            piece.hashes |= origin.hashes
        else:
            spans.append(raw)
        piece.hashes |= hashes
        parent_id = span.parent_span_id
        key = (
            origin.service,
            span.name,
            kind if 0 <= kind < len(KINDS) else 0,
            system,
            origin.version,
            0 if parent_id else 1,
        )
        series = self._series.get(key) or self._series.make(key)
        piece.observations.append(
            Observation(
                series,
                start,
                start // HOUR,
                duration,
                bisect_left(BOUNDS, duration),
                error,
                span.span_id,
                parent_id,
                measures,
            )
        )
        return hashes

    def _add_events(self, events: Iterable[bytes], hashes: set[int]) -> tuple[str, str]:
        """Index events; the type of the last exception among them, and the application's own frame of it."""
        exception = "", ""
        for event in map(Span.Event.FromString, events):
            hashes |= indexing.hashes([("event", event.name)])
            hashes.update(self._tags[pair.SerializeToString()] for pair in event.attributes)
            if event.name == "exception":
                found = {pair.key: text(plain(pair.value)) for pair in event.attributes if pair.key in _OF_EXCEPTIONS}
                exception = found.get(EXCEPTION_TYPE, ""), own_frame(found.get(EXCEPTION_STACKTRACE, ""))
        return exception

    def _status(self, raw: bytes) -> tuple[bool, frozenset[int]]:
        status = Status.FromString(raw)
        error = status.code == _ERROR
        pairs = [(OTEL_STATUS_CODE, "OK")] if status.code == Status.STATUS_CODE_OK else []
        if status.message:
            pairs.append((OTEL_STATUS_DESCRIPTION, status.message))
        if len(self._statuses) >= 1024:
            self._statuses.clear()
        known = self._statuses[raw] = error, frozenset(indexing.hashes(pairs))
        return known


def pieces(request: bytes, into: dict[bytes, Piece], parser: SpanParser) -> tuple[int, int]:
    """Take a serialized ``ExportTraceServiceRequest`` apart.

    Args:
        request: its bytes.
        into: gets its spans, but for those without valid ids; by trace id, and more for what does not fit in there.
        parser: the parser.

    Returns:
        How many spans it got, and how many it did not.

    Raises:
        ValueError: It is not such a request; ``into`` is as it was.
    """
    try:
        # All of it, so that what is kept can be read; only what is around the spans is used.
        message = ExportTraceServiceRequest.FromString(request)
    except DecodeError as error:
        raise ValueError(f"not an ExportTraceServiceRequest: {error}") from None
    parser.make_room()
    kept = rejected = 0
    for group, raw_group in zip(message.resource_spans, RawRequest.FromString(request).resource_spans, strict=True):
        service = service_name(group.resource)
        contents = [(scoped, raw.spans) for scoped, raw in zip(group.scope_spans, raw_group.scope_spans, strict=True)]
        origins = _origins(group, service)
        for origin, (_, spans) in zip(origins, contents, strict=True):
            for received in spans:
                raw = received
                span = SlimSpan.FromString(raw)
                if span.parent_span_id in _NO_ID:
                    raw = _without_parent(raw)
                    span.parent_span_id = b""
                trace_id = span.trace_id
                span_id = span.span_id
                if len(trace_id) != 16 or len(span_id) != 8 or trace_id in _NO_ID or span_id in _NO_ID:
                    rejected += 1
                    continue
                parser.add(raw, span, origin, _piece(into, trace_id, min(span.start, LARGEST)))
                kept += 1
    return kept, rejected


def _without_parent(raw: bytes) -> bytes:
    """A span whose parent's id is all zero, as some exporters write it of a root, as the root that it is."""
    span = Span.FromString(raw)
    span.ClearField("parent_span_id")
    without: bytes = span.SerializeToString()
    return without


def _piece(into: dict[bytes, Piece], trace_id: bytes, start: int) -> Piece:
    piece = into.get(trace_id)
    if piece is None:
        piece = into[trace_id] = Piece(trace_id, start)
    elif not piece.takes(start):
        # A window of the clock's, for whatever comes in it.
        key = trace_id + (start // SPREAD).to_bytes(8, "big")
        piece = into.get(key)
        if piece is None:
            piece = into[key] = Piece(trace_id, start)
        piece.takes(start)
    return piece


def _origins(group: ResourceSpans, service: str) -> list[Origin]:
    """One for each of the group's scopes. Their spans are gone afterwards."""
    scopes = list(group.scope_spans)
    for scoped in scopes:
        scoped.ClearField("spans")
    bodies = [scoped.SerializeToString() for scoped in scopes]
    group.ClearField("scope_spans")
    resource = group.SerializeToString()
    return [_origin(service, group, resource, body, scoped) for scoped, body in zip(scopes, bodies, strict=True)]


def origin_of(resource: bytes, scope: bytes) -> Origin:
    """What an origin was made of, as the tables ``resource`` and ``scope`` have it, put together again."""
    group = ResourceSpans.FromString(resource)
    return _origin(service_name(group.resource), group, resource, scope, ScopeSpans.FromString(scope))


def _origin(service: str, group: ResourceSpans, resource: bytes, body: bytes, scoped: ScopeSpans) -> Origin:
    version = next((text(plain(each.value)) for each in group.resource.attributes if each.key == SERVICE_VERSION), "")
    inside = thread_wait_is_inside(scoped.scope.name)
    return Origin(service, version[:_LONGEST], resource, body, _scope_hashes(scoped), inside)


def _scope_hashes(scoped: ScopeSpans) -> frozenset[int]:
    scope = scoped.scope
    pairs = ((OTEL_SCOPE_NAME, scope.name), (OTEL_SCOPE_VERSION, scope.version))
    return frozenset(indexing.hashes((key, value) for key, value in pairs if value))
