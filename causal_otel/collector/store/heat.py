"""The heat map of a query: how many of the spans that satisfy it took how long, over time.

There are three ways, by what the query asks for and how long its time is:

- Where the tables of a day decide, a time of more than a day is counted by the histograms of the table ``hour``, for
  days that are closed by those of the whole day: every span counts, and columns are whole hours or days.
- A shorter time is counted by the rows of ``found``, so that a column may be a minute. A row stands for the spans of a
  series in a chunk: several spans of an operation in one trace are one mark, as long as the longest of them, or as the
  shortest if that alone is within the limits that were asked for.
- Else chunks are looked at, as a search looks at them, the newest first. Each trace counts once, by the matching span
  that starts last.
"""

from __future__ import annotations

import heapq
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from causal_otel.collector.conditions import nanoseconds
from causal_otel.collector.expressions import Compare, Field, whole
from causal_otel.collector.heat import Marks, asked_time, buckets_within, column_edges, row_of_bucket, with_roots
from causal_otel.collector.matching import matching_span, span_duration
from causal_otel.collector.store.days import DAY, HOUR, LARGEST, hour_of
from causal_otel.collector.store.histogram import Histogram
from causal_otel.collector.store.hours import WHOLE_DAY
from causal_otel.collector.store.limits import within_range
from causal_otel.collector.store.log_search import log_search
from causal_otel.collector.store.open_days import OutOfTime, Skipped
from causal_otel.collector.store.search import DaySearch, satisfiable
from causal_otel.collector.store.told import conditions_on_rows, is_bound, tells_systems_apart
from causal_otel.collector.store.whole_days import SUMMED, hours_of
from causal_otel.collector.times import FIRST_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.expressions import Expression
    from causal_otel.collector.heat import HeatMap
    from causal_otel.collector.query import Query
    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import Deadline, OpenDay

__all__ = ["heat", "log_heat"]

_WHOLE_DAYS = 8 * DAY
"""Nanoseconds. A longer time has columns of whole days."""
_LONG = DAY
"""Nanoseconds. A longer time has columns of whole hours, where that is quicker."""
_FIRST_HOUR = FIRST_TIME // HOUR
_LAST_HOUR = LARGEST // HOUR - 1
"""In the one after it are those whose time is none."""
_ROWS_AT_ONCE = 5000
_MOST_LOGGED = 500


def heat(days: Sequence[OpenDay], query: Query, columns: int, deadline: Deadline) -> HeatMap:
    """Count the spans that satisfy ``query``.

    Args:
        days: where to look, newest first.
        query: what for; it asks for no words of log records.
        columns: see :func:`~causal_otel.collector.heat.column_edges`.
        deadline: when to stop.
    """
    start, end = _time_of(query, days)
    query, roots = with_roots(query)
    expression = whole(query)
    bounds = _Bounds.of(expression)
    long = bounds is not None and end - start > _LONG
    edges = column_edges(start, end, columns, whole=0 if not long else DAY if end - start > _WHOLE_DAYS else HOUR)
    # What has no real time is not in a map without a start.
    query = replace(query, start=edges[0], end=edges[-1] - 1)
    marks = Marks(edges)
    since = None
    if satisfiable(query):
        marked: set[bytes] = set()
        reading = [_DayHeat(day, query, deadline, marked, marks, bounds) for day in days]
        since = _by_day(reading, long=long) if bounds is not None else _newest_first(reading)
    return marks.map(roots=roots, since=since)


def log_heat(
    days: Sequence[OpenDay],
    query: Query,
    columns: int,
    deadline: Deadline,
    trace: Callable[[bytes], TracesData | None],
) -> HeatMap:
    """The same of a query that asks for words of log records: of the traces that were logged last, 500 at the most.

    Args:
        days: see :func:`heat`, like the other arguments.
        query: see there.
        columns: see there.
        deadline: see there.
        trace: reads a whole trace, of all days.
    """
    start, end = _time_of(query, days)
    query = replace(query, start=start)
    marks = Marks(column_edges(start, end, columns))
    found = log_search(days, replace(query, limit=_MOST_LOGGED), deadline, trace)
    complete, reached = found.complete and len(found.trace_ids) < _MOST_LOGGED, query.end
    for trace_id in found.trace_ids:
        if deadline.passed():
            complete = False
            break
        message = trace(trace_id)
        span = None if message is None else matching_span(message, query)
        if span is not None:
            reached = min(reached, span.start_time_unix_nano)
            marks.add(span.start_time_unix_nano, span_duration(span), span.status.code == Status.STATUS_CODE_ERROR)
    return marks.map(roots=False, since=None if complete else reached)


def _time_of(query: Query, days: Sequence[OpenDay]) -> tuple[int, int]:
    """The first and the last nanosecond of a query's map."""
    open_ended = query.start <= 0 or query.end >= LARGEST
    return asked_time(query, _hours_with_spans(days) if open_ended else None)


def _hours_with_spans(days: Iterable[OpenDay]) -> tuple[int, int] | None:
    """The first and the last hour in which spans start that have a real time; None: there are none."""
    found: list[tuple[int, int]] = []
    statement = (
        "SELECT min((SELECT min(hour) FROM hour WHERE series = id AND hour BETWEEN :first AND :last)),"
        " max((SELECT max(hour) FROM hour WHERE series = id AND hour BETWEEN :first AND :last)) FROM series"
    )
    for day in days:
        with suppress(Skipped), day.reading() as db:
            first, last = db.execute(statement, {"first": _FIRST_HOUR, "last": _LAST_HOUR}).fetchone()
            if first is not None:
                found.append((first, last))
    return (min(first for first, _ in found), max(last for _, last in found)) if found else None


class _Bounds(NamedTuple):
    """What a query asks for besides conditions on series: the shortest and longest duration, and only failed spans."""

    shortest: int
    longest: int
    failed: bool

    @classmethod
    def of(cls, expression: Expression | None) -> _Bounds | None:
        """Those of an expression; None: it asks for something else, too."""
        shortest, longest, failed = 0, LARGEST, False
        for each in conditions_on_rows(expression):
            if isinstance(each, Compare) and (each.key, each.operator, each.value) == ("error", "=", "true"):
                failed = True
                continue
            if not isinstance(each, Field) or not is_bound(each):
                return None
            if each.name == "status":
                failed = True
                continue
            took = nanoseconds(each.value) or 0
            if each.operator in (">", ">="):
                shortest = max(shortest, took + (each.operator == ">"))
            else:
                longest = min(longest, took - (each.operator == "<"))
        return cls(shortest, longest, failed)

    def holds(self, duration: int) -> bool:
        return self.shortest <= duration <= self.longest


def _by_day(reading: Iterable[_DayHeat], *, long: bool) -> int | None:
    """Count day by day; returns since when all were counted, None: always."""
    for day in reading:
        try:
            day.read(long=long)
        except OutOfTime:
            return day.reached
    return None


def _newest_first(reading: Sequence[_DayHeat]) -> int | None:
    """Count the matches of all days in one order; returns the same."""
    streams = [day.own_matches() for day in reading]
    reached = LARGEST
    try:
        for start, trace_id, day in heapq.merge(*streams, key=itemgetter(0), reverse=True):
            reached = min(reached, start)
            if trace_id:
                day.mark(trace_id, start)
            day.deadline.check()
    except OutOfTime:
        return reached
    finally:
        for stream in streams:
            stream.close()
    return None


class _DayHeat(DaySearch):
    """The spans of a day.

    Args:
        day: the file.
        query: what for.
        deadline: when to stop.
        marked: the traces that count once, and are counted.
        marks: counts what is found.
        bounds: what the query asks for besides conditions on series; None: more than the tables tell.
    """

    def __init__(
        self,
        day: OpenDay,
        query: Query,
        deadline: Deadline,
        marked: set[bytes],
        marks: Marks,
        bounds: _Bounds | None,
    ) -> None:
        super().__init__(day, query, deadline, marked)
        self._marked = marked
        self._marks = marks
        self._bounds = bounds
        self._seen: dict[tuple[bytes, int], tuple[int, bool]] = {}
        self.reached = self.end
        """Since when all were counted, Unix time in nanoseconds."""

    def read(self, *, long: bool) -> None:
        """Count the day by its tables, or by its chunks if it is one whose tables do not decide."""
        self.deadline.check()
        with suppress(Skipped), self.day.reading(self.deadline) as db:
            within = db.hours()
            if within is None:
                return
            first, last = max(within[0], hour_of(self.start)), min(within[1], hour_of(self.end))
            if first > last:
                return
            _, named = self.prepared(db)
            if not named and tells_systems_apart(self, db) and self._tells_errors():
                (self._by_hours if long else self._by_rows)(db, first, last)
                return
        reached = _newest_first([self])
        if reached is not None:
            self.reached = reached
            raise OutOfTime

    def match(self, db: DayReading, chunk: int) -> tuple[int, bytes] | None:
        """See :meth:`DaySearch.match`; it remembers what :meth:`mark` has to know."""
        found = self.matching(db, chunk)
        if found is None:
            return None
        trace_id, span = found
        failed = span.status.code == Status.STATUS_CODE_ERROR
        self._seen[trace_id, span.start_time_unix_nano] = span_duration(span), failed
        return -span.start_time_unix_nano, trace_id

    def own_matches(self) -> Generator[tuple[int, bytes, _DayHeat], None, None]:
        """Each match with the day that it is of."""
        for start, trace_id in self.matches():
            yield start, trace_id, self

    def mark(self, trace_id: bytes, start: int) -> None:
        """Count a match, unless its trace is counted already."""
        if trace_id not in self._marked:
            self._marked.add(trace_id)
            self._marks.add(start, *self._seen[trace_id, start])

    def _tells_errors(self) -> bool:
        """Whether a column tells of every tag that it should tell of."""
        return all(chunks is not None for chunks in self.columns.values())

    def _by_hours(self, db: DayReading, first: int, last: int) -> None:
        assert self._bounds is not None
        failed = self._bounds.failed
        ranges = [(first, last)]
        own = hours_of(self.day.day)
        if hour_of(self.start) <= own[0] and own[1] <= hour_of(self.end) and self._is_summed(db):
            # The file has spans of other days as well, if few.
            ranges = [(WHOLE_DAY, WHOLE_DAY), (first, own[0] - 1), (own[1] + 1, last)]
        statement = (
            f"SELECT h.hour, {'NULL' if failed else 'h.histogram'}, h.failures"  # noqa: S608 - our own SQL
            " FROM series s CROSS JOIN hour h ON h.series = s.id"
            f" WHERE h.hour BETWEEN :first AND :last AND {self.conditions.sql('h')}"
        )
        inside = buckets_within(self._bounds.shortest, self._bounds.longest)
        of_hours: dict[int, tuple[Histogram, Histogram]] = {}
        for low, high in ranges:
            for hour, durations, failures in db.execute(
                statement, {**self.conditions.values, "first": low, "last": high}
            ):
                sums = of_hours.setdefault(own[0] if hour == WHOLE_DAY else hour, (Histogram(), Histogram()))
                if not failed:
                    sums[0].merge_encoded(durations)
                if failures:
                    sums[1].merge_encoded(failures)
        for hour, (all_spans, failed_spans) in of_hours.items():
            column = self._marks.column(hour * HOUR)
            for index, count in (failed_spans if failed else all_spans).counts.items():
                if index in inside:
                    self._marks.add_to(column, row_of_bucket(index), count, failed_spans.counts.get(index, 0))
        self.reached = own[0] * HOUR

    def _is_summed(self, db: DayReading) -> bool:
        if self._marks.width < DAY:
            return False
        return db.execute("SELECT 1 FROM meta WHERE key = ?", (SUMMED,)).fetchone() is not None

    def _by_rows(self, db: DayReading, first: int, last: int) -> None:
        statement = (
            "SELECT f.start, f.chunk, f.shortest, f.longest, f.errors"  # noqa: S608 - our own SQL
            " FROM series s CROSS JOIN found f ON f.series = s.id"
            f" WHERE {self.conditions.sql('f')} AND f.start BETWEEN :low AND :high"
        )
        looked_at: set[int] = set()
        for hour in range(last, first - 1, -1):
            times = {"low": max(self.start, hour * HOUR), "high": within_range(min(self.end, (hour + 1) * HOUR - 1))}
            rows = db.execute(statement, {**self.conditions.values, **times})
            while some := rows.fetchmany(_ROWS_AT_ONCE):
                self.deadline.check()
                self._mark_rows(db, some, looked_at)
            self.reached = times["low"]

    def _mark_rows(self, db: DayReading, rows: Iterable[tuple[Any, ...]], looked_at: set[int]) -> None:
        bounds = self._bounds
        assert bounds is not None
        for start, chunk, shortest, longest, errors in rows:
            if bounds.holds(longest):
                if not (bounds.failed and shortest != longest):
                    self._marks.add(start, longest, errors > 0)
                    continue
            elif bounds.holds(shortest) and not bounds.failed:
                self._marks.add(start, shortest, errors > 0)
                continue
            if chunk not in looked_at:
                looked_at.add(chunk)
                self._look_at(db, chunk)

    def _look_at(self, db: DayReading, chunk: int) -> None:
        """Count a chunk with several spans of an operation, of which the table does not tell the one that matches."""
        self.deadline.check()
        if (found := self.matching(db, chunk)) is not None:
            span = found[1]
            failed = span.status.code == Status.STATUS_CODE_ERROR
            self._marks.add(span.start_time_unix_nano, span_duration(span), failed)
