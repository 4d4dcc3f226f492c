"""The log records of a trace as its page shows them: under their spans, by time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.attributes import text
from causal_otel.collector.units import clock, format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.collector.analysis import LogView, TraceLogsView

__all__ = ["LogList", "LogRow", "PlacedLogs", "placed"]

_MOST = 2000
"""Records that a page shows at most."""
_MOST_OF_SPAN = 100
"""Of one span."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """A record: ``at`` is the time since the trace's start, ``clock`` the time of day in UTC.

    ``service`` is empty under a span, whose row has it.
    """

    at: str
    clock: str
    level: str
    label: str
    service: str
    logger: str
    said: str
    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LogList:
    """Some records, and how many more belong there."""

    rows: tuple[LogRow, ...]
    more: int


@dataclass(frozen=True, slots=True)
class PlacedLogs:
    """The records of a trace.

    Attributes:
        by_span: those of each span, by its id.
        elsewhere: those whose span is not here.
        count: how many there are in all.
    """

    by_span: dict[str, LogList]
    elsewhere: LogList
    count: int


def placed(logs: TraceLogsView, start: int) -> PlacedLogs:
    """Lay out the records of a trace.

    Args:
        logs: the records.
        start: when the trace starts, Unix time in nanoseconds.
    """
    room = _MOST
    lists: dict[str, LogList] = {}
    for span_id, records in [*logs.by_span.items(), ("", logs.elsewhere)]:
        lists[span_id] = _listed(records, start, min(room, _MOST_OF_SPAN), placed=bool(span_id))
        room -= len(lists[span_id].rows)
    elsewhere = lists.pop("")
    return PlacedLogs(lists, LogList(elsewhere.rows, elsewhere.more + logs.left_out), logs.count)


def _listed(records: Sequence[LogView], start: int, most: int, *, placed: bool) -> LogList:
    rows = tuple(_row(record, start, "" if placed else record.service) for record in records[:most])
    return LogList(rows, max(0, len(records) - most))


def _row(record: LogView, start: int, service: str) -> LogRow:
    return LogRow(
        at=format_duration(record.time - start),
        clock=clock(record.time),
        level=record.level,
        label=record.label,
        service=service,
        logger=record.logger,
        said=record.said,
        attributes=tuple(sorted((key, text(value)) for key, value in record.attributes.items())),
    )
