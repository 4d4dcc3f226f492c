"""A search for the longest traces, or the largest, or those with the most errors, of all that match.

The table ``trace`` has an upper limit for the duration, the spans and the errors of each trace of a day. The traces of
all days are merged by it, the largest first, and read until there are as many matches as asked for and none of the
remaining traces can be larger. A trace with parts in the files of several days is compared as a whole.

If few chunks of a day satisfy the conditions that the tables know, only the traces of these chunks are compared.
Otherwise all traces of the day are, and those without such a chunk are skipped. Finding the chunks takes longer than
reading a few traces. So if most traces probably have one, as for the service that receives every request, they are
found only after several traces were read in vain.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from contextlib import ExitStack, suppress
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.query import SORTS, Cursor, Found
from causal_otel.collector.store.days import DAY, LARGEST, hour_of
from causal_otel.collector.store.limits import within_range
from causal_otel.collector.store.open_days import OutOfTime, Skipped
from causal_otel.collector.store.schema import SPREAD
from causal_otel.collector.store.search import MOST_COUNTED, PATIENCE, DaySearch, satisfiable
from causal_otel.collector.times import FIRST_TIME, is_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from causal_otel.collector.query import Query, Summary
    from causal_otel.collector.store.candidates import TagIndex
    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import Deadline, OpenDay

__all__ = ["ranked"]

_TIME_TO_COMPARE = 0.7
"""The share of the time for preparing all days; the rest is for reading traces."""
_FEW = 6
"""If at most one chunk in so many may match, looking up their traces is faster than sorting all traces of the day."""
_FIRST_PAGE = 100
"""Rows of a day's ``trace`` to sort at first; each further time four times as many."""
_IDS_AT_ONCE = 500
_BATCH = 20
"""Traces to make summaries of at once, when there are enough."""
_UNKNOWN = 1 << 64
"""Stands for a start or a duration that is too large for the tables."""

_Row = tuple[bytes, int, int, int, int]
"""A trace's id, start, end, spans and errors, as the table has it."""
_Place = tuple[int, int, bytes]
"""What a trace is compared by: its size, its start and its id."""
_TRACE_OF = "SELECT trace_id FROM chunk WHERE id = ?"
_COLUMNS = "id, start, end, spans, errors"
# As `_size` and `_start` have them.
_START = f"CASE WHEN start < {FIRST_TIME} THEN {LARGEST} ELSE start END"
_SIZES = {
    "longest": f"CASE WHEN end < {LARGEST} THEN end - start ELSE {LARGEST} END",
    "spans": "spans",
    "errors": "errors",
}


class _Part(NamedTuple):
    """A trace, or a part of one, that may match: how large it is at the most, and what tells whether it does."""

    size: int
    start: int
    trace_id: bytes
    matches: Callable[[], bool]


def ranked(
    days: Sequence[OpenDay], query: Query, deadline: Deadline, summaries: Callable[[Iterable[bytes]], list[Summary]]
) -> Found:
    """Find the traces that satisfy ``query`` and come first in its order.

    Args:
        days: where to look; the newest first.
        query: what for.
        deadline: when to stop.
        summaries: gives those of traces by their ids.
    """
    if not satisfiable(query):
        return Found(())
    reserve = deadline.left() * (1 - _TIME_TO_COMPARE)
    deadline.extend(-reserve)
    order = _Order(query, summaries)
    since: int | None = query.end
    complete = False
    with ExitStack() as connections:
        ready: list[Iterator[_Part]] = []
        try:
            scattered = _Scattered(days, query, deadline)
        except OutOfTime:
            return Found((), False, since)
        try:
            for day in days:
                with suppress(Skipped):
                    db = connections.enter_context(day.reading(deadline))
                    ready.append(_DayRanking(day, query, deadline, scattered, db).parts())
                since = min(query.end, day.day * DAY)
            since = None
        except OutOfTime:
            pass
        deadline.extend(reserve)
        try:
            for part in heapq.merge(*ready, scattered.parts(), key=itemgetter(0, 1), reverse=True):
                if order.is_done(part):
                    break
                if part.trace_id not in order and part.matches():
                    order.add(part.trace_id)
                deadline.check()
            complete = since is None
        except OutOfTime:
            pass
    return order.found(complete=complete, since=since)


def _size(sort: str, row: _Row) -> int:
    _, start, end, spans, errors = row
    if sort == "longest":
        return end - start if end < LARGEST else _UNKNOWN
    return spans if sort == "spans" else errors


def _start(row: _Row) -> int:
    """When a trace starts at the latest: where a span of it has no real time, that of the others counts."""
    return row[1] if is_time(row[1]) and row[1] < LARGEST else _UNKNOWN


def _part(sort: str, row: _Row, matches: Callable[[], bool]) -> _Part:
    return _Part(_size(sort, row), _start(row), row[0], matches)


class _Order:
    """The traces that match, as they are compared in the end: by their summaries."""

    def __init__(self, query: Query, summaries: Callable[[Iterable[bytes]], list[Summary]]) -> None:
        self._limit = query.limit
        self._after = _place(query.after)
        self._before = _place(query.before)
        self._score = SORTS[query.sort]
        self._summaries = summaries
        self._known: set[bytes] = set()
        self._waiting: list[bytes] = []
        self._compared: list[_Place] = []
        self._passed = 0

    def __contains__(self, trace_id: bytes) -> bool:
        return trace_id in self._known

    def add(self, trace_id: bytes) -> None:
        """Add one that matches."""
        self._known.add(trace_id)
        self._waiting.append(trace_id)

    def is_done(self, following: _Part) -> bool:
        """Whether those that are wanted come before this one, and so before all that follow it."""
        if self._before is not None:
            # Of those that come before a place, the last ones are wanted: all have to be seen.
            return (following.size, following.start) < self._before[:2]
        missing = self._limit - (len(self._compared) - self._passed)
        if len(self._waiting) >= (missing if 0 < missing < _BATCH and not self._passed else _BATCH):
            self._compare()
        last = self._passed + self._limit
        return len(self._compared) >= last and self._compared[last - 1][:2] > (following.size, following.start)

    def found(self, *, complete: bool, since: int | None) -> Found:
        """As many as were asked for."""
        self._compare()
        if self._before is None:
            places = self._compared[self._passed : self._passed + self._limit]
        else:
            place = self._before
            places = [each for each in self._compared if each > place][-self._limit :]
        ids = tuple(trace_id for _, _, trace_id in places)
        return Found(ids, complete, since, *((Cursor(*places[0]), Cursor(*places[-1])) if places else ()))

    def _compare(self) -> None:
        self._compared += [(self._score(each), each.start, each.trace_id) for each in self._summaries(self._waiting)]
        self._compared.sort(reverse=True)
        self._waiting.clear()
        if self._after is not None:
            self._passed = bisect_left(self._compared, True, key=self._comes_after)

    def _comes_after(self, place: _Place) -> bool:
        return self._after is not None and place < self._after


def _place(cursor: Cursor | None) -> _Place | None:
    return None if cursor is None else (cursor.size, cursor.start, cursor.trace_id)


class _Scattered:
    """The traces that have parts in several days' files.

    Args:
        days: all of them.
        query: what is asked for.
        deadline: when to stop.

    Raises:
        OutOfTime: It has passed.
    """

    def __init__(self, days: Sequence[OpenDay], query: Query, deadline: Deadline) -> None:
        self._sort = query.sort
        self._extents: dict[bytes, _Row] = {}
        self._matches: dict[bytes, list[Callable[[], bool]]] = {}
        ids: set[bytes] = set()
        for day in days:
            with suppress(Skipped), day.reading(deadline) as db:
                ids.update(trace_id for (trace_id,) in db.execute("SELECT id FROM trace WHERE elsewhere"))
        for day in days if ids else ():
            with suppress(Skipped), day.reading(deadline) as db:
                for row in _rows_of(db, ids):
                    self._add(row)

    def _add(self, row: _Row) -> None:
        trace_id, start, end, spans, errors = row
        _, begun, ended, more, failed = self._extents.get(trace_id, (trace_id, LARGEST, 0, 0, 0))
        self._extents[trace_id] = (trace_id, min(start, begun), max(end, ended), spans + more, errors + failed)

    def __contains__(self, trace_id: bytes) -> bool:
        return trace_id in self._extents

    def ids(self) -> Iterable[bytes]:
        """Their ids."""
        return self._extents

    def add(self, trace_id: bytes, matches: Callable[[], bool]) -> None:
        """Add what tells whether a part of one of them matches."""
        self._matches.setdefault(trace_id, []).append(matches)

    def parts(self) -> list[_Part]:
        """Those of which a part may match, the largest first. To be asked when all days have added theirs."""
        matches = self._matches.items()
        found = [_part(self._sort, self._extents[trace_id], partial(_any, several)) for trace_id, several in matches]
        found.sort(key=itemgetter(0, 1), reverse=True)
        return found


def _any(several: Iterable[Callable[[], bool]]) -> bool:
    return any(matches() for matches in several)


def _rows_of(db: DayReading, trace_ids: Iterable[bytes]) -> Iterator[_Row]:
    """What the day's table has of some traces."""
    ids = list(trace_ids)
    for position in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[position : position + _IDS_AT_ONCE]
        marks = ",".join("?" * len(some))
        yield from db.execute(f"SELECT {_COLUMNS} FROM trace WHERE id IN ({marks})", some)  # noqa: S608


class _DayRanking(DaySearch):
    """The traces of a day that may match. What takes long is read at once.

    Args:
        day: the file.
        query: what for.
        deadline: when to stop.
        scattered: gets those that have parts elsewhere.
        db: the connection to the file; it must stay open as long as any of them is looked at.

    Raises:
        OutOfTime: The deadline has passed.
        Skipped: The file cannot be read.
    """

    def __init__(self, day: OpenDay, query: Query, deadline: Deadline, scattered: _Scattered, db: DayReading) -> None:
        super().__init__(day, query, deadline, ())
        self._scattered = scattered
        self._db = db
        self._marks: bytearray | None = None
        self._put_off: Callable[[], bytearray | None] | None = None
        self._largest: Iterator[_Row] = iter(())
        with day.failing():
            self._read()

    def _read(self) -> None:
        within = self._db.hours()
        if within is None or within[0] > hour_of(self.end) or within[1] < hour_of(self.start):
            return
        index, named = self.prepared(self._db)
        (last,) = self._db.execute("SELECT max(id) FROM chunk").fetchone()
        mark = partial(self._marked, index, named, last)
        if self._is_frequent(within, last):
            self._put_off = mark
        else:
            self._marks = mark()
        marks = self._marks
        few = marks is not None and marks.count(1) * _FEW <= len(marks)
        rows = self._rows_of_few() if few else self._all_rows()
        self._largest = chain(list(islice(rows, 1)), rows)  # the first of them takes the time
        for trace_id in [each for each in self._scattered.ids() if self._chunks(each)]:
            self._scattered.add(trace_id, partial(self._matches, trace_id))

    def parts(self) -> Iterator[_Part]:
        """The traces, the largest first, but for those that have parts elsewhere."""
        with suppress(Skipped), self.day.failing():
            for row in self._largest:
                trace_id = row[0]
                if trace_id not in self._scattered and self._chunks(trace_id):
                    yield _part(self.query.sort, row, partial(self._matches, trace_id))
                self.deadline.check()

    def _is_frequent(self, within: tuple[int, int], chunks: int) -> bool:
        """Whether so many spans are of the series in question that most chunks are likely to have one."""
        if self.filters or self.conditions.on_rows or not self.conditions.series:
            return False
        hours = self._hours(self._db, max(within[0], hour_of(self.start)), min(within[1], hour_of(self.end)))
        return sum(hours.values()) > chunks

    def _marked(self, index: TagIndex, named: Iterable[int], last: int) -> bytearray | None:
        """By its id, up to the last one, whether a chunk may match, as far as the tables tell; None: any may."""
        marks: bytearray | None = None
        if self.conditions.series or self.conditions.on_rows:
            statement = (
                "SELECT f.chunk FROM series s CROSS JOIN found f ON f.series = s.id"  # noqa: S608 - our own SQL
                f" WHERE {self.conditions.sql('f')} AND f.start BETWEEN :low AND :high"
            )
            times = {"low": self.start, "high": within_range(self.end + SPREAD)}
            marks = bytearray(last + 1)
            for (chunk,) in self._db.execute(statement, {**self.conditions.values, **times}):
                marks[chunk] = 1
        for each in self.filters:
            if each.count <= MOST_COUNTED:
                having = bytearray(last + 1)
                for chunk in index.chunks(each.wanted):
                    if chunk <= last and (marks is None or marks[chunk]):
                        having[chunk] = 1
                marks = having
        if marks is not None:
            for chunk in named:
                marks[chunk] = 1
        return marks

    def _chunks(self, trace_id: bytes) -> list[int]:
        """The chunks of a trace that may match."""
        chunks = [chunk for (chunk,) in self._db.execute("SELECT id FROM chunk WHERE trace_id = ?", (trace_id,))]
        return chunks if self._marks is None else [chunk for chunk in chunks if self._marks[chunk]]

    def _matches(self, trace_id: bytes) -> bool:
        """Whether a span of a trace matches."""
        with suppress(Skipped), self.day.failing():
            if self._put_off is not None and self._in_vain > PATIENCE:
                self._marks = self._put_off()
                self._put_off = None
            return any(self.match(self._db, chunk) for chunk in self._chunks(trace_id))
        return False

    def _rows_of_few(self) -> Iterator[_Row]:
        marks = self._marks or b""
        chunks = [chunk for chunk, marked in enumerate(marks) if marked]
        ids = {trace_id for chunk in chunks for (trace_id,) in self._db.execute(_TRACE_OF, (chunk,))}
        rows = sorted(_rows_of(self._db, ids), key=_start, reverse=True)
        rows.sort(key=partial(_size, self.query.sort), reverse=True)
        return iter(rows)

    def _all_rows(self) -> Iterator[_Row]:
        statement = (
            f"SELECT {_COLUMNS} FROM trace WHERE start <= ? AND end >= ?"  # noqa: S608 - our own SQL
            f" ORDER BY {_SIZES[self.query.sort]} DESC, {_START} DESC LIMIT ? OFFSET ?"
        )
        offset, count = 0, _FIRST_PAGE
        while rows := self._db.execute(statement, (self.end, self.start, count, offset)).fetchall():
            yield from rows
            offset += count
            count *= 4
