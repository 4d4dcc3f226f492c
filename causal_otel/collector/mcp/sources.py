"""What the tools ask for traces: a store of ours, or anything else that traces can be searched in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from causal_otel.collector.figures import Sums
from causal_otel.collector.mcp.answers import Refused
from causal_otel.collector.trace_tree import build

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.figures import OperationStatistics
    from causal_otel.collector.query import Found, Query, Summary
    from causal_otel.collector.trends.errors import Errors
    from causal_otel.collector.trends.periods import Period
    from causal_otel.collector.view import TraceView

__all__ = ["SEARCH_SECONDS", "Bounded", "Counted", "Grouped", "Summed", "Traces", "each_trace", "furthest", "trace_of"]

SEARCH_SECONDS = 5.0
"""How long one search may take."""

_FURTHEST = 10_000


class Traces(Protocol):
    """What traces are searched in: a part of :class:`~causal_otel.collector.query.TraceReader`."""

    def search(self, query: Query, *, seconds: float = ...) -> Found:
        """Find traces, in the order that the query asks for."""

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        """One for each of those traces that are there, in the order asked for."""

    def trace(self, trace_id: bytes) -> TracesData | None:
        """All spans of a trace, each once; None if there is none."""


@runtime_checkable
class Counted(Protocol):
    """What counts calls besides, as the store and a collector do. Of others, a tool looks at some traces."""

    def bounded(self) -> Counted:
        """See :meth:`causal_otel.collector.query.TraceReader.bounded`."""

    @property
    def since(self) -> int:
        """See :attr:`causal_otel.collector.query.TraceReader.since`."""

    def statistics(self, start: int, end: int, service: str | None = None) -> list[OperationStatistics]:
        """How every operation (of a service) went between two Unix times in nanoseconds, to the hour."""


@runtime_checkable
class Grouped(Traces, Protocol):
    """What groups errors, as a collector that is asked from elsewhere does."""

    @property
    def since(self) -> int:
        """What :attr:`causal_otel.collector.query.TraceReader.since` was for what was answered last."""

    def errors(self, service: str | None, operation: str, period: Period) -> Errors:
        """What failed, see :func:`causal_otel.collector.trends.documents.figures`."""

    def span_count(self, trace_ids: Sequence[bytes]) -> int:
        """See :meth:`causal_otel.collector.query.TraceReader.span_count`; 0: it is not known."""


@runtime_checkable
class Summed(Traces, Sums, Protocol):
    """What sums up what spans tell besides, as the store does."""

    def bounded(self) -> Summed:
        """See :meth:`causal_otel.collector.query.TraceReader.bounded`."""

    def span_count(self, trace_ids: Sequence[bytes]) -> int:
        """See :meth:`causal_otel.collector.query.TraceReader.span_count`."""


@runtime_checkable
class Bounded(Protocol):
    """What finds no more traces than so many, whatever is asked for."""

    @property
    def furthest(self) -> int:
        """How many."""


def furthest(traces: Traces) -> int:
    """How many traces a search lists, page by page: each looks for all that came before, too."""
    return traces.furthest if isinstance(traces, Bounded) else _FURTHEST


def trace_of(traces: Traces, trace_id: bytes) -> TraceView:
    """The trace with an id.

    Raises:
        Refused: There is none.
    """
    message = traces.trace(trace_id)
    if message is None:
        raise Refused(
            f"there is no trace {trace_id.hex()}: it was not received (yet), or is no longer kept; search_traces lists "
            "those that are there"
        )
    return build(message)


def each_trace(traces: Traces, found: Found, most_spans: int) -> Iterator[TraceView]:
    """The traces that a search has found, as long as they have no more spans together than ``most_spans``."""
    left = most_spans
    for trace_id in found.trace_ids:
        if left < 0:
            break
        if (message := traces.trace(trace_id)) is not None:  # its day may have been removed just now
            view = build(message)
            left -= len(view.spans)
            yield view
