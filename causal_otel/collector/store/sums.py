"""What the tables of sums tell: how series went, what their spans told of themselves, and who called whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.query import (
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
    from collections.abc import Callable, Collection, Iterable, Iterator

    from causal_otel.collector.query import Step
    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import OpenDay

    T = TypeVar("T")

    class Ask(Protocol):
        """Asks all days."""

        def __call__(self, question: Callable[[OpenDay, DayReading], T], /) -> Iterator[T]: ...


__all__ = ["calls", "dependencies", "measures", "series", "statistics"]

_SERIES = ("service", "operation", "kind", "system", "version", "root")


def series(ask: Ask, selected: Selected, start: int, end: int, step: Step) -> list[SeriesSum]:
    """See :meth:`causal_otel.collector.query.TraceReader.series`."""
    query = _Query("hour", ("series",), (), Hours.VALUES, HourOfSeries, {"series": selected})
    return [
        SeriesSum(_series(key), at, each.spans, each.errors, each.total, each.longest, each.histogram, each.failures)
        for (key, at), each in query.sums(ask, start, end, step)
    ]


def measures(ask: Ask, selected: Selected, start: int, end: int, step: Step, keys: Collection[str]) -> list[MeasureSum]:
    """See :meth:`causal_otel.collector.query.TraceReader.measures`."""
    query = _Query("measure", ("series",), ("key", "label"), Measures.VALUES, MeasureOfHour, {"series": selected}, keys)
    return [
        MeasureSum(_series(key), at, key[6], key[7], each.spans, each.total, each.largest, each.trace)
        for (key, at), each in query.sums(ask, start, end, step)
    ]


def calls(ask: Ask, parent: Selected, child: Selected, start: int, end: int) -> list[CallSum]:
    """See :meth:`causal_otel.collector.query.TraceReader.calls`."""
    wanted = {"parent": parent, "child": child}
    query = _Query("call", ("parent", "child"), (), Calls.CALL, SomeCalls, wanted)
    return [
        CallSum(_series(key), _series(key[6:]), each.calls, each.errors, each.total)
        for (key, _), each in query.sums(ask, start, end, "all")
    ]


def statistics(ask: Ask, start: int, end: int, service: str | None) -> list[OperationStatistics]:
    """See :meth:`causal_otel.collector.query.TraceReader.statistics`."""
    found: dict[tuple[str, str, str, str], HourOfSeries] = {}
    query = _Query("hour", ("series",), (), Hours.VALUES, HourOfSeries, {"series": Selected(service)})
    for (key, _), each in query.sums(ask, start, end, "all"):
        found.setdefault((key[0], key[1], KINDS[key[2]], key[3]), HourOfSeries()).merge(each)
    return [_statistics(key, found[key]) for key in sorted(found)]


def _statistics(key: tuple[str, str, str, str], each: HourOfSeries) -> OperationStatistics:
    durations = each.histogram
    p50, p95, p99 = (min(durations.quantile(share), each.longest) for share in (0.5, 0.95, 0.99))
    return OperationStatistics(
        *key, each.spans, each.errors, each.total, each.longest, p50, p95, p99, durations.buckets()
    )


def dependencies(ask: Ask, start: int, end: int) -> list[Dependency]:
    """See :meth:`causal_otel.collector.query.TraceReader.dependencies`."""
    found: dict[tuple[str, str], EdgeOfHour] = {}
    query = _Query("edge", (), ("parent", "child"), Calls.EDGE, EdgeOfHour, {})
    for (key, _), each in query.sums(ask, start, end, "all"):
        found.setdefault((key[0], key[1]), EdgeOfHour()).merge(each)
    return [
        Dependency(*edge, each.calls, each.errors, each.total, *map(each.histogram.quantile, (0.5, 0.95)))
        for edge, each in sorted(found.items())
    ]


def _series(key: tuple[Any, ...]) -> Series:
    service, operation, kind, system, version, root = key[:6]
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

    def sums(self, ask: Ask, start: int, end: int, step: Step) -> Iterable[tuple[tuple[Any, int], Any]]:
        """The sums by what tells rows apart and by when the step begins, in the order of both."""
        if not all(map(_askable, self.selected.values())):
            return ()
        found: dict[tuple[Any, int], Any] = {}
        width = {"hour": 1, "day": 24, "all": 0}[step]
        count = 6 * len(self.series) + len(self.told)
        for day, rows in ask(lambda day, db: (day.day, self._rows(day.day, db, start, end, step))):
            for hour, *row in rows:
                at = 0 if not width else day * DAY if hour == WHOLE_DAY else hour // width * width * HOUR
                key, made = (tuple(row[:count]), at), self.make(*row[count:])
                known = found.get(key)
                if known is None:
                    found[key] = made
                else:
                    known.merge(made)
        return sorted(found.items(), key=lambda each: each[0])

    def _rows(self, day: int, db: DayReading, start: int, end: int, step: Step) -> list[tuple[Any, ...]]:
        values: dict[str, Any] = {"first": hour_of(within_range(start)), "last": hour_of(within_range(end))}
        conditions = ["t.hour BETWEEN :first AND :last"]
        hour = "t.hour"
        first, last = hours_of(day)
        if self.table == "call":
            if last < values["first"] or values["last"] < first:
                return []
            hour, conditions = "0", ["TRUE"]
        elif (
            step != "hour"
            and values["first"] <= first
            and last <= values["last"]
            and db.execute("SELECT 1 FROM meta WHERE key = ?", (SUMMED,)).fetchone()
        ):
            # The file has spans of other days as well, if few.
            conditions = [f"(t.hour = {WHOLE_DAY} OR t.hour BETWEEN :first AND :last)"]
            conditions += [f"NOT t.hour BETWEEN {first} AND {last}"]
        joins = [f"JOIN series {column} ON {column}.id = t.{column}" for column in self.series]
        if self.table == "measure":
            joins.append("JOIN measured m ON m.id = t.measured")
        if self.keys:
            conditions.append(f"m.key IN ({', '.join(f':key{number}' for number in range(len(self.keys)))})")
            values |= {f"key{number}": key for number, key in enumerate(self.keys)}
        for column, selected in self.selected.items():
            for name, value in _conditions(selected).items():
                conditions.append(f"{column}.{name} = :{column}_{name}")
                values[f"{column}_{name}"] = value
            if selected.entries:
                entries = f"{column}.kind IN ({KINDS.index('server')}, {KINDS.index('consumer')})"
                conditions.append(f"({column}.root OR {entries})")
        columns = [f"{column}.{name}" for column in self.series for name in _SERIES]
        columns += [f"{'m' if self.table == 'measure' else 't'}.{name}" for name in self.told]
        columns += [f"t.{name}" for name in self.values]
        statement = (
            f"SELECT {hour}, {', '.join(columns)} FROM {self.table} t {' '.join(joins)}"  # noqa: S608 - our own names
            f" WHERE {' AND '.join(conditions)}"
        )
        return db.execute(statement, values).fetchall()


def _conditions(selected: Selected) -> dict[str, str | int]:
    given: dict[str, str | int | None] = {
        "service": selected.service,
        "operation": selected.operation,
        "kind": None if selected.kind is None else KINDS.index(selected.kind),
        "system": selected.system,
        "version": selected.version,
    }
    return {name: value for name, value in given.items() if value is not None}


def _askable(selected: Selected) -> bool:
    """Whether there can be such a series."""
    texts = selected.service, selected.operation, selected.system, selected.version
    return selected.kind in (None, *KINDS) and all(each is None or is_unicode(each) for each in texts)
