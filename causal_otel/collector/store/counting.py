"""Counts the traces that satisfy a query.

Where the tables alone decide, as for a service or an operation, no chunk is read but those at the ends of the time.
Else every chunk is looked at that a search would look at, as long as there is time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from causal_otel.collector.expressions import whole
from causal_otel.collector.query import Counted
from causal_otel.collector.store.days import HOUR, LARGEST, hour_of
from causal_otel.collector.store.limits import within_range
from causal_otel.collector.store.open_days import OutOfTime, Skipped
from causal_otel.collector.store.schema import SPREAD
from causal_otel.collector.store.search import DaySearch, satisfiable
from causal_otel.collector.store.told import is_told

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from causal_otel.collector.query import Query
    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import Deadline, OpenDay

__all__ = ["counted"]

_IDS_AT_ONCE = 500
_ROWS_AT_ONCE = 20_000
_FEW = 8
"""If at most one chunk in so many is wanted, asking for the traces of each is faster than passing over all."""


def counted(days: Sequence[OpenDay], query: Query, deadline: Deadline) -> Counted:
    """Count the traces that satisfy ``query``.

    Args:
        days: where to look.
        query: what for.
        deadline: when to stop.
    """
    found: set[bytes] = set()
    if satisfiable(query):
        try:
            for day in days:
                deadline.check()
                _DayCount(day, query, deadline, found).read()
        except OutOfTime:
            return Counted(len(found), complete=False)
    return Counted(len(found))


class _DayCount(DaySearch):
    """The traces of a day.

    Args:
        day: the file.
        query: what for.
        deadline: when to stop.
        found: gets their ids.
    """

    def __init__(self, day: OpenDay, query: Query, deadline: Deadline, found: set[bytes]) -> None:
        super().__init__(day, query, deadline, found)
        self._found = found

    def read(self) -> None:
        """Look at the day."""
        with suppress(Skipped), self.day.reading(self.deadline) as db:
            within = db.hours()
            if within is None:
                return
            first, last = max(within[0], hour_of(self.start)), min(within[1], hour_of(self.end))
            if first > last:
                return
            expression = whole(self.query)
            if expression is None and self._is_within(within):
                self._found.update(trace_id for (trace_id,) in db.execute("SELECT trace_id FROM chunk"))
                return
            index, named = self.prepared(db)
            if is_told(self, db, expression):
                self._by_table(db, named)
                return
            for _, chunk in self._candidates(db, index, named, first, last):
                self.deadline.check()
                self._verify(db, chunk)

    def _is_within(self, hours: tuple[int, int]) -> bool:
        """Whether all spans of these hours start in the time."""
        return self.start <= hours[0] * HOUR and (hours[1] + 1) * HOUR <= min(self.end, LARGEST - 1)

    def _verify(self, db: DayReading, chunk: int) -> None:
        if chunk and (match := self.match(db, chunk)):
            self._found.add(match[1])

    def _by_table(self, db: DayReading, named: set[int]) -> None:
        statement = (
            "SELECT f.start, f.chunk FROM series s CROSS JOIN found f ON f.series = s.id"  # noqa: S608 - our own SQL
            f" WHERE {self.conditions.sql('f')} AND f.start BETWEEN :low AND :high"
        )
        times = {"low": self.start, "high": within_range(self.end + SPREAD)}
        # The last of the spans that a row tells of starts in the time; where a row tells of one of them, all have to.
        surely_from = self.start + (SPREAD if self.conditions.on_rows else 0)
        surely_to = min(self.end, LARGEST - 1)
        doubtful = set(named)
        rows = db.execute(statement, {**self.conditions.values, **times})
        # Some at a time: what was counted when the time is over counts.
        while some := rows.fetchmany(_ROWS_AT_ONCE):
            self._add(db, {chunk for start, chunk in some if surely_from <= start <= surely_to})
            doubtful.update(chunk for start, chunk in some if not surely_from <= start <= surely_to)
        for chunk in doubtful:
            self.deadline.check()
            self._verify(db, chunk)

    def _add(self, db: DayReading, chunks: set[int]) -> None:
        (last,) = db.execute("SELECT max(id) FROM chunk").fetchone()
        if len(chunks) * _FEW > (last or 0):
            self._found.update(
                trace_id for chunk, trace_id in db.execute("SELECT id, trace_id FROM chunk") if chunk in chunks
            )
            return
        self._found.update(_traces_of(db, chunks))


def _traces_of(db: DayReading, chunks: Iterable[int]) -> Iterable[bytes]:
    ids = sorted(chunks)
    for position in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[position : position + _IDS_AT_ONCE]
        marks = ",".join("?" * len(some))
        yield from (
            trace_id
            for (trace_id,) in db.execute(f"SELECT trace_id FROM chunk WHERE id IN ({marks})", some)  # noqa: S608
        )
