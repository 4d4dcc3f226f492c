"""Figures by the minute: the store keeps sums by the hour, so of a short time the spans themselves are read."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.figures import MeasureSum, Selected, Series, SeriesSum
from causal_otel.collector.store.below import below
from causal_otel.collector.store.hours import HourOfSeries
from causal_otel.collector.store.incoming import Piece, SpanParser, pieces
from causal_otel.collector.store.measures import Measure, MeasureOfHour
from causal_otel.collector.trends.window import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.figures import CallSum, Step, Sums
    from causal_otel.collector.query import Query, TraceReader
    from causal_otel.collector.store.incoming import Observation

__all__ = ["Minutes", "minutes"]

_MOST_TRACES = 50_000
_AT_ONCE = 20
_WIDTHS: dict[Step, int] = {"minute": MINUTE, "hour": HOUR, "day": DAY}


class _Told(NamedTuple):
    """What a span has told, or those below it have."""

    series: Series
    start: int
    trace: bytes
    measure: Measure


class Minutes:
    """The sums of some spans by any step, times to the nanosecond; who called whom is known as well as the store does.

    Made by :func:`minutes`.

    Args:
        complete_since: from which Unix time in nanoseconds on all spans were read.
        days: what knows the calls, which are counted by the day.
    """

    def __init__(self, complete_since: int, days: Sums) -> None:
        self.complete_since = complete_since
        self._days = days
        self._seen: list[tuple[Series, Observation]] = []
        self._told: list[_Told] = []

    def add(self, trace: TracesData, parser: SpanParser, query: Query) -> int:
        """Count a trace; returns when the last of its spans starts that satisfies ``query``, Unix time in nanoseconds.

        It is taken apart as it is when it comes to the store, so that figures agree.
        """
        into: dict[bytes, Piece] = {}
        pieces(trace.SerializeToString(), into, parser)
        observations = [each for piece in into.values() for each in piece.observations]
        series = {each.series: _series(each) for each in observations}
        self._seen += [(series[each.series], each) for each in observations]
        told = [(each, measure) for each in observations for measure in each.measures]
        trace_id = next((piece.trace_id for piece in into.values()), b"")
        told += [(entry, Measure(key, label, value)) for entry, key, label, value in below(observations)]
        for each, measure in told:
            self._told.append(_Told(series[each.series], each.start, trace_id, measure))
        wanted = Selected(query.service, query.operation, query.kind, query.system)
        return max(
            (
                each.start
                for each in observations
                if query.start <= each.start <= query.end and wanted.includes(series[each.series])
            ),
            default=query.end,
        )

    def series(self, selected: Selected, start: int, end: int, step: Step) -> list[SeriesSum]:
        """How series went, see :meth:`~causal_otel.collector.figures.Sums.series`."""
        found: dict[tuple[Series, int], HourOfSeries] = {}
        for series, each in self._seen:
            if start <= each.start <= end and selected.includes(series):
                sums = found.setdefault((series, _at(each.start, step)), HourOfSeries())
                sums.add(each.duration, each.bucket, each.error)
        return [
            SeriesSum(*key, each.spans, each.errors, each.total, each.longest, each.histogram, each.failures)
            for key, each in sorted(found.items(), key=lambda item: item[0])
        ]

    def measures(
        self, selected: Selected, start: int, end: int, step: Step, keys: Collection[str] = ()
    ) -> list[MeasureSum]:
        """What the spans of series told of themselves, likewise."""
        found: dict[tuple[Series, int, str, str], MeasureOfHour] = {}
        for series, at, trace_id, (key, label, value) in self._told:
            if start <= at <= end and (not keys or key in keys) and selected.includes(series):
                found.setdefault((series, _at(at, step), key, label), MeasureOfHour()).add(value, trace_id)
        return [
            MeasureSum(*key, each.spans, each.total, each.largest, each.trace)
            for key, each in sorted(found.items(), key=lambda item: item[0])
        ]

    @property
    def since(self) -> int:
        """Calls of what started before this Unix time in nanoseconds were not all read; 0: they were."""
        return self._days.since

    def calls(self, parent: Selected, child: Selected, start: int, end: int) -> list[CallSum]:
        """Which series called which on the UTC days of a time."""
        return self._days.calls(parent, child, start, end)


def minutes(reader: TraceReader, query: Query, *, seconds: float = 0.75) -> Minutes:
    """Read the spans that satisfy a query of a service, its operation or what else series are told apart by.

    Args:
        reader: of traces.
        query: which spans, and of which time.
        seconds: for about so long; the newest are read first.
    """
    until = time.monotonic() + seconds
    found = reader.search(replace(query, limit=_MOST_TRACES, sort="newest"), seconds=seconds / 2)
    made, parser = Minutes(query.start, reader), SpanParser()
    reached = query.end
    for place in range(0, len(found.trace_ids), _AT_ONCE):
        if time.monotonic() > until:
            break
        for trace in reader.traces(found.trace_ids[place : place + _AT_ONCE]):
            reached = min(reached, made.add(trace, parser, query))
    else:
        if found.complete and len(found.trace_ids) < _MOST_TRACES:
            return made
    # Traces come in the order of the matching span that starts last: of those that are left all start before.
    made.complete_since = reached + 1
    return made


def _series(observation: Observation) -> Series:
    key = observation.series.key
    return Series(key.service, key.operation, KINDS[key.kind], key.system, key.version, bool(key.root))


def _at(start: int, step: Step) -> int:
    return 0 if step == "all" else start // _WIDTHS[step] * _WIDTHS[step]
