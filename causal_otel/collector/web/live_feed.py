"""What the live tail sends: the store is asked once a second for all tabs together.

Each tab has a filter. Once a second everything that has arrived is looked at, filtered, put in order and only then cut.
A trace is read once for all filters, and a filter is served once for all tabs that have it. So neither memory nor CPU
grows with the tabs: what is made for a filter is one text that they share, and a look takes a bounded time, after
which the feed rests three times as long. What there was no time for is counted, and told.

A tab that does not read keeps nobody waiting: for each there is one text at most, the newest. What it has missed is
counted for it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

from causal_otel._internal.log import logger
from causal_otel.collector.matching import summary
from causal_otel.collector.web.live_filter import ordered
from causal_otel.collector.web.templating import colours, fragment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.query import Summary, TraceReader
    from causal_otel.collector.web.live_filter import LiveFilter

__all__ = ["LOOKED_AT", "SHOWN", "Feed", "Last", "last"]

SHOWN = 50
"""Traces that are shown, and that are sent at a time."""

LOOKED_AT = 2000
"""Traces that are looked at at a time, the newest of those that have arrived."""

_AT_A_TIME = 20
_LOG = logger(__name__)
_BUDGET_SECONDS = 0.25
"""Of CPU, for one look."""

_SECONDS_BETWEEN = 1.0
_REST = 3
"""The feed rests so many times as long as it was at work, a second at least."""

_STREAM_SECONDS = 600.0
_MOST_TABS = 500
_MOST_FILTERS = 20


@dataclass(frozen=True, slots=True)
class Last:
    """The traces that were received last.

    Attributes:
        traces: those that the filter wants, in its order.
        looked_at: among how many they were looked for; None: among all.
    """

    traces: tuple[Summary, ...]
    looked_at: int | None


def last(reader: TraceReader, wanted: LiveFilter) -> Last:
    """What is shown at first. It reads from the disk: call it from a thread."""
    query = wanted.query
    if not wanted.looks_inside:
        recent = reader.recent(SHOWN, service=query.service, errors=query.errors)
        return Last(tuple(reader.summaries(recent.trace_ids)), None)
    recent = reader.recent(LOOKED_AT, service=query.service, errors=query.errors)
    found: list[Summary] = []
    looked_at, until = 0, time.thread_time() + _BUDGET_SECONDS
    for trace in _read(reader, recent.trace_ids):
        looked_at += 1
        if wanted.holds(trace):
            found.append(summary(trace))
        if time.thread_time() > until or (len(found) == SHOWN and not wanted.worst_first):
            break
    everything = looked_at == len(recent.trace_ids) < LOOKED_AT or (len(found) == SHOWN and not wanted.worst_first)
    return Last(tuple(ordered(found, wanted)[:SHOWN]), None if everything else looked_at)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What has come of a filter since the last look.

    Attributes:
        rows: events with the rows, oldest or least first, since each is put on top.
        sent: how many rows.
        more: how many there was no room for.
        unseen: how many there was no time to look at.
        seconds: since the last look.
    """

    rows: str = ""
    sent: int = 0
    more: int = 0
    unseen: int = 0
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Tab:
    """A tab that listens, and what it has not read yet."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: _Batch | None = None

    def put(self, batch: _Batch) -> None:
        """Keep the newest; what it takes the place of counts as more than could be shown."""
        if (old := self.waiting) is not None:
            batch = _Batch(
                batch.rows,
                batch.sent,
                batch.more + old.more + old.sent,
                batch.unseen + old.unseen,
                batch.seconds + old.seconds,
            )
        self.waiting = batch
        self.ready.set()

    async def take(self) -> _Batch:
        """The newest, as soon as there is one."""
        await self.ready.wait()
        self.ready.clear()
        batch, self.waiting = self.waiting, None
        assert batch is not None
        return batch


class Feed:
    """Serves the tabs of one event loop.

    Args:
        reader: asked from a thread, one question at a time.
    """

    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader
        self._tabs: dict[LiveFilter, set[_Tab]] = {}
        self._task: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._turn = CapacityLimiter(1)
        self._first: dict[LiveFilter, tuple[float, str]] = {}

    def has_room(self, wanted: LiveFilter) -> bool:
        """Whether another tab can be served."""
        known = wanted in self._tabs or len(self._tabs) < _MOST_FILTERS
        return known and sum(map(len, self._tabs.values())) < _MOST_TABS

    async def events(self, wanted: LiveFilter) -> AsyncIterator[str]:
        """Server-sent events for one tab: rows of the page as they come, or a comment if none do.

        The event ``more`` has two numbers: how many more a second there were than could be shown, and how many a second
        there was no time to look at.

        The stream ends after a while, and the browser asks for another: a server that stops waits no longer than that.
        """
        tab, until = _Tab(), time.monotonic() + _STREAM_SECONDS
        tabs = self._tabs.setdefault(wanted, set())
        tabs.add(tab)
        try:
            yield "retry: 1000\n\n"
            if self._task is None or self._task.done():
                self._begun = asyncio.Event()
                self._task = asyncio.create_task(self._run())
            task = self._task
            # What arrives from here on is in the tab's batches, what was there before in the first rows.
            await self._begun.wait()
            yield await self._first_rows(wanted)
            while time.monotonic() < until and not task.done():
                batch = await tab.take()
                yield batch.rows + _more(batch) or ": nothing new\n\n"
        finally:
            tabs.discard(tab)
            if not tabs and self._tabs.get(wanted) is tabs:
                del self._tabs[wanted]
            if not self._tabs and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _first_rows(self, wanted: LiveFilter) -> str:
        """The rows that were there before; of tabs that come together, looked for once."""
        async with self._turn:
            made, rows = self._first.get(wanted, (0.0, ""))
            if time.monotonic() - made > _SECONDS_BETWEEN:
                found = await to_thread.run_sync(last, self._reader, wanted)
                rows = await to_thread.run_sync(_rows, found.traces[::-1])
                self._first = {each: of for each, of in self._first.items() if each in self._tabs}
                self._first[wanted] = time.monotonic(), rows
            return rows or ": nothing yet\n\n"

    async def _run(self) -> None:
        """Look once a second, until there are no tabs."""
        try:
            mark: object = (await to_thread.run_sync(self._reader.recent, 1)).mark
            self._begun.set()
            begun, worked = time.monotonic(), 0.0
            while True:
                await asyncio.sleep(max(_SECONDS_BETWEEN, _REST * worked))
                before, begun = begun, time.monotonic()
                look = partial(_look, self._reader, tuple(self._tabs), mark, begun - before)
                mark, batches = await to_thread.run_sync(look)
                worked = time.monotonic() - begun
                for wanted, batch in batches.items():
                    for tab in self._tabs.get(wanted, ()):
                        tab.put(batch)
        except Exception:
            _LOG.exception("the live page could not be kept up to date")
        finally:
            self._begun.set()
            # Streams end, and browsers ask for others.
            for tabs in self._tabs.values():
                for tab in tabs:
                    tab.put(_Batch())


def _look(
    reader: TraceReader, filters: Sequence[LiveFilter], mark: object, seconds: float
) -> tuple[object, dict[LiveFilter, _Batch]]:
    """What has arrived since the mark, for each filter; and the next mark."""
    alone = filters[0] if len(filters) == 1 and not filters[0].looks_inside else None
    services = {each.query.service for each in filters}
    recent = reader.recent(
        LOOKED_AT if alone is None else SHOWN,
        # What all of them ask for needs no look into the traces.
        service=services.pop() if len(services) == 1 else None,
        errors=bool(filters) and all(each.query.errors for each in filters),
        after=mark,
    )
    if alone is not None:
        chosen = reader.summaries(recent.trace_ids)
        return recent.mark, {alone: _Batch(_rows(chosen[::-1]), len(chosen), recent.more, 0, seconds)}
    found: dict[LiveFilter, list[Summary]] = {each: [] for each in filters}
    looked_at, until = 0, time.thread_time() + _BUDGET_SECONDS
    for trace in _read(reader, recent.trace_ids):
        wanting = [each for each in filters if each.holds(trace)]
        if wanting:
            line = summary(trace)
            for each in wanting:
                found[each].append(line)
        looked_at += 1
        if time.thread_time() > until:
            break
    left = recent.more + len(recent.trace_ids) - looked_at
    batches = {}
    for each, traces in found.items():
        chosen = ordered(traces, each)[:SHOWN]
        more, unseen = len(traces) - len(chosen), left
        if each.takes_all:
            more, unseen = more + left, 0
        batches[each] = _Batch(_rows(chosen[::-1]), len(chosen), more, unseen, seconds)
    return recent.mark, batches


def _read(reader: TraceReader, trace_ids: Sequence[bytes]) -> Iterator[TracesData]:
    """The traces, few at a time: whoever asks may have enough of them."""
    for place in range(0, len(trace_ids), _AT_A_TIME):
        yield from reader.traces(trace_ids[place : place + _AT_A_TIME])


def _rows(traces: Iterable[Summary]) -> str:
    now = time.time_ns()
    rows = [
        fragment("_traces.html", "trace_row", trace, colours(each.name for each in trace.services), now, 0)
        for trace in traces
    ]
    return "".join(map(_event, rows))


def _event(html: str) -> str:
    return "".join(f"data: {line}\n" for line in html.splitlines() if line.strip()) + "\n"


def _more(batch: _Batch) -> str:
    if not (batch.more or batch.unseen):
        return ""
    more, unseen = (-(-each // max(1, round(batch.seconds))) for each in (batch.more, batch.unseen))
    return f"event: more\ndata: {more} {unseen}\n\n"
