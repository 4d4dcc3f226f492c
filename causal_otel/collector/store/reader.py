"""Reads a store: in any process, from any thread, whether somebody writes to it or not."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.matching import matching_span, summary
from causal_otel.collector.query import (
    DayVolume,
    Dependency,
    Found,
    Linking,
    Operation,
    OperationStatistics,
    Query,
    Recent,
    Summary,
    TraceLogs,
    Volume,
)
from causal_otel.collector.store import days
from causal_otel.collector.store.arrivals import recent
from causal_otel.collector.store.assembling import assembled, assembled_logs
from causal_otel.collector.store.days import hour_of
from causal_otel.collector.store.histogram import Histogram
from causal_otel.collector.store.limits import is_unicode, within_range
from causal_otel.collector.store.linked import linked_from
from causal_otel.collector.store.log_search import log_search
from causal_otel.collector.store.open_days import Deadline, OpenDays, Skipped
from causal_otel.collector.store.ranking import ranked
from causal_otel.collector.store.schema import SPREAD
from causal_otel.collector.store.search import search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Self, TypeVar

    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import OpenDay

    T = TypeVar("T")

__all__ = ["Reader"]

_SUMMARIES_AT_ONCE = 100


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

    def search(self, query: Query, *, seconds: float = 2.0) -> Found:
        """Find traces, in the order that the query asks for, for at most about ``seconds``."""
        present, deadline = self._days.present(), Deadline(seconds)
        if query.logs:
            return log_search(present, query, deadline, self.trace)
        if query.sort == "newest":
            return search(present, query, deadline)
        return ranked(present, query, deadline, self.summaries)

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        """One for each of those traces that are there, in the order asked for."""
        found = []
        wanted = iter(trace_ids)
        while some := list(itertools.islice(wanted, _SUMMARIES_AT_ONCE)):
            parts = self._parts(some)
            found += [summary(assembled(parts[trace_id])) for trace_id in some if trace_id in parts]
        return found

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
        calls: dict[tuple[str, str], tuple[int, int]] = {}
        rows = self._rows(
            "SELECT parent, child, sum(calls), sum(errors) FROM edge WHERE hour BETWEEN ? AND ? GROUP BY parent, child",
            *_hours(start, end),
        )
        for parent, child, count, errors in rows:
            before = calls.get((parent, child), (0, 0))
            calls[parent, child] = before[0] + count, before[1] + errors
        return [Dependency(*edge, *counts) for edge, counts in sorted(calls.items())]

    def statistics(self, start: int, end: int, service: str | None = None) -> list[OperationStatistics]:
        """How every operation (of a service) went between two Unix times in nanoseconds, to the hour."""
        sums: dict[tuple[str, str, str, str], _Sum] = {}
        if service is not None and not is_unicode(service):
            return []
        rows = self._rows(
            "SELECT s.service, s.operation, s.kind, s.system, h.spans, h.errors, h.total, h.longest, h.histogram"
            " FROM series s CROSS JOIN hour h ON h.series = s.id"
            " WHERE s.service = coalesce(?, s.service) AND h.hour BETWEEN ? AND ?",
            service,
            *_hours(start, end),
        )
        for name, operation, kind, system, *row in rows:
            sums.setdefault((name, operation, KINDS[kind], system), _Sum()).add(*row)
        return [sums[key].statistics(*key) for key in sorted(sums)]

    def volume(self) -> Volume:
        """What is there, day by day."""

        def ask(day: OpenDay, db: DayReading) -> DayVolume:
            (spans,) = db.execute("SELECT coalesce(sum(spans), 0) FROM hour").fetchone()
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

    def _parts(self, trace_ids: Sequence[bytes]) -> dict[bytes, list[TracesData]]:
        """What the chunks of each trace hold, oldest day first."""
        found: dict[bytes, list[TracesData]] = {}

        def ask(day: OpenDay, db: DayReading) -> list[tuple[bytes, TracesData]]:
            marks = ",".join("?" * len(trace_ids))
            statement = f"SELECT trace_id, body FROM chunk WHERE trace_id IN ({marks}) ORDER BY id"  # noqa: S608
            rows = db.execute(statement, trace_ids)
            unpacked = [(trace_id, db.unpack(body)) for trace_id, body in rows.fetchall()]
            return [(trace_id, part) for trace_id, part in unpacked if part is not None]

        for parts in self._ask(ask, oldest_first=True):
            for trace_id, part in parts:
                found.setdefault(trace_id, []).append(part)
        return found

    def _rows(self, statement: str, *values: str | bytes | int | None) -> Iterator[tuple[Any, ...]]:
        return itertools.chain.from_iterable(self._ask(lambda _, db: db.execute(statement, values).fetchall()))

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


class _Sum:
    """An operation's hours added up."""

    def __init__(self) -> None:
        self._calls = self._errors = self._total = self._longest = 0
        self._durations = Histogram()

    def add(self, calls: int, errors: int, total: int, longest: int, histogram: bytes) -> None:
        self._calls += calls
        self._errors += errors
        self._total += total
        self._longest = max(self._longest, longest)
        self._durations.merge([Histogram.decode(histogram)])

    def statistics(self, service: str, operation: str, kind: str, system: str) -> OperationStatistics:
        p50, p95, p99 = (min(self._durations.quantile(share), self._longest) for share in (0.5, 0.95, 0.99))
        return OperationStatistics(
            service,
            operation,
            kind,
            system,
            self._calls,
            self._errors,
            self._total,
            self._longest,
            p50,
            p95,
            p99,
            self._durations.buckets(),
        )


def _hours(start: int, end: int) -> tuple[int, int]:
    return hour_of(within_range(start)), hour_of(within_range(end))


def _has(db: DayReading, chunk: int, query: Query) -> bool:
    (body,) = db.execute("SELECT body FROM chunk WHERE id = ?", (chunk,)).fetchone()
    trace = db.unpack(body)
    return trace is not None and matching_span(trace, query) is not None
