"""A search: the traces of all days that satisfy a query, newest first. It reads no more than it needs.

Each day yields its matches, newest first. Between them it yields an upper limit for the start of its next match. The
days are merged by these, so an older day does not start to read while a newer one may still have a newer match.

In a day there are two ways to the chunks that may match:

- By time. The table ``found`` lists for each series when its spans start, with their chunks. It is read from the newest
  start backwards. Hours that cannot have a match, by what the table ``hour`` says of their durations and errors, are
  skipped.
- By tag. If the tag index says that few chunks have a tag, each of these chunks is read.

An index may name a chunk that does not match, so each chunk is read and :func:`matching_span` decides.

``found`` has the last start of a chunk's spans, ``chunk`` the first. The two are at most :data:`~.schema.SPREAD` apart,
so each way knows how late a match can start.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.expressions import Field, conjuncts, leaves, only_service, whole
from causal_otel.collector.matching import matching_span
from causal_otel.collector.query import Found
from causal_otel.collector.store.candidates import TagIndex, Wanted
from causal_otel.collector.store.days import HOUR, LARGEST, hour_of
from causal_otel.collector.store.limits import is_unicode, within_range
from causal_otel.collector.store.literals import Literals
from causal_otel.collector.store.matches import Later, Match, merged
from causal_otel.collector.store.open_days import Skipped
from causal_otel.collector.store.schema import SPREAD
from causal_otel.collector.store.table_conditions import TableConditions
from causal_otel.collector.systems import OTHERS

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from causal_otel.collector.query import Query
    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import Deadline, OpenDay

__all__ = ["MOST_COUNTED", "PATIENCE", "DaySearch", "first_width", "intervals", "next_width", "satisfiable", "search"]

_SLICE_ROWS = 2000
"""Rows of ``found`` to take at a time: what is sorted and fetched in a few milliseconds."""
_SLICE_AT_LEAST = 10**6
"""Nanoseconds."""
_ALWAYS_BY_TAG = 256
"""Chunks that are looked at in less time than it takes to think of another way."""
_ROWS_PER_LOOK = 200
"""Rows of ``found`` that SQLite passes in the time in which one chunk is looked at."""
PATIENCE = 16
"""Chunks of a day looked at in vain before it is worth while to ask the tag index which ones may match."""

MOST_COUNTED = 1 << 14
"""Chunks of a tag. To count more of them takes longer than it can save."""

_FEW_NAMED = 64
"""Chunks with an attribute named as what a column tells: if there are more, the column does not help."""
_IDS_AT_ONCE = 500
_NEVER = 1 << 64
"""Later than OTLP can tell. What is later than SQLite can count is all the same to the tables."""

_Candidate = tuple[int, int]
"""When a matching span can start at the latest, and the chunk's id; 0: none, but no later one follows."""


def search(days: Sequence[OpenDay], query: Query, deadline: Deadline) -> Found:
    """Find the traces that satisfy ``query``, the newest first.

    Args:
        days: where to look, newest first.
        query: what for; of the places in the order, only ``after`` is looked at.
        deadline: when to stop.
    """
    if not satisfiable(query):
        return Found(())
    taken: dict[bytes, int] = {}
    later = Later(days, query)
    streams = [DaySearch(day, query, deadline, taken, later).matches() for day in days]
    return merged(streams, query, deadline, taken)


def satisfiable(query: Query) -> bool:
    """Whether there can be such a trace."""
    if query.limit <= 0 or query.end < max(0, query.start) or query.kind not in (None, *KINDS):
        return False
    return all(name is None or is_unicode(name) for name in (query.service, query.operation, query.system))


@dataclass
class _Filter:
    """Chunks that are wanted for their tags.

    Attributes:
        wanted: as the index knows them.
        count: about how many there are; if more than are worth counting, at least some more.
        chunks: their ids, once somebody has asked.
    """

    wanted: Wanted
    count: int
    chunks: set[int] | None = None


class DaySearch:
    """The search in one day file.

    Args:
        day: the file.
        query: what for.
        deadline: when to stop.
        taken: the traces found so far in any file.
        later: tells whether a trace has later matches, in any file.
    """

    def __init__(
        self, day: OpenDay, query: Query, deadline: Deadline, taken: Container[bytes], later: Later | None = None
    ) -> None:
        self.day = day
        self.query = query
        self.deadline = deadline
        self.later = later
        self._taken = taken
        # The query, but for spans that cannot be in this place of the order.
        self.narrowed = self._in_place(query)
        self.start = within_range(self.narrowed.start)
        self.end = within_range(self.narrowed.end)
        self.conditions = TableConditions(None, tuple, _unknown)
        self.filters: list[_Filter] = []
        self.literals: Literals | None = None
        self._in_vain = 0
        self.columns: dict[tuple[str, str], frozenset[int] | None] = {}

    def _in_place(self, query: Query) -> Query:
        if query.after is None or query.sort != "newest":
            return query
        return replace(query, end=min(query.end, query.after.start))

    def matches(self) -> Generator[Match, None, None]:
        """Every match, those first that start last, and between them how late one can be."""
        try:
            with self.day.reading(self.deadline) as db:
                within = db.hours()
                if within is None:
                    return
                first, last = max(within[0], hour_of(self.start)), min(within[1], hour_of(self.end))
                if first <= last:
                    yield self._latest((last + 1) * HOUR), b""
                    yield from self._verified(db, self._candidates(db, *self.prepared(db), first, last))
        except Skipped:
            return

    def _latest(self, start: int) -> int:
        """When a match can start at the latest, if the tables say that its chunk does not start after ``start``."""
        return min(start, self.end) if start < LARGEST else _NEVER

    def prepared(self, db: DayReading) -> tuple[TagIndex, set[int]]:
        """Read what the tables tell of the query's conditions.

        Returns:
            The index, and the chunks to look at besides those that the conditions lead to.
        """
        expression = whole(self.query)
        of_tags = any(not isinstance(each, Field) for each in leaves(expression))
        resource_tags = db.resource_tags() if of_tags else {}
        service = only_service(expression)
        resources = None if service is None else db.resources_of(service)
        self.literals = Literals(expression, resource_tags, resources)
        index = TagIndex(db, resource_tags)
        self.conditions = TableConditions(
            expression,
            lambda: db.execute("SELECT id, service, operation, system FROM series").fetchall(),
            lambda key, text: self._attributes(index, key, text) is not None,
            system=OTHERS if self.query.system == OTHERS else None,
        )
        tags = [each for part in conjuncts(expression) if (each := index.leading_to(part)) is not None]
        self.filters = self._filtered(index, tags)
        return index, set().union(*(each for each in self.columns.values() if each is not None))

    def _candidates(
        self, db: DayReading, index: TagIndex, named: set[int], first: int, last: int
    ) -> Iterator[_Candidate]:
        hours: dict[int, int] = {}
        chunks = self._few_by_tag(db, index, first, last, hours)
        found = self._by_time(db, index, hours) if chunks is None else self._by_start(db, chunks)
        return heapq.merge(found, self._by_start(db, named), key=itemgetter(0), reverse=True) if named else found

    def _few_by_tag(
        self, db: DayReading, index: TagIndex, first: int, last: int, hours: dict[int, int]
    ) -> set[int] | None:
        """The chunks that the index leads to, if that is the shorter way than by time.

        Args:
            db: the connection.
            index: of tags.
            first: the first hour that is asked for.
            last: the last one.
            hours: gets those in which a span may match, if they were needed.
        """
        least = self.filters[0].count if self.filters else _NEVER
        if least > (PATIENCE if self.conditions.on_rows else _ALWAYS_BY_TAG):
            hours |= self._hours(db, first, last)
            if least > min(sum(hours.values()) // _ROWS_PER_LOOK, MOST_COUNTED):
                return None
        chunks = index.chunks(self.filters[0].wanted)
        # Those that pass all the others, too, unless there are few.
        for each in self.filters[1:]:
            if len(chunks) > PATIENCE:
                chunks &= index.chunks(each.wanted)
        return chunks

    def _filtered(self, index: TagIndex, tags: list[Wanted]) -> list[_Filter]:
        """What the index can tell of the tags, the fewest chunks first."""
        filters = _counted(index, tags)
        if filters and filters[0].count > PATIENCE:
            filters = _counted(index, index.together(tags, self.conditions.series, self.conditions.values))
        return filters

    def _attributes(self, index: TagIndex, key: str, text: str) -> frozenset[int] | None:
        """The chunks with an attribute that is named as what a column tells; None: they may be many."""
        tag = key, text
        if tag not in self.columns:
            wanted = index.wanted(key, text)
            chunks = None if wanted is None else frozenset(index.chunks(wanted))
            self.columns[tag] = None if chunks is None or len(chunks) > _FEW_NAMED else chunks
        return self.columns[tag]

    def _hours(self, db: DayReading, first: int, last: int) -> dict[int, int]:
        """The hours in which a span may match, latest first, and how many spans they have of the series."""
        statement = (
            "SELECT h.hour, sum(h.spans) FROM series s CROSS JOIN hour h ON h.series = s.id"  # noqa: S608 - our own SQL
            f" WHERE h.hour BETWEEN :first AND :last AND {self.conditions.sql('h')}"
            " GROUP BY h.hour ORDER BY h.hour DESC"
        )
        return dict(db.execute(statement, {**self.conditions.values, "first": first, "last": last}).fetchall())

    def _by_start(self, db: DayReading, chunks: Iterable[int]) -> Iterator[_Candidate]:
        """Those of ``chunks`` that may have a span in the time asked for."""
        for start, chunk in sorted(self.starts(db, chunks), reverse=True):
            yield self._latest(start + SPREAD), chunk

    def starts(self, db: DayReading, chunks: Iterable[int]) -> list[tuple[int, int]]:
        """When the first span of each of ``chunks`` starts, if one may be in the time asked for; with its id."""
        ids = sorted(chunks)
        found: list[tuple[int, int]] = []
        for position in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[position : position + _IDS_AT_ONCE]
            marks = ",".join("?" * len(some))
            statement = f"SELECT start, id FROM chunk WHERE id IN ({marks}) AND start BETWEEN ? AND ?"  # noqa: S608
            found += db.execute(statement, (*some, self.start - SPREAD, self.end))
        return found

    def _by_time(self, db: DayReading, index: TagIndex, hours: dict[int, int]) -> Iterator[_Candidate]:
        """The chunks in which a series in question may have a matching span, going by its time."""
        seen: set[int] = set()
        width = first_width(hours)
        for begin, high in intervals(hours):
            low = max(begin, self.start)
            high = min(high, self.end + SPREAD)
            while high > low:
                yield self._latest(high), 0
                middle = max(low, high - width)
                rows = self._rows(db, middle, high)
                for start, chunk in rows:
                    if chunk in seen:
                        continue
                    self._ask_after_looking_in_vain(index)
                    seen.add(chunk)
                    if self._passes(chunk):
                        yield self._latest(start), chunk
                width = next_width(width, len(rows))
                high = middle

    def _rows(self, db: DayReading, low: int, high: int) -> list[_Candidate]:
        """The last start and the chunk of what ``found`` says of a time, latest first."""
        # A row belongs to the hour of the last span in it. The one that matches may be of the hour before.
        statement = (
            "SELECT f.start, f.chunk FROM series s CROSS JOIN hour h ON h.series = s.id"  # noqa: S608 - the same
            " CROSS JOIN found f ON f.series = s.id"
            f" WHERE h.hour BETWEEN :first AND :last AND {self.conditions.sql('h', 'f')}"
            " AND f.start >= max(:low, h.hour * :hour) AND f.start <= min(:high, (h.hour + 1) * :hour + :spread)"
            " ORDER BY f.start DESC"
        )
        values = {
            "first": hour_of(max(low - SPREAD, self.start)),
            "last": hour_of(min(high - 1, self.end)),
            "low": low,
            "high": within_range(high - 1),
            "hour": HOUR,
            "spread": SPREAD,
        }
        return db.execute(statement, {**self.conditions.values, **values}).fetchall()

    def _ask_after_looking_in_vain(self, index: TagIndex) -> None:
        if self._in_vain <= PATIENCE:
            return
        self._in_vain = 0
        for each in self.filters:
            if each.chunks is None:
                each.chunks = index.chunks(each.wanted)

    def _passes(self, chunk: int) -> bool:
        """Whether a chunk may match, as far as the index was asked."""
        return all(each.chunks is None or chunk in each.chunks for each in self.filters)

    def _verified(self, db: DayReading, candidates: Iterator[_Candidate]) -> Iterator[Match]:
        """The matches among ``candidates``, newest first: each waits until no later one can follow."""
        buffered: list[tuple[int, bytes]] = []
        for latest, chunk in candidates:
            while buffered and -buffered[0][0] > latest:
                start, trace_id = heapq.heappop(buffered)
                yield -start, trace_id
            yield latest, b""
            if chunk and (match := self.match(db, chunk)):
                heapq.heappush(buffered, match)
        while buffered:
            start, trace_id = heapq.heappop(buffered)
            yield -start, trace_id

    def match(self, db: DayReading, chunk: int) -> tuple[int, bytes] | None:
        """When the last matching span of a chunk starts, negated, and the trace's id; None if there is none."""
        found = self.matching(db, chunk)
        if found is None or self._came_before(found[0]):
            return None
        return -found[1].start_time_unix_nano, found[0]

    def matching(self, db: DayReading, chunk: int) -> tuple[bytes, Span] | None:
        """The last matching span of a chunk with the trace's id; None if there is none, or the trace was found."""
        row = db.execute("SELECT trace_id, body FROM chunk WHERE id = ? AND start <= ?", (chunk, self.end)).fetchone()
        if row is None or row[0] in self._taken:
            return None
        trace = db.unpack(row[1], self.literals)
        span = None if trace is None else matching_span(trace, self.narrowed)
        if span is None:
            self._in_vain += 1
            return None
        return row[0], span

    def _came_before(self, trace_id: bytes) -> bool:
        """Whether a trace comes before the first one that is wanted, because it has a later match as well."""
        place = self.query.after
        if place is None or self.later is None or self.query.sort != "newest":
            return False
        return self.later.has(trace_id, place.start + (trace_id > place.trace_id), self.deadline)


def _unknown(_key: str, _text: str) -> bool:
    return False


def first_width(hours: Mapping[int, int]) -> int:
    """The nanoseconds in which there are about as many rows of ``found`` as are taken at a time."""
    return max(_SLICE_AT_LEAST, HOUR * _SLICE_ROWS // max(hours.values(), default=1))


def next_width(width: int, rows: int) -> int:
    """The same, after so many were found: narrower or wider, by eight at the most."""
    return max(_SLICE_AT_LEAST, width * _SLICE_ROWS // min(max(rows, _SLICE_ROWS // 8), _SLICE_ROWS * 8))


def _counted(index: TagIndex, tags: Iterable[Wanted]) -> list[_Filter]:
    return sorted((_Filter(tag, index.count(tag, MOST_COUNTED)) for tag in tags), key=attrgetter("count"))


def intervals(hours: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The times, latest first, of the rows of ``found`` that have a span in one of ``hours``, which come latest first.

    From the first nanosecond, up to but without the last.
    """
    begin = end = None
    for hour in hours:
        if begin is not None and end is not None:
            if (hour + 1) * HOUR + SPREAD >= begin:
                begin = hour * HOUR
                continue
            yield begin, end
        begin, end = hour * HOUR, (hour + 1) * HOUR + SPREAD
    if begin is not None and end is not None:
        yield begin, end
