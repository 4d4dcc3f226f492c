"""What the tables of sums tell: how series went, what their spans told of themselves, and who called whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.figures import (
    CallSum,
    Dependency,
    MeasureSum,
    OperationStatistics,
    Selected,
    Series,
    SeriesSum,
)
from causal_otel.collector.store.calls import Calls, EdgeOfHour, SomeCalls
from causal_otel.collector.store.days import DAY, HOUR, hour_of
from causal_otel.collector.store.hours import WHOLE_DAY, HourOfSeries, Hours
from causal_otel.collector.store.limits import is_unicode, within_range
from causal_otel.collector.store.measures import MeasureOfHour, Measures
from causal_otel.collector.store.whole_days import SUMMED, hours_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from causal_otel.collector.figures import Step
    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import OpenDay

    T = TypeVar("T")

    class Ask(Protocol):
        """Asks all days."""

        def __call__(self, question: Callable[[OpenDay, DayReading], T], /) -> Iterator[T]: ...


__all__ = ["calls", "dependencies", "measures", "series", "statistics"]

_Name = tuple[str, str, int, str, str, int]
"""What the table ``series`` says of one."""

_NAMES = "SELECT id, service, operation, kind, system, version, root FROM series"


def series(ask: Ask, selected: Selected, start: int, end: int, step: Step) -> list[SeriesSum]:
    """See :meth:`causal_otel.collector.query.TraceReader.series`."""
    query = _Query("hour", ("series",), (), Hours.VALUES, HourOfSeries, {"series": selected})
    return [
        SeriesSum(_series(key[0]), at, each.spans, each.errors, each.total, each.longest, each.histogram, each.failures)
        for (key, at), each in query.sums(ask, start, end, step)
    ]


def measures(ask: Ask, selected: Selected, start: int, end: int, step: Step, keys: Collection[str]) -> list[MeasureSum]:
    """See :meth:`causal_otel.collector.query.TraceReader.measures`."""
    query = _Query("measure", ("series",), ("key", "label"), Measures.VALUES, MeasureOfHour, {"series": selected}, keys)
    return [
        MeasureSum(_series(key[0]), at, key[1], key[2], each.spans, each.total, each.largest, each.trace)
        for (key, at), each in query.sums(ask, start, end, step)
    ]


def calls(ask: Ask, parent: Selected, child: Selected, start: int, end: int) -> list[CallSum]:
    """See :meth:`causal_otel.collector.query.TraceReader.calls`."""
    wanted = {"parent": parent, "child": child}
    query = _Query("call", ("parent", "child"), (), Calls.CALL, SomeCalls, wanted)
    return [
        CallSum(_series(key[0]), _series(key[1]), each.calls, each.errors, each.total)
        for (key, _), each in query.sums(ask, start, end, "all")
    ]


def statistics(ask: Ask, start: int, end: int, service: str | None) -> list[OperationStatistics]:
    """See :meth:`causal_otel.collector.query.TraceReader.statistics`."""
    found: dict[tuple[str, str, str, str], HourOfSeries] = {}
    query = _Query("hour", ("series",), (), Hours.VALUES, HourOfSeries, {"series": Selected(service)})
    for ((name,), _), each in query.sums(ask, start, end, "all"):
        found.setdefault((name[0], name[1], KINDS[name[2]], name[3]), HourOfSeries()).merge(each)
    return [_statistics(key, found[key]) for key in sorted(found)]


def _statistics(key: tuple[str, str, str, str], each: HourOfSeries) -> OperationStatistics:
    durations = each.histogram
    p50, p95, p99 = (min(durations.quantile(share), each.longest) for share in (0.5, 0.95, 0.99))
    return OperationStatistics(
        *key, each.spans, each.errors, each.total, each.longest, p50, p95, p99, durations.buckets()
    )


def dependencies(ask: Ask, start: int, end: int) -> list[Dependency]:
    """See :meth:`causal_otel.collector.query.TraceReader.dependencies`."""
    query = _Query("edge", (), ("parent", "child"), Calls.EDGE, EdgeOfHour, {})
    return [
        Dependency(parent, child, each.calls, each.errors, each.total, *map(each.histogram.quantile, (0.5, 0.95)))
        for ((parent, child), _), each in query.sums(ask, start, end, "all")
    ]


def _series(name: _Name) -> Series:
    service, operation, kind, system, version, root = name
    return Series(service, operation, KINDS[kind], system, version, bool(root))


class _Query(NamedTuple):
    """A question to one of the tables of sums.

    Attributes:
        table: the table.
        series: its columns with ids of series.
        told: columns that tell rows apart besides: of the table, or of ``measured``.
        values: the columns with sums.
        make: makes sums of these.
        selected: by a column with ids of series, which ones.
        keys: only these measures; none: all.
    """

    table: str
    series: tuple[str, ...]
    told: tuple[str, ...]
    values: tuple[str, ...]
    make: Callable[..., Any]
    selected: dict[str, Selected]
    keys: Collection[str] = ()

    def sums(self, ask: Ask, start: int, end: int, step: Step) -> list[tuple[tuple[tuple[Any, ...], int], Any]]:
        """The sums by what tells rows apart, names of series first, and by when the step begins; in this order."""
        if not all(map(_askable, self.selected.values())):
            return []
        # Names are six columns of a day's series, and there may be a hundred thousand rows: they are told apart by
        # a number for each name, which is the same on all days.
        numbers: dict[_Name, int] = {}
        found: dict[tuple[Any, ...], Any] = {}
        width = {"hour": 1, "day": 24, "all": 0}[step]
        first, last = 1 + len(self.series), 1 + len(self.series) + len(self.told)
        for day, names, rows in ask(lambda day, db: (day.day, *self._rows(day.day, db, start, end, step))):
            numbered = {series: numbers.setdefault(name, len(numbers)) for series, name in names.items()}
            for row in rows:
                hour = row[0]
                at = 0 if not width else day * DAY if hour == WHOLE_DAY else hour // width * width * HOUR
                key = (at, *[numbered[each] for each in row[1:first]], *row[first:last])
                made = self.make(*row[last:])
                known = found.get(key)
                if known is None:
                    found[key] = made
                else:
                    known.merge(made)
        known_names = list(numbers)
        sums = [
            (((*[known_names[each] for each in key[1:first]], *key[first:last]), key[0]), each)
            for key, each in found.items()
        ]
        return sorted(sums, key=lambda each: each[0])

    def _rows(
        self, day: int, db: DayReading, start: int, end: int, step: Step
    ) -> tuple[dict[int, _Name], list[tuple[Any, ...]]]:
        """The names of a day's series by their ids, and its rows: the hour, ids of series, what is told, the values."""
        asked = hour_of(within_range(start)), hour_of(within_range(end))
        own = hours_of(day)
        names: dict[int, _Name] = {}
        if self.table == "call" and (own[1] < asked[0] or asked[1] < own[0]):
            return names, []
        values: dict[str, Any] = {}
        conditions = []
        for column, selected in self.selected.items():
            where = _conditions(column, selected, values)
            named = db.execute(f"{_NAMES} WHERE {where}", values).fetchall()
            if not named:
                return {}, []
            names |= {series: tuple(name) for series, *name in named}
            if self._leads(column):
                conditions.append(f"t.{column} IN (SELECT id FROM series WHERE {where})")  # noqa: S608
        joined = ""
        if self.table == "measure":
            joined = " JOIN measured m ON m.id = t.measured"
        if self.keys:
            conditions.append(f"m.key IN ({', '.join(f':key{number}' for number in range(len(self.keys)))})")
            values |= {f"key{number}": key for number, key in enumerate(self.keys)}
        hour, ranges = "t.hour", [asked]
        if self.table == "call":
            hour, ranges = "0", []
        elif step != "hour" and asked[0] <= own[0] and own[1] <= asked[1] and _is_summed(db):
            # The file has spans of other days as well, if few.
            ranges = [(WHOLE_DAY, WHOLE_DAY), (asked[0], own[0] - 1), (own[1] + 1, asked[1])]
        columns = [hour, *(f"t.{column}" for column in self.series)]
        columns += [f"{'m' if self.table == 'measure' else 't'}.{name}" for name in self.told]
        columns += [f"t.{name}" for name in self.values]
        # Each range is one of the primary key: SQLite goes through no rows between them.
        statement = " UNION ALL ".join(
            f"SELECT {', '.join(columns)} FROM {self.table} t{joined} WHERE {' AND '.join([*conditions, within])}"  # noqa: S608
            for within in ([f"t.hour BETWEEN {first} AND {last}" for first, last in ranges] or ["TRUE"])
        )
        return names, db.execute(statement, values).fetchall()

    def _leads(self, column: str) -> bool:
        """Whether SQLite is to look for the rows of the series in a column."""
        if self.table != "call":
            return True
        # The key of "call" begins with the parent. Of a child, all parents are tried if it is a single operation; for
        # more, going through the table is quicker.
        selected = self.selected[column]
        return selected != Selected() or (column == "parent" and self.selected["child"].operation is not None)


def _is_summed(db: DayReading) -> bool:
    return db.execute("SELECT 1 FROM meta WHERE key = ?", (SUMMED,)).fetchone() is not None


def _conditions(column: str, selected: Selected, values: dict[str, Any]) -> str:
    """The condition on the table ``series``, whose values are put into ``values``, named by ``column``."""
    given: dict[str, str | int | None] = {
        "service": selected.service,
        "operation": selected.operation,
        "kind": None if selected.kind is None else KINDS.index(selected.kind),
        "system": selected.system,
        "version": selected.version,
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    values |= {f"{column}_{name}": value for name, value in wanted.items()}
    conditions = ["TRUE", *(f"{name} = :{column}_{name}" for name in wanted)]
    if selected.entries:
        conditions.append(f"(root OR kind IN ({KINDS.index('server')}, {KINDS.index('consumer')}))")
    return " AND ".join(conditions)


def _askable(selected: Selected) -> bool:
    """Whether there can be such a series."""
    texts = selected.service, selected.operation, selected.system, selected.version
    return selected.kind in (None, *KINDS) and all(each is None or is_unicode(each) for each in texts)
