"""The log records of a trace as they are shown: in order, each with its span, level, logger and text."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from causal_otel.collector.attributes import plain, plain_dict, service_name, text

if TYPE_CHECKING:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    from causal_otel.collector.query import TraceLogs
    from causal_otel.collector.view import TraceView

__all__ = ["LogView", "TraceLogsView", "log_views"]

_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


@dataclass(frozen=True, slots=True)
class LogView:
    """A log record.

    Attributes:
        time: when it was logged, Unix time in nanoseconds.
        level: ``trace``, ``debug``, ``info``, ``warn``, ``error`` or ``fatal``; empty: it does not say.
        label: the level as it was sent, or ``level`` in capitals.
        logger: the logger's name.
        said: its body as text.
        span_id: of the span that it was logged in, in hexadecimal; empty: none.
        service: its service's name.
        attributes: as plain values.
    """

    time: int
    level: str
    label: str
    logger: str
    said: str
    span_id: str
    service: str
    attributes: dict[str, Any]

    def haystack(self) -> str:
        """All of it that can be found in it."""
        found = [self.label, self.logger, self.said, *(f"{key}={text(each)}" for key, each in self.attributes.items())]
        return "\n".join(found)


@dataclass(frozen=True, slots=True)
class TraceLogsView:
    """The log records of a trace.

    Attributes:
        records: by their time.
        by_span: those of each span of the trace, by its id.
        elsewhere: those whose span is not there.
        left_out: how many more there are, which are too many to be shown.
    """

    records: tuple[LogView, ...] = ()
    by_span: dict[str, list[LogView]] = field(default_factory=dict)
    elsewhere: tuple[LogView, ...] = ()
    left_out: int = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.records) + self.left_out


def log_views(found: TraceLogs | None, trace: TraceView | None = None) -> TraceLogsView:
    """Put log records in order.

    Args:
        found: the records; None: there are none.
        trace: the spans that they may belong to; None: there are none.
    """
    if found is None:
        return TraceLogsView()
    views = [
        _view(record, scoped.scope.name, service_name(group.resource))
        for group in found.message.resource_logs
        for scoped in group.scope_logs
        for record in scoped.log_records
    ]
    views.sort(key=lambda view: view.time)
    by_span: defaultdict[str, list[LogView]] = defaultdict(list)
    elsewhere: list[LogView] = []
    for view in views:
        here = trace is not None and trace.span(view.span_id) is not None
        (by_span[view.span_id] if here else elsewhere).append(view)
    return TraceLogsView(tuple(views), dict(by_span), tuple(elsewhere), found.left_out)


def _view(record: LogRecord, logger: str, service: str) -> LogView:
    level = _level(record.severity_number)
    return LogView(
        time=record.time_unix_nano or record.observed_time_unix_nano,
        level=level,
        label=record.severity_text or level.upper(),
        logger=logger,
        said=text(plain(record.body)),
        span_id=record.span_id.hex(),
        service=service,
        attributes=plain_dict(record.attributes),
    )


def _level(severity: int) -> str:
    return _LEVELS[(severity - 1) // 4] if 0 < severity <= 4 * len(_LEVELS) else ""
