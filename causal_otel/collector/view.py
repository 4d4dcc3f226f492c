"""A trace and its spans as they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from causal_otel.collector.attributes import kind_name, plain_dict
from causal_otel.collector.systems import named as system_by
from causal_otel.collector.systems import system_of
from causal_otel.collector.times import length

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from causal_otel.collector.service_counts import ServiceCount

__all__ = ["EventView", "LinkView", "SpanView", "TraceView"]

_ERROR = int(Status.STATUS_CODE_ERROR)
_STATUS = {Status.STATUS_CODE_OK: "ok", _ERROR: "error"}


@dataclass(frozen=True, slots=True)
class EventView:
    """Something that happened in a span; ``time`` in Unix nanoseconds."""

    name: str
    time: int
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LinkView:
    """Another span that a span names; ids in hexadecimal."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


class SpanView:
    """A span and its place in the trace. What its message holds is read when it is asked for.

    Attributes:
        message: the span as it was received.
        service: its service's name.
        resource: its resource's attributes.
        scope: what recorded it: name, version and attributes.
        index: its place in the trace's ``spans``; ids may be there twice, this is not.
        start: when it starts, Unix time in nanoseconds. A span without a time that can be meant stands at the edge
            of the trace.
        end: when it ends, never before ``start``.
        parent: the span above it, if it is in the trace.
        children: the spans below it, by their start.
        depth: how many spans are above it.
        self_time: nanoseconds in which none of its children ran; detached ones do not count.
        error: whether its status is an error.
        errors_below: how many spans anywhere below it have that status.
        orphan: whether it names a parent that is not in the trace.
        detached: whether nobody waited for it: it links to its origin as ``causal.link="detached"``, or follows from
            a span of this trace.
        open_only: whether it says nothing but that its parent was open for that time (``causal.open``): it is no work
            that anything waited for.
        untimed: whether it is such a span.
        local_root: whether it has no parent in the trace, or one in another process.
        task: the number of the asyncio task that it ran in, if it says so.
        waiter: the number of the task that waited for its task when it ended, if it says so.
        unawaited: whether it says that nobody waited for its task.
        skew: nanoseconds to add to its times for it to lie where its parent allows, if their clocks disagree; else 0.
            The times themselves are left as they were received.
        warnings: what is wrong with it, a sentence each.
    """

    # Nearly all spans have these values. They are the class's, because of 50,000 spans each would be set for each.
    index: int = 0
    parent: SpanView | None = None
    depth: int = 0
    self_time: int = 0
    errors_below: int = 0
    orphan: bool = False
    detached: bool = False
    open_only: bool = False
    untimed: bool = False
    local_root: bool = True
    task: int | None = None
    waiter: int | None = None
    unawaited: bool = False
    skew: int = 0
    warnings: tuple[str, ...] = ()

    def __init__(self, message: Span, service: str, resource: dict[str, Any], scope: InstrumentationScope) -> None:
        self.message = message
        self.service = service
        self.resource = resource
        self.scope = scope
        self.children: list[SpanView] = []
        start = message.start_time_unix_nano
        duration = length(start, message.end_time_unix_nano)
        self.start: int = start
        self.duration: int = duration
        self.end: int = start + duration
        self.span_id: str = message.span_id.hex()
        self.name: str = message.name
        self.error: bool = message.status.code == _ERROR

    def __repr__(self) -> str:
        return f"<span {self.index}: {self.service} {self.name}>"

    @property
    def parent_id(self) -> str:
        """The id of the parent that it names, which may not be in the trace; empty: it names none."""
        return self.message.parent_span_id.hex()

    @cached_property
    def kind(self) -> str:
        """``internal``, ``server``, ``client``, ``producer``, ``consumer`` or ``unspecified``."""
        return kind_name(self.message)

    @cached_property
    def system(self) -> str:
        """What it talks to, see :mod:`causal_otel.collector.systems`; empty: none that it tells of."""
        if "attributes" in vars(self):  # they have been read, which is most of the work
            return system_by(self.attributes, self.message.kind)
        return system_of(self.message)

    @property
    def status(self) -> str:
        """``ok``, ``error`` or ``unset``."""
        return _STATUS.get(self.message.status.code, "unset")

    @property
    def status_message(self) -> str:
        """What its status says besides."""
        return self.message.status.message

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Its attributes as plain values."""
        return plain_dict(self.message.attributes)

    @cached_property
    def events(self) -> tuple[EventView, ...]:
        """Its events, by their time."""
        found = [EventView(each.name, each.time_unix_nano, plain_dict(each.attributes)) for each in self.message.events]
        return tuple(sorted(found, key=lambda event: event.time))

    @cached_property
    def links(self) -> tuple[LinkView, ...]:
        """Its links, as they were received."""
        return tuple(
            LinkView(each.trace_id.hex(), each.span_id.hex(), plain_dict(each.attributes))
            for each in self.message.links
        )


@dataclass(frozen=True, eq=False, repr=False)
class TraceView:
    """A trace.

    Attributes:
        trace_id: in hexadecimal; empty for a trace without spans.
        spans: depth first, children by their start: a span stands before all that is below it.
        roots: those without a parent in the trace, by their start.
        root: the one that the trace is called by, see :class:`causal_otel.collector.query.Summary`; None without spans.
        start: when the earliest span starts, Unix time in nanoseconds.
        end: when the last one ends.
        services: what each service has in it; most spans first, then by name.
        errors: how many spans have the status ERROR.
    """

    trace_id: str
    spans: tuple[SpanView, ...]
    roots: tuple[SpanView, ...]
    root: SpanView | None
    start: int
    end: int
    services: tuple[ServiceCount, ...]
    errors: int

    @property
    def duration(self) -> int:
        """Nanoseconds from the first start to the last end."""
        return self.end - self.start

    @cached_property
    def _by_id(self) -> dict[str, SpanView]:
        return {span.span_id: span for span in reversed(self.spans)}

    def span(self, span_id: str) -> SpanView | None:
        """The first span with that id in hexadecimal, if there is one."""
        return self._by_id.get(span_id)
