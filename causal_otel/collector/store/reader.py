"""Reads a store: in any process, from any thread, whether somebody writes to it or not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.figures import FIGURES_SECONDS, Dependency, OperationStatistics
from causal_otel.collector.matching import matching_span, summary
from causal_otel.collector.query import (
    Counted,
    DayVolume,
    Found,
    Linking,
    Operation,
    Query,
    Recent,
    Summary,
    TraceLogs,
    Volume,
)
from causal_otel.collector.store import days, sums
from causal_otel.collector.store.arrivals import recent
from causal_otel.collector.store.assembling import assembled, assembled_logs
from causal_otel.collector.store.counting import counted
from causal_otel.collector.store.days import hour_of
from causal_otel.collector.store.heat import heat, log_heat
from causal_otel.collector.store.limits import is_unicode, within_range
from causal_otel.collector.store.linked import linked_from
from causal_otel.collector.store.log_search import log_count, log_search
from causal_otel.collector.store.oldest import oldest
from causal_otel.collector.store.open_days import Deadline, OpenDays, OutOfTime, Skipped
from causal_otel.collector.store.ranking import ranked
from causal_otel.collector.store.schema import SPREAD
from causal_otel.collector.store.search import search
from causal_otel.collector.store.words import vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Self, TypeVar

    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.figures import CallSum, MeasureSum, Selected, SeriesSum, Step
    from causal_otel.collector.heat import HeatMap
    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import OpenDay
    from causal_otel.collector.vocabulary import Vocabulary

    T = TypeVar("T")

__all__ = ["BoundedReader", "Reader"]

_OPPOSITE = {"newest": "oldest", "oldest": "newest"}
_TRACES_AT_ONCE = 100


class Reader:
    """A :class:`~causal_otel.collector.query.TraceReader` of the day files in a directory.

    Nothing is written to them. (SQLite itself keeps its two companions beside a file that it reads.) A file that cannot
    be read is left out, and :meth:`volume` tells why.

    Args:
        directory: of the day files. Missing or empty, it is a store without traces.
    """

    def __init__(self, directory: Path) -> None:
        self._days = OpenDays(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files. They are opened again if anything is asked."""
        self._days.close()

    def services(self) -> list[str]:
        """The services' names, sorted."""
        rows = self._rows("SELECT DISTINCT service FROM series")
        return sorted({service for (service,) in rows})

    def operations(self, service: str, kind: str | None = None) -> list[Operation]:
        """The operations of ``service``, of all kinds or one, sorted; empty for a service not known."""
        if not is_unicode(service):
            return []
        rows = self._rows("SELECT operation, kind FROM series WHERE service = ?", service)
        found = {Operation(name, KINDS[number]) for name, number in rows}
        return sorted(operation for operation in found if kind in (None, operation.kind))

    def vocabulary(self, *, seconds: float = 0.06) -> Vocabulary:
        """What there is to ask for, as far as it is found out in about ``seconds``: of the last days, from samples."""
        return vocabulary(self._days.present(), Deadline(seconds))

    def search(self, query: Query, *, seconds: float = 2.0) -> Found:
        """Find traces, in the order that the query asks for, for at most about ``seconds``."""
        present, deadline = self._days.present(), Deadline(seconds)
        if query.logs:
            return log_search(present, query, deadline, self.trace)
        if query.sort not in _OPPOSITE:
            return ranked(present, query, deadline, self.summaries)
        if query.before is None:
            return (search if query.sort == "newest" else oldest)(present, query, deadline)
        turned = replace(query, sort=_OPPOSITE[query.sort], after=query.before, before=None)
        found = (search if turned.sort == "newest" else oldest)(present, turned, deadline)
        return replace(found, trace_ids=found.trace_ids[::-1], first=found.last, last=found.first)

    def count(self, query: Query, *, seconds: float = 0.5) -> Counted:
        """Count all traces that satisfy a query, whatever its limit and its place, for at most about ``seconds``."""
        present, deadline = self._days.present(), Deadline(seconds)
        query = replace(query, limit=1, sort="newest", after=None, before=None)
        if query.logs:
            return log_count(present, query, deadline, self.trace)
        return counted(present, query, deadline)

    def heat(self, query: Query, *, columns: int = 60, seconds: float = 0.25) -> HeatMap:
        """How many of the spans that satisfy a query took how long, over time, for at most about ``seconds``."""
        present, deadline = self._days.present(), Deadline(seconds)
        query = replace(query, limit=1, sort="newest", after=None, before=None)
        if query.logs:
            return log_heat(present, query, columns, deadline, self.trace)
        return heat(present, query, columns, deadline)

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        """One for each of those traces that are there, in the order asked for."""
        return [summary(trace) for trace in self.traces(trace_ids)]

    def traces(self, trace_ids: Iterable[bytes], *, within: tuple[int, int] | None = None) -> Iterator[TracesData]:
        """All spans of each of those traces that are there, in the order asked for; read some at a time, as needed.

        With ``within``, two Unix times in nanoseconds, only those of the days that have spans of that time.
        """
        wanted = iter(trace_ids)
        while some := list(itertools.islice(wanted, _TRACES_AT_ONCE)):
            parts = self._parts(some, within)
            yield from (assembled(parts[trace_id]) for trace_id in some if trace_id in parts)

    def trace(self, trace_id: bytes) -> TracesData | None:
        """All spans of a trace, each once; None if there is none."""
        parts = self._parts([trace_id])
        return assembled(parts[trace_id]) if parts else None

    def logs(self, trace_id: bytes, *, most: int = 5000) -> TraceLogs | None:
        """The log records of a trace, each once, about ``most`` of them; None if there is none."""
        parts: list[LogsData] = []
        taken = left_out = 0

        def ask(_: OpenDay, db: DayReading) -> None:
            nonlocal taken, left_out
            if not db.has_logs():
                return
            rows = db.execute("SELECT id, records FROM log WHERE trace_id = ? ORDER BY start", (trace_id,)).fetchall()
            for row, records in rows:
                if taken >= most:
                    left_out += records
                    continue
                (body,) = db.execute("SELECT body FROM log WHERE id = ?", (row,)).fetchone()
                if (part := db.unpack_logs(body)) is not None:
                    parts.append(part)
                    taken += records

        for _ in self._ask(ask, oldest_first=True):
            pass
        return TraceLogs(assembled_logs(parts), left_out) if parts else None

    def span_count(self, trace_ids: Sequence[bytes]) -> int:
        """How many spans these traces have together, at the most: one received twice may count twice."""
        marks = ",".join("?" * len(trace_ids))
        statement = f"SELECT coalesce(sum(spans), 0) FROM trace WHERE id IN ({marks})"  # noqa: S608
        return sum(count for (count,) in self._rows(statement, *trace_ids))

    def linked_from(self, trace_id: bytes, limit: int = 200, *, seconds: float = 0.5) -> Linking:
        """The links to a trace's spans from other traces, at most ``limit``, found within about ``seconds``."""
        return linked_from(self._days.present(), trace_id, limit, Deadline(seconds))

    def dependencies(self, start: int, end: int) -> list[Dependency]:
        """Who called whom between two Unix times in nanoseconds, to the hour."""
        return sums.dependencies(self._figures, start, end)

    def statistics(self, start: int, end: int, service: str | None = None) -> list[OperationStatistics]:
        """How every operation (of a service) went between two Unix times in nanoseconds, to the hour."""
        return sums.statistics(self._figures, start, end, service)

    def series(self, selected: Selected, start: int, end: int, step: Step) -> list[SeriesSum]:
        """How series went, by the hour or the day, see :class:`~causal_otel.collector.query.TraceReader`."""
        return sums.series(self._figures, selected, start, end, step)

    def measures(
        self, selected: Selected, start: int, end: int, step: Step, keys: Collection[str] = ()
    ) -> list[MeasureSum]:
        """What the spans of series tell of themselves, likewise."""
        return sums.measures(self._figures, selected, start, end, step, keys)

    def calls(self, parent: Selected, child: Selected, start: int, end: int) -> list[CallSum]:
        """Which series called which on the UTC days that the time between two Unix times in nanoseconds is in."""
        return sums.calls(self._figures, parent, child, start, end)

    @property
    def since(self) -> int:
        """Figures are read wholly, see :class:`BoundedReader`."""
        return 0

    def bounded(self, *, seconds: float = FIGURES_SECONDS) -> BoundedReader:
        """The same, but that all figures that it is asked for take at most about so many seconds together."""
        return BoundedReader(self._days, seconds)

    def volume(self) -> Volume:
        """What is there, day by day."""

        def ask(day: OpenDay, db: DayReading) -> DayVolume:
            (spans,) = db.execute("SELECT coalesce(sum(spans), 0) FROM trace").fetchone()
            (traces,) = db.execute("SELECT count(*) FROM trace").fetchone()
            state = db.execute("SELECT value FROM meta WHERE key = 'state'").fetchone()
            logs = db.execute("SELECT value FROM meta WHERE key = 'log_records'").fetchone() or (0,)
            return DayVolume(days.label(day.day), spans, traces, days.size_of(day.path), state == ("closed",), *logs)

        found = tuple(self._ask(ask))
        faults = tuple((str(day.path), day.fault) for day in self._days.present()[::-1] if day.fault)
        return Volume(found[::-1], days.damaged(self._days.directory) + faults)

    def trace_ids(self, start: int, end: int) -> Iterator[bytes]:
        """Every trace with a span that starts in that time, oldest day first: for an export."""
        within = Query(start, end)
        seen: set[bytes] = set()

        def ask(day: OpenDay, db: DayReading) -> list[bytes]:
            # The earliest span of a chunk is in the time, or it is before and another may be.
            found = []
            for chunk, trace_id, first in db.execute(
                "SELECT id, trace_id, start FROM chunk WHERE start BETWEEN ? AND ? ORDER BY id",
                (within_range(start) - SPREAD, within_range(end)),
            ):
                if trace_id not in seen and (first >= start or _has(db, chunk, within)):
                    seen.add(trace_id)
                    found.append(trace_id)
            return found

        for found in self._ask(ask, oldest_first=True):
            yield from found

    def recent(self, limit: int, *, service: str | None = None, errors: bool = False, after: object = None) -> Recent:
        """The traces that were received last, as far as their days' files tell."""
        return recent(self._days.present(), limit, service, errors, after)

    def _parts(
        self, trace_ids: Sequence[bytes], within: tuple[int, int] | None = None
    ) -> dict[bytes, list[TracesData]]:
        """What the chunks of each trace hold, oldest day first."""
        found: dict[bytes, list[TracesData]] = {}

        def ask(day: OpenDay, db: DayReading) -> dict[bytes, list[TracesData]]:
            bodies: dict[bytes, list[bytes]] = {}
            if within is not None:
                hours = db.hours()
                if hours is None or hours[1] < hour_of(within[0]) or hour_of(within[1]) < hours[0]:
                    return {}
            marks = ",".join("?" * len(trace_ids))
            statement = f"SELECT trace_id, body FROM chunk WHERE trace_id IN ({marks}) ORDER BY id"  # noqa: S608
            for trace_id, body in db.execute(statement, trace_ids).fetchall():
                bodies.setdefault(trace_id, []).append(body)
            return {trace_id: db.unpack_all(some) for trace_id, some in bodies.items()}

        for parts in self._ask(ask, oldest_first=True):
            for trace_id, some in parts.items():
                if some:
                    found.setdefault(trace_id, []).extend(some)
        return found

    def _rows(self, statement: str, *values: str | bytes | int | None) -> Iterator[tuple[Any, ...]]:
        return itertools.chain.from_iterable(self._ask(lambda _, db: db.execute(statement, values).fetchall()))

    def _figures(self, question: Callable[[OpenDay, DayReading], T]) -> Iterator[T]:
        """The answers that figures are made of, newest first."""
        return self._ask(question)

    def _ask(self, question: Callable[[OpenDay, DayReading], T], *, oldest_first: bool = False) -> Iterator[T]:
        """The answers of all days that can be read, newest first if not told otherwise."""
        present = self._days.present()
        for day in reversed(present) if oldest_first else present:
            try:
                with day.reading() as db:
                    answer = question(day, db)
            except Skipped:
                continue
            yield answer


class BoundedReader(Reader):
    """A reader whose figures are all read within a time: of the newest days, if there is no time for all of them.

    A read of figures takes half of the time that is left at the most, so that there is some for those that follow. What
    one had to leave out is left out of the following ones, too.

    Args:
        opened: the day files.
        seconds: for all figures together.
    """

    def __init__(self, opened: OpenDays, seconds: float) -> None:
        self._days = opened
        self._time = Deadline(seconds)
        self._since = 0

    @property
    def since(self) -> int:
        """Figures of what started before this Unix time in nanoseconds were not all read; 0: they were."""
        return self._since

    def _figures(self, question: Callable[[OpenDay, DayReading], T]) -> Iterator[T]:
        deadline = Deadline(self._time.left() / 2)
        for day in self._days.present():
            if day.day * days.DAY < self._since:
                return
            try:
                deadline.check()
                with day.reading(deadline) as db:
                    answer = question(day, db)
            except Skipped:
                continue
            except OutOfTime:
                self._since = (day.day + 1) * days.DAY
                return
            yield answer


def _has(db: DayReading, chunk: int, query: Query) -> bool:
    (body,) = db.execute("SELECT body FROM chunk WHERE id = ?", (chunk,)).fetchone()
    trace = db.unpack(body)
    return trace is not None and matching_span(trace, query) is not None
