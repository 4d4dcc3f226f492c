"""The provider that the instrumentors are given, where it is ours: their spans get out as those of our patches do.

What the engine does for every span it does for theirs: sampling, limits, redaction, counts. Two things more are done at
the end of one, because an instrumentor records what our patches never do: statements lose their literals, and what is
sent to another process or a database fails without the message of its error, which repeats values.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode

from causal_otel._internal import faults
from causal_otel.engine.current_span import CurrentSpan
from causal_otel.engine.span import Span
from causal_otel.engine.tracer import Tracer
from causal_otel.names import DB_QUERY_SUMMARY, DB_QUERY_TEXT, DB_SYSTEM_NAME, ERROR_TYPE
from causal_otel.statements import sql

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link
    from opentelemetry.util.types import Attributes

    from causal_otel.engine.exceptions import CapturedException
    from causal_otel.engine.local_trace import LocalTrace
    from causal_otel.engine.provider import TracerProvider

__all__ = ["InstrumentorProvider"]

_OLD_TEXT, _OLD_SYSTEM = "db.statement", "db.system"
_DIALECTS = {"mariadb": sql.MYSQL, "mysql": sql.MYSQL, "postgresql": sql.POSTGRESQL}
_CALLS = (SpanKind.CLIENT, SpanKind.PRODUCER)


class InstrumentorProvider(trace.TracerProvider):
    """Makes the tracers of the instrumentors.

    What an instrumentor has wrapped, such as an open connection, keeps its tracer when it is undone. So there is a
    switch: once it is off, their tracers record nothing.

    Args:
        provider: ours.

    Attributes:
        active: the switch.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self.core = provider.core
        self.active = True
        self._tracers: dict[InstrumentationScope, InstrumentorTracer] = {}

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """The tracer of an instrumentation scope; the same one each time it is asked for."""
        scope = InstrumentationScope(
            instrumenting_module_name, instrumenting_library_version or "", schema_url, attributes
        )
        return self._tracers.get(scope) or self._tracers.setdefault(scope, InstrumentorTracer(self, scope))


class InstrumentorTracer(Tracer):
    """Makes the spans of one instrumentor."""

    def __init__(self, provider: InstrumentorProvider, scope: InstrumentationScope) -> None:
        super().__init__(provider.core, scope)
        self._provider = provider
        self._sqlite = scope.name.endswith(".sqlite3")

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span without making it current; none where nothing is to be recorded."""
        start = super().start_span if self._records() else _NOTHING.start_span
        return start(name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        """A context manager, or a decorator; of no span where nothing is to be recorded."""
        if not self._records():
            return _NOTHING.start_as_current_span(*args, **kwargs)
        span = super().start_as_current_span(*args, **kwargs)
        span.__class__ = _CurrentSpan
        return span

    def _records(self) -> bool:
        return self._provider.active and not (self._sqlite and _works_for_aiosqlite())

    def _make(self, name: str, kind: SpanKind, local: LocalTrace, parent: trace.SpanContext | None) -> Span:
        span = super()._make(name, kind, local, parent)
        span.__class__ = _Span
        return span


_NOTHING = trace.NoOpTracer()


def _works_for_aiosqlite() -> bool:
    """Whether this thread executes the statements of an aiosqlite connection.

    Its context is that of the task that has opened the connection, whoever issues a statement: each would be a child of
    a span that it has nothing to do with.
    """
    thread = threading.current_thread()
    target = getattr(thread, "_target", None)  # of the thread; in aiosqlite before 0.22 the connection is the thread
    return str(getattr(target, "__module__", None) or type(thread).__module__).startswith("aiosqlite")


class _Span(Span):
    __slots__ = ()

    def end(self, end_time: int | None = None) -> None:
        _finish(self)
        super().end(end_time)


class _CurrentSpan(CurrentSpan):
    __slots__ = ()

    def end(self, end_time: int | None = None) -> None:
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
