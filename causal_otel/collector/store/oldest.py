"""A search for the oldest traces: the order of ``newest`` the other way round.

A trace has its place by its last match, so each is looked at whole, and is found in the day of that match. The table
``found`` is read from the earliest row on. It has the last start of a chunk's spans; the first may be up to
:data:`~.schema.SPREAD` before it, so the rows of that time are read before the first chunk is looked at.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import TYPE_CHECKING

from causal_otel.collector.store.days import HOUR, hour_of
from causal_otel.collector.store.matches import Later, merged
from causal_otel.collector.store.open_days import Skipped
from causal_otel.collector.store.schema import SPREAD
from causal_otel.collector.store.search import DaySearch, first_width, intervals, next_width, satisfiable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from causal_otel.collector.query import Found, Query
    from causal_otel.collector.store.candidates import TagIndex
    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.matches import Match
    from causal_otel.collector.store.open_days import Deadline, OpenDay

__all__ = ["oldest"]

_Candidate = tuple[int, int]
"""When a matching span can start at the earliest, and the chunk's id; 0: none, but no earlier one follows."""


def oldest(days: Sequence[OpenDay], query: Query, deadline: Deadline) -> Found:
    """Find the traces that satisfy ``query``, the oldest first.

    Args:
        days: where to look, newest first.
        query: what for; of the places in the order, only ``after`` is looked at.
        deadline: when to stop.
    """
    taken: dict[bytes, int] = {}
    later = Later(days, query)
    wanted = days if satisfiable(query) else ()
    streams = [_OldestOfDay(day, query, deadline, taken, later).matches() for day in reversed(wanted)]
    return merged(streams, query, deadline, taken, ascending=True)


class _OldestOfDay(DaySearch):
    """The search in one day file."""

    def _in_place(self, query: Query) -> Query:
        return query if query.after is None else replace(query, start=max(query.start, query.after.start))

    def matches(self) -> Generator[Match, None, None]:
        """Every match, those first that start first, and between them how early one can be."""
        try:
            with self.day.reading(self.deadline) as db:
                within = db.hours()
                if within is None:
                    return
                first, last = max(within[0], hour_of(self.start)), min(within[1], hour_of(self.end))
                if first <= last:
                    yield max(first * HOUR, self.start), b""
                    yield from self._last_matches(db, self._upwards(db, first, last))
        except Skipped:
            return

    def _upwards(self, db: DayReading, first: int, last: int) -> Iterator[_Candidate]:
        index, named = self.prepared(db)
        hours: dict[int, int] = {}
        if (chunks := self._few_by_tag(db, index, first, last, hours)) is not None:
            return iter(sorted(self.starts(db, chunks | named)))
        upwards = self._by_time_upwards(db, index, hours)
        return heapq.merge(upwards, sorted(self.starts(db, named))) if named else upwards

    def _by_time_upwards(self, db: DayReading, index: TagIndex, hours: dict[int, int]) -> Iterator[_Candidate]:
        seen: set[int] = set()
        waiting: list[_Candidate] = []
        width = first_width(hours)
        for begin, end in reversed(list(intervals(hours))):
            low = max(begin, self.start)
            until = min(end, self.end + SPREAD)
            while low < until:
                # What is read from here on starts later than this.
                while waiting and waiting[0][0] <= low - SPREAD:
                    yield heapq.heappop(waiting)
                yield max(low - SPREAD, self.start), 0
                high = min(until, low + width)
                chunks = {chunk for _, chunk in self._rows(db, low, high)} - seen
                seen |= chunks
                self._ask_after_looking_in_vain(index)
                for candidate in self.starts(db, filter(self._passes, chunks)):
                    heapq.heappush(waiting, candidate)
                width = next_width(width, len(chunks))
                low = high
        while waiting:
            yield heapq.heappop(waiting)

    def _last_matches(self, db: DayReading, candidates: Iterator[_Candidate]) -> Iterator[Match]:
        """The last match of each trace, if it is in this day, the earliest first."""
        known: set[bytes] = set()
        buffered: list[tuple[int, int, bytes]] = []
        for least, chunk in candidates:
            while buffered and buffered[0][0] < least:
                start, _, trace_id = heapq.heappop(buffered)
                yield start, trace_id
            yield max(least, self.start), b""
            if chunk and (match := self._last_match(db, chunk, known)):
                start, trace_id = match
                # Of those that start at once, the order of the newest is by their ids.
                heapq.heappush(buffered, (start, -int.from_bytes(trace_id), trace_id))
        while buffered:
            start, _, trace_id = heapq.heappop(buffered)
            yield start, trace_id

    def _last_match(self, db: DayReading, chunk: int, known: set[bytes]) -> Match | None:
        found = self.match(db, chunk)
        if found is None or found[1] in known:
            return None
        trace_id = found[1]
        known.add(trace_id)
        chunks = db.execute("SELECT id FROM chunk WHERE trace_id = ? AND id != ?", (trace_id, chunk)).fetchall()
        others = [self.match(db, other) for (other,) in chunks]
        start = -min(each[0] for each in (found, *others) if each is not None)
        place = self.query.after
        if place is not None and start == place.start and trace_id >= place.trace_id:
            return None
        if self.later is not None and self.later.has(trace_id, start + 1, self.deadline):
            return None  # it is found in another day
        return start, trace_id
