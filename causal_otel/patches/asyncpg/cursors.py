"""Cursors: each is one span, however it is read and left, and its rows are none.

A cursor has no place for anything of ours, but keeps its arguments as long as it lives. So they are replaced by a tuple
that is the same and knows the span, which thus ends with the cursor at the latest.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.query_parameters import query_parameters
from causal_otel.names import CAUSAL_FETCH, CAUSAL_SERVER
from causal_otel.patches._postgresql.cursor_span import CursorSpan
from causal_otel.patches.asyncpg.operations import ERRORS, endpoint, plumbing
from causal_otel.patches.asyncpg.refused import if_refused, refused
from causal_otel.patches.asyncpg.statements import of_statement, query_of_connection
from causal_otel.patches.asyncpg.under_way import hooks_around

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.calls import Args, Describe, Kwargs, Wrapper
    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS"]


class _Arguments(tuple[Any, ...]):  # noqa: SLOT001  # a tuple can have no slots
    """The arguments of a cursor, with its span; None: it has none, as nobody wanted to know of it."""

    span: CursorSpan | None = None


class _CursorSpan(CursorSpan):
    """The span of a cursor, which its arguments hold."""

    __slots__ = ()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It has been read, has failed, or is left. ``result`` is the cursor."""
        failed = error is not None and result is not None and self.is_open()
        super().end(result, error)
        if failed:
            result._args = tuple(result._args)  # should it be read on, that is another span


def _statement(tracing: Tracing[Any], cursor: Any, args: Args, kwargs: Kwargs) -> Operation | None:
    return of_statement(tracing.options)(tracing, cursor, args, kwargs)


def _move(tracing: Tracing[Any], cursor: Any, args: Args, kwargs: Kwargs) -> Operation | None:
    return plumbing("MOVE", *endpoint(getattr(cursor, "_connection", None)))


def _span(cursor: Any) -> CursorSpan | None:
    """The span of a cursor, if it has one that has not ended."""
    found: CursorSpan | None = getattr(getattr(cursor, "_args", None), "span", None)
    return found if found is not None and found.is_open() else None


def _begin(tracing: Tracing[Any], cursor: Any) -> CursorSpan | None:
    """Begin the span of a cursor, if anybody wants to know of it."""
    try:
        arguments = _Arguments(cursor._args)
        cursor._args = arguments
    except AttributeError:  # of a version with other private attributes
        return None
    try:
        if tracing.wanted() and hooks_around() is None:
            arguments.span = _started(tracing, cursor, arguments)
    except Exception:
        faults.report("asyncpg: a cursor")
    return arguments.span


def _started(tracing: Tracing[Any], cursor: Any, arguments: Args) -> CursorSpan | None:
    operation = _statement(tracing, cursor, (), {})
    if operation is None or (tracing.excluded is not None and operation.fits(tracing.excluded)):
        return None
    if tracing.options.parameters and arguments:
        operation = operation.of_this_call(query_parameters(tracing, enumerate(arguments)))
    running = tracing.leaf(operation, ERRORS, (cursor, tuple(arguments), {}))
    if running is None:
        return None
    if running.observation is not None:
        # The cursor holds its span: if that held the cursor, it would be a cycle and end whenever Python collects it.
        running.observation.objects = (None, *running.observation.objects[1:])
    return _CursorSpan(running, cursor._connection)


def _failed(
    tracing: Tracing[Any],
    describe: Describe,
    cursor: Any,
    span: CursorSpan | None,
    error: BaseException,
) -> None:
    """A call of a cursor, which had ``span`` when it began, has failed."""
    if span is not None and span.is_open():
        span.end(cursor, error)
    elif span is None or span.error is not error:
        refused(tracing, describe, cursor, (), {}, error)


def _next(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For an iterator's ``__anext__``, which is called for each row and prepares the statement when first called."""

    async def first(self: Any, *args: Any) -> Any:
        span = _begin(tracing, self)
        if span is not None:
            span.wait(CAUSAL_SERVER)
        try:
            row = await original(self, *args)
        except StopAsyncIteration:
            if span is not None:
                span.end(self)
            raise
        except BaseException as error:
            _failed(tracing, _statement, self, span, error)
            raise
        if span is not None:
            span.wait(None)
        return row

    @functools.wraps(original)
    def __anext__(self: Any, /, *args: Any) -> Any:
        begun = type(getattr(self, "_args", None))
        if begun is tuple:
            return first(self, *args)
        try:
            return original(self, *args)
        except Exception as error:
            _failed(tracing, _statement, self, _span(self), error)
            raise

    return __anext__


def _init(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For what is awaited to open a cursor that is no iterator: it prepares and binds the statement."""

    @functools.wraps(original)
    async def init(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        span = _begin(tracing, self)
        if span is not None:
            span.wait(CAUSAL_SERVER)
        try:
            result = await original(self, *args, **kwargs)
        except BaseException as error:
            _failed(tracing, _statement, self, span, error)
            raise
        if span is not None:
            span.wait(None)
        return result

    return init


def _fetched(*, ends: bool = False) -> Wrapper:
    """For what asks the server for rows, or (``ends``) closes the cursor when there are no more."""

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            span = _span(self)
            if span is None:
                return await original(self, *args, **kwargs)
            before = span.wait(CAUSAL_FETCH)
            try:
                rows = await original(self, *args, **kwargs)
            except BaseException as error:
                span.end(self, error)
                raise
            if ends:
                span.end(self)
            else:
                span.received(len(rows))
                span.wait(before)
            return rows

        return call

    return wrap


def _read(describe: Describe, *, moves: bool = False) -> Wrapper:
    """For the methods of a cursor that is no iterator."""

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        async def read(self: Any, span: CursorSpan | None, awaited: Any) -> Any:
            if moves and span is not None:
                span.wait(CAUSAL_FETCH)
            try:
                result = await awaited
            except BaseException as error:
                _failed(tracing, describe, self, span, error)
                raise
            if span is not None:
                if moves:
                    span.received(0)
                span.wait(None)
                if self._exhausted:
                    span.end(self)
            return result

        @functools.wraps(original)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            begun = getattr(self, "_args", None)
            if begun is None:
                return original(self, *args, **kwargs)
            span = _begin(tracing, self) if type(begun) is tuple else _span(self)
            try:
                awaited = original(self, *args, **kwargs)
            except Exception as error:
                _failed(tracing, describe, self, span, error)
                raise
            return read(self, span, awaited)

        return call

    return wrap


_CURSOR = "asyncpg.cursor"

TARGETS = (
    Wrap("asyncpg.connection", "Connection.cursor", if_refused(query_of_connection)),
    Wrap("asyncpg.prepared_stmt", "PreparedStatement.cursor", if_refused(_statement)),
    Wrap(_CURSOR, "CursorFactory.__aiter__", if_refused(_statement)),
    Wrap(_CURSOR, "CursorFactory.__await__", if_refused(_statement)),
    Wrap(_CURSOR, "CursorIterator.__anext__", _next),
    Wrap(_CURSOR, "Cursor._init", _init),
    Wrap(_CURSOR, "BaseCursor._bind_exec", _fetched()),
    Wrap(_CURSOR, "BaseCursor._exec", _fetched()),
    Wrap(_CURSOR, "BaseCursor._close_portal", _fetched(ends=True)),
    Wrap(_CURSOR, "Cursor.fetch", _read(_statement)),
    Wrap(_CURSOR, "Cursor.fetchrow", _read(_statement)),
    Wrap(_CURSOR, "Cursor.forward", _read(_move, moves=True)),
)
"""The targets."""
