"""How operations went: as the store counts them, or, where nothing counts, of some of the newest traces."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.figures import OperationStatistics
from causal_otel.collector.mcp.answers import utc
from causal_otel.collector.mcp.sources import SEARCH_SECONDS, Counted, each_trace
from causal_otel.collector.query import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.collector.mcp.sources import Traces

__all__ = ["Statistics", "all_spans", "looked", "statistics"]

_MOST_TRACES, _MOST_SPANS = 200, 100_000


@dataclass(frozen=True, slots=True)
class Statistics:
    """How operations went, what they were counted in, and whether that is all: else there may be others."""

    operations: list[OperationStatistics]
    of: str
    complete: bool


def statistics(traces: Traces, start: int, end: int, service: str | None) -> Statistics:
    """How every operation (of a service) went between two Unix times in nanoseconds."""
    if isinstance(traces, Counted):
        counted = traces.bounded()
        operations = counted.statistics(start, end, service)
        return Statistics(operations, all_spans(counted.since, start), counted.since <= start)
    query = Query(start=start, end=end, service=service, limit=_MOST_TRACES)
    found = traces.search(query, seconds=SEARCH_SECONDS)
    durations: defaultdict[tuple[str, str, str, str], list[int]] = defaultdict(list)
    errors: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
    looked_at = 0
    for view in each_trace(traces, found, _MOST_SPANS):
        looked_at += 1
        for span in view.spans:
            if service in (None, span.service) and start <= span.start <= end:
                key = span.service, span.name, span.kind, span.system
                durations[key].append(span.duration)
                errors[key] += span.error
    operations = [_counted(key, sorted(each), errors[key]) for key, each in sorted(durations.items())]
    complete = found.complete and looked_at == len(found.trace_ids) < _MOST_TRACES
    return Statistics(operations, looked(looked_at, complete=complete), complete)


def all_spans(since: int, start: int) -> str:
    """What figures of a store are of, as far as it has read them.

    Args:
        since: see :attr:`causal_otel.collector.query.TraceReader.since`.
        start: when the time that is asked for starts, Unix time in nanoseconds.
    """
    if since > start:
        return f"spans since {utc(since)} only: there was no time to read more, ask for a shorter time or one service"
    return "all spans of the hours that the time is in"


def looked(number: int, *, complete: bool) -> str:
    """How many traces an answer is made from, and whether these are all."""
    return f"traces that were looked at: {number}, {'all that match' if complete else 'the newest'}"


def _counted(key: tuple[str, str, str, str], durations: Sequence[int], errors: int) -> OperationStatistics:
    p50, p95, p99 = (durations[max(0, -(-len(durations) * percent // 100) - 1)] for percent in (50, 95, 99))
    return OperationStatistics(*key, len(durations), errors, sum(durations), durations[-1], p50, p95, p99, ())
