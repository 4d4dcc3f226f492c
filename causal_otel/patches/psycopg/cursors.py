"""Server-side cursors: each is one span, from ``execute()`` to its last row, or to wherever it is left.

What asks for rows, sync or async, in one of many methods or in iterating, runs the same generators.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from causal_otel.instrument.calls import Args, Kwargs, Wrapper, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.names import CAUSAL_FETCH, CAUSAL_SERVER
from causal_otel.patches._postgresql import ERRORS
from causal_otel.patches._postgresql.cursor_span import CursorSpan
from causal_otel.patches.psycopg.operations import as_seen, place, plumbing
from causal_otel.patches.psycopg.statements import statement
from causal_otel.patches.psycopg.streams import begun
from causal_otel.patches.psycopg.transactions import Sent

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS"]

_spans: WeakKeyDictionary[Any, CursorSpan] = WeakKeyDictionary()
"""By cursor, the span that it has until it ends: a cursor has no place for anything of ours."""


def _of(cursor: Any) -> CursorSpan | None:
    """The span of a cursor, if it has one that has not ended."""
    found = _spans.get(cursor) if _spans else None
    return found if found is not None and found.is_open() else None


class _Step:
    """A call of a cursor's that its span has begun with or ends with."""

    __slots__ = ("_ends", "_span")

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, span: CursorSpan, *, ends: bool) -> None:
        self._span = span
        self._ends = ends
        span.wait(CAUSAL_SERVER)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        if self._ends or error is not None:
            self._span.end(result, error)
        else:
            self._span.wait(None)


def _execute(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``execute()``, which declares the cursor. One that is declared again is another one."""
    describe = statement(tracing.options)

    def begin(tracing: Tracing[Any], cursor: Any, args: Args, kwargs: Kwargs) -> _Step | None:
        before = _spans.pop(cursor, None)
        if before is not None:
            before.end(cursor)
        running = begun(tracing, describe(tracing, cursor, args, kwargs), cursor, args, kwargs)
        if running is None:
            return None
        if running.observation is not None:
            # The span is held as long as the cursor: if it held the cursor, both would stay for ever.
            running.observation.objects = (None, *running.observation.objects[1:])
        connection = None if getattr(cursor, "_withhold", False) else cursor._conn
        span = _spans[cursor] = CursorSpan(running, connection)
        return _Step(span, ends=False)

    return traced_call(begin)(tracing, original)


def _close(tracing: Tracing[Any], cursor: Any, args: Args, kwargs: Kwargs) -> _Step | None:
    span = _spans.pop(cursor, None)
    return _Step(span, ends=True) if span is not None and span.is_open() else None


Steps = Generator[Any, Any, Any]


def _fetched(span: CursorSpan, cursor: Any, steps: Steps, wanted: int | None, *, moves: bool) -> Steps:
    """The same steps, whose time is the span's. It ends where there are fewer rows than were asked for."""
    before = span.wait(CAUSAL_FETCH)
    try:
        rows = yield from steps
    except Exception as error:
        span.end(cursor, as_seen(error))
        raise
    finally:
        span.wait(before)
    if moves:
        span.received(0)
    else:
        span.received(len(rows))
        if wanted is None or len(rows) < wanted:
            span.end(cursor)
    return rows


def _plumbing(sent: Sent, steps: Steps) -> Steps:
    """The same steps, which are a span only if they fail or are slow."""
    try:
        result = yield from steps
    except Exception as error:
        sent.end(error=as_seen(error))
        raise
    sent.end(result)
    return result


def _asks(operation: str) -> Wrapper:
    """A wrapper for what asks the server for rows, or to move the cursor."""

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def gen(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            steps = original(self, *args, **kwargs)
            if not isinstance(steps, Generator):
                return steps
            span = _of(self)
            if span is not None:
                wanted = args[0] if args else kwargs.get("num")
                return _fetched(span, self, steps, wanted, moves=operation == "MOVE")
            if not tracing.recorded():
                return steps
            connection = getattr(self, "_conn", None)
            sent = Sent(tracing, lambda: plumbing(operation, *place(connection)), (), ERRORS)
            return _plumbing(sent, steps)

        return gen

    return wrap


TARGETS = tuple(
    wrap
    for cursor in ("ServerCursor", "AsyncServerCursor")
    for wrap in (
        Wrap("psycopg", f"{cursor}.execute", _execute),
        Wrap("psycopg", f"{cursor}.close", traced_call(_close, carries=True)),
        Wrap("psycopg", f"{cursor}._fetch_gen", _asks("FETCH"), optional=True),
        Wrap("psycopg", f"{cursor}._scroll_gen", _asks("MOVE"), optional=True),
    )
)
"""The targets. Those that are optional are private: if one is missing, the others are placed."""
