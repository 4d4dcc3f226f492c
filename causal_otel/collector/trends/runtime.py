"""How the runtime of async Python was: event loops that stood still, full pools, queues, and tasks nobody awaited.

All of it is what spans told of themselves. How long a loop stood still in all is not among that: a stall is only seen
by the spans that were open then, and by a span of its own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.figures import Selected
from causal_otel.collector.store.measures import BELOW_LABEL
from causal_otel.names import (
    CAUSAL_BLOCK_FRAME,
    CAUSAL_CANCELLED,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_LOOP_READY_WAIT,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_PREFETCH_WAIT,
    CAUSAL_QUEUE_WAIT,
    CAUSAL_TASK_UNAWAITED,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.collector.figures import MeasureSum, Series
    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.trends.periods import Period

__all__ = ["KEYS", "Lag", "Pool", "Queue", "Runtime", "Stall", "Task", "Told", "runtime"]

KEYS = (
    CAUSAL_BLOCK_FRAME,
    CAUSAL_CANCELLED,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_LOOP_READY_WAIT,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_PREFETCH_WAIT,
    CAUSAL_QUEUE_WAIT,
    CAUSAL_TASK_UNAWAITED,
)
"""The measures that it is made of."""


@dataclass(frozen=True, slots=True)
class Told:
    """What spans told of one thing.

    Attributes:
        spans: how many told it.
        total: nanoseconds, or a count, of all together.
        largest: of one span.
        trace_id: the trace that has the largest; empty: no span told it.
        trend: the total of each step of the period.
    """

    spans: int
    total: int
    largest: int
    trace_id: bytes
    trend: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Of those that told it."""
        return self.total / self.spans if self.spans else 0.0


@dataclass(frozen=True, slots=True)
class Stall:
    """What blocked the event loops of a service: the frame, and the stalls that were recorded."""

    service: str
    frame: str
    stalls: Told


@dataclass(frozen=True, slots=True)
class Lag:
    """How long the requests, messages and traces of a service waited for their event loop.

    Attributes:
        service: which one.
        ready: they could have run, and waited for their turn.
        blocked: their loop was stuck while they were open.
    """

    service: str
    ready: Told
    blocked: Told


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of connections as a service uses it.

    Attributes:
        service: which one.
        pool: the system and the address: ``postgresql db:5432/shop``.
        size: connections it may have, as the largest of its processes tells; 0: none told.
        waits: for a free connection.
        waiting: how many others waited when a wait began.
    """

    service: str
    pool: str
    size: int
    waits: Told
    waiting: Told


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as the workers of a service empty it.

    Attributes:
        service: which one.
        queue: its name; empty: the spans do not tell it.
        waits: from when a message could be worked at until it was.
        held: that part of it in which a worker had the message already.
        messages: how many were worked at, by the spans of the operations that told this queue.
        failed: how many of them failed; None: not known, since an operation that failed has messages of several queues.
    """

    service: str
    queue: str
    waits: Told
    held: Told
    messages: int
    failed: int | None


@dataclass(frozen=True, slots=True)
class Task:
    """An operation of which spans were cancelled, or ran in tasks that nobody awaited."""

    service: str
    operation: str
    kind: str
    cancelled: Told
    unawaited: Told


@dataclass(frozen=True, slots=True)
class Runtime:
    """All of it, each list with the worst first."""

    stalls: tuple[Stall, ...]
    lags: tuple[Lag, ...]
    pools: tuple[Pool, ...]
    queues: tuple[Queue, ...]
    tasks: tuple[Task, ...]


def runtime(reader: TraceReader, service: str | None, period: Period) -> Runtime:
    """How the runtime of one service, or of all, was in a time."""
    selected = Selected(service)
    told = [
        each
        for each in reader.measures(selected, period.start, period.end, period.step, KEYS)
        if each.label != BELOW_LABEL  # what is told again of the entry above
    ]
    by_key: defaultdict[str, list[MeasureSum]] = defaultdict(list)
    for each in told:
        by_key[each.key].append(each)
    return Runtime(
        stalls=_stalls(by_key[CAUSAL_BLOCK_FRAME], period),
        lags=_lags(by_key, period),
        pools=_pools(by_key, period),
        queues=_queues(reader, selected, by_key, period),
        tasks=_tasks(by_key, period),
    )


def _stalls(sums: Iterable[MeasureSum], period: Period) -> tuple[Stall, ...]:
    grouped: defaultdict[tuple[str, str], list[MeasureSum]] = defaultdict(list)
    for each in sums:
        grouped[each.series.service, each.label].append(each)
    found = [Stall(*key, _told(each, period)) for key, each in grouped.items()]
    return tuple(sorted(found, key=lambda each: (-each.stalls.total, each.service, each.frame)))


def _lags(by_key: dict[str, list[MeasureSum]], period: Period) -> tuple[Lag, ...]:
    # A stall is told by each span that was open: that of a request has those of all below it.
    keys = (CAUSAL_LOOP_READY_WAIT, CAUSAL_LOOP_BLOCKED)
    entries = {key: [each for each in by_key.get(key, ()) if each.series.entry] for key in keys}
    services = {each.series.service for sums in entries.values() for each in sums}
    found = [
        Lag(name, *(_told((each for each in entries[key] if each.series.service == name), period) for key in keys))
        for name in services
    ]
    return tuple(sorted(found, key=lambda each: (-each.ready.total - each.blocked.total, each.service)))


def _pools(by_key: dict[str, list[MeasureSum]], period: Period) -> tuple[Pool, ...]:
    grouped: defaultdict[tuple[str, str], defaultdict[str, list[MeasureSum]]] = defaultdict(lambda: defaultdict(list))
    for key in (CAUSAL_POOL_WAIT, CAUSAL_POOL_SIZE, CAUSAL_POOL_WAITING):
        for each in by_key.get(key, ()):
            grouped[each.series.service, each.label][key].append(each)
    found = [
        Pool(
            *key,
            size=max((each.largest for each in sums[CAUSAL_POOL_SIZE]), default=0),
            waits=_told(sums[CAUSAL_POOL_WAIT], period),
            waiting=_told(sums[CAUSAL_POOL_WAITING], period),
        )
        for key, sums in grouped.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.waits.total, each.service, each.pool)))


def _queues(
    reader: TraceReader, selected: Selected, by_key: dict[str, list[MeasureSum]], period: Period
) -> tuple[Queue, ...]:
    waits: defaultdict[tuple[str, str], list[MeasureSum]] = defaultdict(list)
    held: defaultdict[tuple[str, str], list[MeasureSum]] = defaultdict(list)
    series: defaultdict[tuple[str, str], set[Series]] = defaultdict(set)
    queues: defaultdict[Series, set[str]] = defaultdict(set)
    for key, found in ((CAUSAL_QUEUE_WAIT, waits), (CAUSAL_PREFETCH_WAIT, held)):
        for each in by_key.get(key, ()):
            queue = each.series.service, each.label
            found[queue].append(each)
            series[queue].add(each.series)
            queues[each.series].add(each.label)
    if not series:
        return ()
    failed = {
        each.series: each.errors
        for each in reader.series(selected, period.start, period.end, "all")
        if each.series in queues
    }
    rows = []
    for queue, of in series.items():
        known = all(len(queues[each]) == 1 or not failed.get(each) for each in of)
        told = _told(waits[queue], period)
        rows.append(
            Queue(
                *queue,
                waits=told,
                held=_told(held[queue], period),
                messages=told.spans,
                failed=sum(failed.get(each, 0) for each in of) if known else None,
            )
        )
    return tuple(sorted(rows, key=lambda each: (-each.waits.total, each.service, each.queue)))


def _tasks(by_key: dict[str, list[MeasureSum]], period: Period) -> tuple[Task, ...]:
    grouped: defaultdict[tuple[str, str, str], defaultdict[str, list[MeasureSum]]]
    grouped = defaultdict(lambda: defaultdict(list))
    for key in (CAUSAL_CANCELLED, CAUSAL_TASK_UNAWAITED):
        for each in by_key.get(key, ()):
            grouped[each.series.service, each.series.operation, each.series.kind][key].append(each)
    found = [
        Task(*key, _told(sums[CAUSAL_CANCELLED], period), _told(sums[CAUSAL_TASK_UNAWAITED], period))
        for key, sums in grouped.items()
    ]
    return tuple(
        sorted(found, key=lambda each: (-each.cancelled.spans - each.unawaited.spans, each.service, each.operation))
    )


def _told(sums: Iterable[MeasureSum], period: Period) -> Told:
    found = list(sums)
    worst = max(found, key=lambda each: each.largest, default=None)
    return Told(
        spans=sum(each.spans for each in found),
        total=sum(each.total for each in found),
        largest=0 if worst is None else worst.largest,
        trace_id=b"" if worst is None else worst.trace,
        trend=period.trend((each.start, each.total) for each in found),
    )
