"""What can be asked of the traces that are kept, and what comes back.

:class:`TraceReader` is all that the APIs, the pages and the command line know of the store. Whole traces come as OTLP
messages (``TracesData``), each span in it once, however often it was received.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from causal_otel.collector.figures import FIGURES_SECONDS, Sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.expressions import Expression
    from causal_otel.collector.figures import Dependency, OperationStatistics
    from causal_otel.collector.heat import HeatMap
    from causal_otel.collector.service_counts import ServiceCount
    from causal_otel.collector.vocabulary import Vocabulary

__all__ = [
    "SORTS",
    "Counted",
    "Cursor",
    "DayVolume",
    "Found",
    "Linking",
    "LinkingSpan",
    "Operation",
    "Query",
    "Recent",
    "Summary",
    "TraceLogs",
    "TraceReader",
    "Volume",
]


@dataclass(frozen=True, slots=True)
class Query:
    """Traces with at least one span that satisfies every condition (all of them on the same span).

    Attributes:
        start: only spans that start at this Unix time in nanoseconds or later.
        end: only spans that start at this Unix time in nanoseconds or earlier.
        service: the service's name; None: any.
        operation: the span's name; None: any.
        operation_like: what it is to be like, see :func:`causal_otel.collector.conditions.is_like`; None: anything.
        kind: ``internal``, ``server``, ``client``, ``producer``, ``consumer`` or ``unspecified``; None: any.
        system: what the span talks to, as :func:`causal_otel.collector.systems.system_of` names it;
            :data:`~causal_otel.collector.systems.OTHERS` is any, in the store those that it does not tell apart; None:
            any.
        where: what else is asked of the span, see :mod:`causal_otel.collector.expressions`; None: nothing. Tags are
            compared as :func:`causal_otel.collector.attributes.text` writes values, and looked for among the span's
            attributes, its resource's, its events', and what :func:`causal_otel.collector.attributes.tags` adds.
        shortest: of the span, in nanoseconds; None: any.
        longest: of the span, in nanoseconds; None: any.
        errors: only spans whose status is an error.
        logs: words, as :func:`causal_otel.collector.log_words.read_words` reads them, all of which are in one log
            record of the trace; then ``newest`` goes by when such a record was logged. Empty: any trace.
        limit: how many traces at most.
        sort: which ones, and in which order: a key of :data:`SORTS`. Of ``newest``, those whose matching span starts
            last (of several in a trace the last one counts); of ``oldest`` the same the other way round. Of the others
            those first of all that match whose :class:`Summary` has the largest ``duration``, ``spans`` or ``errors``;
            of equals those that start last.
        after: only traces that come after this place in that order; None: from the first one.
        before: the last traces that come before this place in that order; not together with ``after``.
    """

    start: int
    end: int
    service: str | None = None
    operation: str | None = None
    operation_like: str | None = None
    kind: str | None = None
    system: str | None = None
    where: Expression | None = None
    shortest: int | None = None
    longest: int | None = None
    errors: bool = False
    logs: tuple[str, ...] = ()
    limit: int = 20
    sort: str = "newest"
    after: Cursor | None = None
    before: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of a trace in the order of a search. What arrives later does not move it.

    Attributes:
        size: what the order compares, see :data:`SORTS`; 0 where it is by time.
        start: of the matching span where the order is by time, else of the trace; Unix time in nanoseconds.
        trace_id: 16 bytes.
    """

    size: int
    start: int
    trace_id: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found.

    Attributes:
        trace_ids: 16 bytes each, in the order that was asked for.
        complete: False if the deadline came before all days were searched: there may be more.
        since: if it is not complete and in another order than ``newest``, from which Unix time in nanoseconds on the
            traces were compared; None: from none on, they are just some.
        first: the place of the first of them; None: there is none.
        last: the place of the last of them.
    """

    trace_ids: tuple[bytes, ...]
    complete: bool = True
    since: int | None = None
    first: Cursor | None = None
    last: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many traces satisfy a query.

    Attributes:
        traces: how many were counted.
        complete: False if the time was over before all were: there are more.
    """

    traces: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Summary:
    """A trace in one line.

    Attributes:
        trace_id: 16 bytes.
        root_service: of the earliest span without a parent in the trace, preferring one with no parent at all.
        root_operation: that span's name.
        root_kind: that span's kind, as in :class:`Query`.
        start: when the earliest span starts, Unix time in nanoseconds.
        end: when the last span ends, Unix time in nanoseconds; never before ``start``.
        spans: how many.
        errors: how many with the status ERROR.
        orphans: how many name a parent that is not there.
        services: most spans first, then by name.
    """

    trace_id: bytes
    root_service: str
    root_operation: str
    root_kind: str
    start: int
    end: int
    spans: int
    errors: int
    orphans: int
    services: tuple[ServiceCount, ...]

    @property
    def duration(self) -> int:
        """Nanoseconds from the first start to the last end."""
        return self.end - self.start

    def document(self) -> dict[str, Any]:
        """It as JSON has it, for programs."""
        return {
            "trace_id": self.trace_id.hex(),
            "service": self.root_service,
            "operation": self.root_operation,
            "kind": self.root_kind,
            "start_unix_nano": self.start,
            "duration_nano": self.duration,
            "spans": self.spans,
            "errors": self.errors,
            "orphans": self.orphans,
            "services": {each.name: {"spans": each.spans, "errors": each.errors} for each in self.services},
        }


@dataclass(frozen=True, slots=True, order=True)
class Operation:
    """A span name of a service, and its kind as in :class:`Query`."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class DayVolume:
    """What one UTC day holds. ``day`` is as in ``2026-11-22``; ``logs`` counts log records."""

    day: str
    spans: int
    traces: int
    bytes: int
    closed: bool
    logs: int = 0


@dataclass(frozen=True, slots=True)
class Volume:
    """What the store holds.

    Attributes:
        days: oldest first.
        damaged: files that were set aside, each with the reason.
    """

    days: tuple[DayVolume, ...]
    damaged: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TraceLogs:
    """The log records of a trace.

    Attributes:
        message: those that were read, in no order.
        left_out: about how many there are besides.
    """

    message: LogsData
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Recent:
    """The traces that were received last.

    Attributes:
        trace_ids: 16 bytes each, newest first.
        more: how many others were received after the mark that was given, for which there was no room; without one 0.
        mark: how far this answer goes: for the next question.
    """

    trace_ids: tuple[bytes, ...]
    more: int
    mark: object


@dataclass(frozen=True, slots=True)
class LinkingSpan:
    """A span with a link to a span of another trace.

    Attributes:
        trace_id: its own trace's.
        span_id: its own.
        service: its service.
        operation: its name.
        start: when it starts, Unix time in nanoseconds.
        linked: the id of the span that the link names.
        role: what the link is, as ``causal.link`` says; empty: it does not say.
    """

    trace_id: bytes
    span_id: bytes
    service: str
    operation: str
    start: int
    linked: bytes
    role: str


@dataclass(frozen=True, slots=True)
class Linking:
    """Links to the spans of a trace from other traces.

    Attributes:
        links: one for each, the last received first.
        complete: whether these are all that are kept.
    """

    links: tuple[LinkingSpan, ...] = ()
    complete: bool = True


SORTS: dict[str, Callable[[Summary], int]] = {
    "newest": lambda trace: 0,
    "oldest": lambda trace: 0,
    "longest": lambda trace: trace.duration,
    "spans": lambda trace: trace.spans,
    "errors": lambda trace: trace.errors,
}
"""The orders of a search, and what of a trace each of them compares, the largest first."""


class TraceReader(Sums, Protocol):
    """Reads traces. All methods may block on the disk: call them from a thread, never from an event loop."""

    def services(self) -> list[str]:
        """The services' names, sorted."""

    def operations(self, service: str, kind: str | None = None) -> list[Operation]:
        """The operations of ``service``, of all kinds or one, sorted; empty for a service not known."""

    def vocabulary(self, *, seconds: float = 0.06) -> Vocabulary:
        """What there is to ask for, as far as it is found out in about ``seconds``."""

    def search(self, query: Query, *, seconds: float = 2.0) -> Found:
        """Find traces, in the order that the query asks for, for at most about ``seconds``."""

    def count(self, query: Query, *, seconds: float = 0.5) -> Counted:
        """Count all traces that satisfy a query, whatever its limit and its place, for at most about ``seconds``."""

    def heat(self, query: Query, *, columns: int = 60, seconds: float = 0.25) -> HeatMap:
        """How many of the spans that satisfy a query took how long, over time, for at most about ``seconds``.

        A trace may count once for each of its operations, or once in all, where that is quicker than to count each of
        its spans. Durations are compared to the tenth. More than a day is counted by whole hours or days.
        """

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        """One for each of those traces that are there, in the order asked for."""

    def trace(self, trace_id: bytes) -> TracesData | None:
        """All spans of a trace, each once; None if there is none."""

    def traces(self, trace_ids: Iterable[bytes], *, within: tuple[int, int] | None = None) -> Iterator[TracesData]:
        """All spans of each of those traces that are there, in the order asked for; read some at a time, as needed.

        Args:
            trace_ids: 16 bytes each.
            within: two Unix times in nanoseconds: spans that start at other times may be missing, which is quicker;
                None: all are wanted.
        """

    def logs(self, trace_id: bytes, *, most: int = 5000) -> TraceLogs | None:
        """The log records of a trace, each once, about ``most`` of them; None if there is none."""

    def span_count(self, trace_ids: Sequence[bytes]) -> int:
        """How many spans these traces have together, at the most: one received twice may count twice. It is quick."""

    def linked_from(self, trace_id: bytes, limit: int = 200, *, seconds: float = 0.5) -> Linking:
        """The links to a trace's spans from other traces, at most ``limit``, found within about ``seconds``."""

    def dependencies(self, start: int, end: int) -> list[Dependency]:
        """Who called whom between two Unix times in nanoseconds, to the hour."""

    def statistics(self, start: int, end: int, service: str | None = None) -> list[OperationStatistics]:
        """How every operation (of a service) went between two Unix times in nanoseconds, to the hour."""

    def bounded(self, *, seconds: float = FIGURES_SECONDS) -> TraceReader:
        """The same, for one page: all figures that it is asked for take at most about so many seconds together.

        Figures are what :meth:`dependencies`, :meth:`statistics`, :meth:`series`, :meth:`measures` and :meth:`calls`
        answer. If there is no time for all days, they are of the newest ones, and :attr:`since` tells which.
        """

    def volume(self) -> Volume:
        """What is there, day by day."""

    def trace_ids(self, start: int, end: int) -> Iterable[bytes]:
        """Every trace with a span that starts in that time, oldest day first: for an export."""

    def recent(self, limit: int, *, service: str | None = None, errors: bool = False, after: object = None) -> Recent:
        """The traces that were received last. Of one over midnight, the store filters each day's part by itself.

        Args:
            limit: how many at most.
            service: only those with a span of this one; None: any.
            errors: only those with a span whose status is an error.
            after: only those of which something was received after this mark of an earlier answer; None: at any time.
        """
