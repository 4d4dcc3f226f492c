"""The spans of instrumentors: the engine's, and two things are done at the end of one.

An instrumentor records what our patches never do. So statements lose their literals, and what is sent to another
process or a database fails without the message of its error, which repeats values.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, StatusCode

from causal_otel._internal import faults
from causal_otel.engine.current_span import CurrentSpan
from causal_otel.engine.span import Span
from causal_otel.names import DB_QUERY_SUMMARY, DB_QUERY_TEXT, DB_SYSTEM_NAME, ERROR_TYPE
from causal_otel.statements import sql

if TYPE_CHECKING:
    from causal_otel.engine.exceptions import CapturedException

__all__ = ["InstrumentorCurrentSpan", "InstrumentorSpan"]

_OLD_TEXT, _OLD_SYSTEM = "db.statement", "db.system"
_DIALECTS = {"mariadb": sql.MYSQL, "mysql": sql.MYSQL, "postgresql": sql.POSTGRESQL}
_CALLS = (SpanKind.CLIENT, SpanKind.PRODUCER)


class InstrumentorSpan(Span):
    """A span that is not made current by its tracer."""

    __slots__ = ()

    def end(self, end_time: int | None = None) -> None:
        """End it, without what no patch of ours would record."""
        _finish(self)
        super().end(end_time)


class InstrumentorCurrentSpan(CurrentSpan):
    """A span that is current inside its block."""

    __slots__ = ()

    def end(self, end_time: int | None = None) -> None:
        """End it, without what no patch of ours would record."""
        _finish(self)
        super().end(end_time)


def _finish(span: Span) -> None:
    """Take out of a span what no patch of ours would record, just before it ends."""
    if span._end:
        return
    try:
        values = span._attributes
        if values:
            _sanitise(values)
        if span._status == StatusCode.ERROR.value:
            _tell_failure(span, messages=span._kind not in _CALLS)
    except Exception:
        faults.report("instrumentors: a span")
        span._attributes = span._events = span._description = None


def _sanitise(values: dict[str, Any]) -> None:
    for key in (DB_QUERY_TEXT, _OLD_TEXT):
        text = values.get(key)
        if isinstance(text, str):
            system = str(values.get(DB_SYSTEM_NAME) or values.get(_OLD_SYSTEM))
            described = _describe(text[: sql.MAX_TEXT + 1], _DIALECTS.get(system, sql.GENERIC))
            values[key] = described.text
            if described.summary and key == DB_QUERY_TEXT:
                values.setdefault(DB_QUERY_SUMMARY, described.summary)


@functools.lru_cache(1024)
def _describe(text: str, dialect: sql.Dialect) -> sql.Statement:
    return sql.describe(text, dialect)


def _tell_failure(span: Span, *, messages: bool) -> None:
    """Tell by ``error.type`` how it has failed; and by the exception's message as well, if so asked."""
    events = span._events or []
    for at, (name, timestamp, attributes, exception) in enumerate(events):
        if exception is None:
            continue
        if ERROR_TYPE not in (span._attributes or {}):
            span.set_attribute(ERROR_TYPE, exception.kind)
        if not messages:
            events[at] = (name, timestamp, attributes, _without_message(exception))
    if not messages:
        span._description = None


def _without_message(exception: CapturedException) -> CapturedException:
    before = None if exception.before is None else _without_message(exception.before)
    return exception._replace(message="", before=before)
