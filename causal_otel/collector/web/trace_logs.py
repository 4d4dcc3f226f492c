"""The log records of a trace as its page shows them: a list by time, and a mark at each span that has some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.attributes import text
from causal_otel.collector.units import clock, format_duration
from causal_otel.collector.web.templating import utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.collector.analysis import LogView, TraceLogsView, TraceView

__all__ = ["LogList", "LogMark", "LogRow", "listed", "marks", "of_span"]

_MOST = 2000
"""Records that a page shows at most."""
_MOST_OF_SPAN = 100
"""Of one span, in its details."""

_LEVELS = ("", "trace", "debug", "info", "warn", "error", "fatal")


@dataclass(frozen=True, slots=True)
class LogRow:
    """A record.

    Attributes:
        at: the time since the trace's start.
        clock: the time of day in UTC.
        time: the same to the millisecond, as HTML writes times.
        level: how bad it is.
        label: that, as it was sent.
        service: its service; empty in the details of a span, which say it.
        logger: the logger's name.
        said: its text.
        attributes: as text.
        span_id: of the span that it was logged in, if that is here; else empty.
        span: that one's name.
    """

    at: str
    clock: str
    time: str
    level: str
    label: str
    service: str
    logger: str
    said: str
    attributes: tuple[tuple[str, str], ...]
    span_id: str = ""
    span: str = ""


@dataclass(frozen=True, slots=True)
class LogList:
    """Some records, and how many more belong there."""

    rows: tuple[LogRow, ...]
    more: int


@dataclass(frozen=True, slots=True)
class LogMark:
    """How many records a span has, and the worst of their levels."""

    count: int
    level: str


def marks(logs: TraceLogsView) -> dict[str, LogMark]:
    """The mark of each span that has records, by its id."""
    return {
        span_id: LogMark(len(records), max((record.level for record in records), key=_LEVELS.index))
        for span_id, records in logs.by_span.items()
    }


def listed(logs: TraceLogsView, trace: TraceView | None = None, of: str = "") -> LogList:
    """All records by time, or those of one span.

    Args:
        logs: the records.
        trace: whose they are; None: it has no spans, and times are from the first record on.
        of: the id of the span; empty: all.
    """
    records: Sequence[LogView] = logs.by_span.get(of, ()) if of else logs.records
    start = trace.start if trace is not None else records[0].time if records else 0
    rows = []
    for record in records[:_MOST]:
        span = trace.span(record.span_id) if trace is not None else None
        here = (span.span_id, span.name) if span is not None else ("", "")
        rows.append(_row(record, start, record.service, *here))
    return LogList(tuple(rows), max(0, len(records) - _MOST) + (0 if of else logs.left_out))


def of_span(logs: TraceLogsView, span_id: str, start: int) -> LogList:
    """The records of a span for its details, whose times are from ``start`` on."""
    records = logs.by_span.get(span_id, ())
    rows = tuple(_row(record, start, "") for record in records[:_MOST_OF_SPAN])
    return LogList(rows, max(0, len(records) - _MOST_OF_SPAN))


def _row(record: LogView, start: int, service: str, span_id: str = "", span: str = "") -> LogRow:
    return LogRow(
        at=format_duration(record.time - start),
        clock=clock(record.time),
        time=f"{utc(record.time, '%Y-%m-%dT%H:%M:%S')}.{record.time // 10**6 % 1000:03}Z",
        level=record.level,
        label=record.label,
        service=service,
        logger=record.logger,
        said=record.said,
        attributes=tuple(sorted((key, text(value)) for key, value in record.attributes.items())),
        span_id=span_id,
        span=span,
    )
