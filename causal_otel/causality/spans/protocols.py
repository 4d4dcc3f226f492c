"""What the critical path and the explanation need to know of a trace: the protocols that its spans satisfy.

Those of the collector do (:mod:`causal_otel.collector.view`), and so can those of a test's recording. All are
read only. Times are Unix nanoseconds, ids hexadecimal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CallSpan", "CallT", "Event", "Link", "Scope", "Span", "SpanT", "Trace"]


class Link(Protocol):
    """Another span that a span names; ours have a role in the attribute ``causal.link``."""

    @property
    def trace_id(self) -> str:
        """The trace of that span, which may be another."""

    @property
    def span_id(self) -> str:
        """The id of that span, which may be unknown here."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The link's own attributes."""


class Event(Protocol):
    """Something that happened in a span."""

    @property
    def name(self) -> str:
        """What happened."""

    @property
    def time(self) -> int:
        """When."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The event's own attributes."""


class Scope(Protocol):
    """What recorded a span."""

    @property
    def name(self) -> str:
        """The name of the instrumentation library."""


class CallSpan(Protocol):
    """What must be known of a span to count calls. Two are the same if they are one object: equality is identity."""

    @property
    def span_id(self) -> str:
        """The id."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def kind(self) -> str:
        """``internal``, ``server``, ``client``, ``producer``, ``consumer`` or ``unspecified``."""

    @property
    def system(self) -> str:
        """What it talks to: ``postgresql``, ``http api.example.com``; empty: nothing that it tells of."""

    @property
    def start(self) -> int:
        """When it started, by its own machine's clock."""

    @property
    def end(self) -> int:
        """When it ended, never before ``start``."""

    @property
    def duration(self) -> int:
        """Nanoseconds from ``start`` to ``end``."""

    @property
    def parent(self) -> Self | None:
        """The span above it, if that is in the trace."""

    @property
    def children(self) -> Sequence[Self]:
        """The spans below it, by their start. Following them from the roots leads to each span once."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Its attributes. Reading them may be dear: what every span is asked for has a property of its own."""

    @property
    def scope(self) -> Scope:
        """What recorded it."""


class Span(CallSpan, Protocol):
    """A span at its place in a trace."""

    @property
    def index(self) -> int:
        """The span's place in its trace's ``spans``. Ids may be there twice, this is not."""

    @property
    def service(self) -> str:
        """The name of the service that it ran in."""

    @property
    def skew(self) -> int:
        """Nanoseconds to add to its times where its clock disagrees with its parent's, else 0."""

    @property
    def untimed(self) -> bool:
        """Whether it came without a time that can be meant: then its place and its length say nothing."""

    @property
    def local_root(self) -> bool:
        """Whether no span of its own process is above it: it has no parent in the trace, or that is elsewhere.

        The process' tasks are numbered from here on: see ``task``.
        """

    @property
    def task(self) -> int | None:
        """``causal.task``: the number of the asyncio task that it ran in; None: its parent's, for a local root 1."""

    @property
    def waiter(self) -> int | None:
        """``causal.task.waiter``: the number of the task that waited for this one's when the span ended, if known."""

    @property
    def unawaited(self) -> bool:
        """``causal.task.unawaited``: whether nobody waited for its task when the span ended."""

    @property
    def detached(self) -> bool:
        """Whether it says itself that nobody waits for it, by a link ``causal.link="detached"`` or the like."""

    @property
    def open_only(self) -> bool:
        """Whether it says nothing but that its parent was open for that time (``causal.open``): it is no work."""

    @property
    def error(self) -> bool:
        """Whether its status is an error."""

    @property
    def status_message(self) -> str:
        """What its status says besides."""

    @property
    def events(self) -> Sequence[Event]:
        """Its events, by their time."""

    @property
    def links(self) -> Sequence[Link]:
        """Its links."""

    @property
    def resource(self) -> Mapping[str, Any]:
        """The attributes of what it ran in."""


SpanT = TypeVar("SpanT", bound=Span)
"""Spans of one kind: what works on them gives back the caller's own."""

CallT = TypeVar("CallT", bound=CallSpan)
"""The same of what counts calls."""

SpanT_co = TypeVar("SpanT_co", bound=Span, covariant=True)


class Trace(Protocol[SpanT_co]):
    """A trace."""

    @property
    def trace_id(self) -> str:
        """The id; empty for a trace without spans."""

    @property
    def spans(self) -> Sequence[SpanT_co]:
        """All of them, depth first: a span stands before all that is below it."""

    @property
    def roots(self) -> Sequence[SpanT_co]:
        """Those without a parent in the trace, by their start."""

    @property
    def root(self) -> SpanT_co | None:
        """The one that the trace is called by; None without spans."""

    @property
    def start(self) -> int:
        """When the earliest span starts."""

    @property
    def end(self) -> int:
        """When the last one ends."""

    def span(self, span_id: str) -> SpanT_co | None:
        """The first span with that id, if there is one."""
