"""``stream()``, whose rows come one by one, and COPY: each is one span, however it is read, written and left."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.calls import Args, Kwargs, Wrapper
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.waited_span import WaitedSpan
from causal_otel.names import CAUSAL_FETCH, CAUSAL_SERVER
from causal_otel.patches._postgresql import ERRORS
from causal_otel.patches._postgresql.cursor_span import CursorSpan
from causal_otel.patches.psycopg.operations import described, queries
from causal_otel.patches.psycopg.statements import statement

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Operation, Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS", "begun"]

_COPYING = "_causal_otel_copying"


def begun(tracing: Tracing[Any], operation: Operation | None, *objects: Any) -> Running | None:
    """Begin an operation that is no single call; None: nobody wants to know of it.

    Args:
        tracing: the handle.
        operation: which one.
        objects: the driver's own, for the hooks.
    """
    if operation is None or operation.plumbing:
        return None
    if tracing.excluded is not None and operation.fits(tracing.excluded):
        return None
    return tracing.leaf(operation, ERRORS, objects)


# -- stream() -----------------------------------------------------------------------------------------------------


def _stream(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``stream()``. Its span begins when the first row is asked for, as the driver's work does."""
    describe = statement(tracing.options)

    def begin(cursor: Any, args: Args, kwargs: Kwargs) -> CursorSpan | None:
        try:
            if tracing.wanted():
                running = begun(tracing, describe(tracing, cursor, args, kwargs), cursor, args, kwargs)
                return None if running is None else CursorSpan(running, None)
        except Exception:
            faults.report("psycopg: stream()")
        return None

    async def async_rows(cursor: Any, rows: Any, args: Args, kwargs: Kwargs) -> AsyncGenerator[Any, None]:
        reading = _Reading(cursor, begin(cursor, args, kwargs))
        try:
            while True:
                reading.waits()
                try:
                    row = await anext(rows)
                except StopAsyncIteration:
                    break
                reading.got()
                yield row
        except BaseException as error:
            reading.stops()
            await rows.aclose()
            reading.over(error)
            raise
        reading.over()

    def sync_rows(cursor: Any, rows: Any, args: Args, kwargs: Kwargs) -> Generator[Any, None, None]:
        reading = _Reading(cursor, begin(cursor, args, kwargs))
        try:
            while True:
                reading.waits()
                try:
                    row = next(rows)
                except StopIteration:
                    break
                reading.got()
                yield row
        except BaseException as error:
            reading.stops()
            rows.close()
            reading.over(error)
            raise
        reading.over()

    @functools.wraps(original)
    def stream(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        rows = original(self, *args, **kwargs)
        if isinstance(rows, AsyncGenerator | Generator) and tracing.wanted():
            return (async_rows if isinstance(rows, AsyncGenerator) else sync_rows)(self, rows, args, kwargs)
        return rows

    return stream


class _Reading:
    """A stream whose rows are read, one after another.

    Args:
        cursor: the cursor.
        span: its span; None: it has none.
    """

    __slots__ = ("_cursor", "_key", "_rows", "_span")

    def __init__(self, cursor: Any, span: CursorSpan | None) -> None:
        self._cursor = cursor
        self._span = span
        self._key = CAUSAL_SERVER
        self._rows = 0

    def waits(self) -> None:
        """The program waits for a row."""
        if self._span is not None:
            self._span.wait(self._key)

    def got(self) -> None:
        """It has one."""
        self._key = CAUSAL_FETCH
        self._rows += 1
        if self._span is not None:
            self._span.wait(None)

    def stops(self) -> None:
        """It reads no more, for which psycopg has the server cancel the statement."""
        if self._span is not None:
            self._span.wait(CAUSAL_SERVER)

    def over(self, error: BaseException | None = None) -> None:
        """The stream has ended, or failed, or was left."""
        if self._span is not None:
            self._span.received(self._rows)
            self._span.end(self._cursor, error)


# -- COPY ---------------------------------------------------------------------------------------------------------


def _copy(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``copy()``, which returns a context manager. Its span is as long as the driver is waited for.

    A block that raises fails the COPY as well: psycopg has the server cancel it.
    """
    known = queries(text=tracing.options.query_text)

    def begin(cursor: Any, args: Args, kwargs: Kwargs) -> WaitedSpan | None:
        try:
            if tracing.wanted():
                operation = described(known, cursor._conn, args[0] if args else kwargs.get("statement"))
                running = begun(tracing, operation, cursor, args, kwargs)
                return None if running is None else WaitedSpan(running)
        except Exception:
            faults.report("psycopg: COPY")
        return None

    @contextmanager
    def managed(cursor: Any, manager: Any, args: Args, kwargs: Kwargs) -> Iterator[Any]:
        copying = _Copying(begin(cursor, args, kwargs))
        try:
            with manager as copy:
                copying.entered(copy)
                try:
                    yield copy
                finally:
                    copying.leaves()
        except BaseException as error:
            copying.over(error)
            raise
        copying.over()

    @asynccontextmanager
    async def async_managed(cursor: Any, manager: Any, args: Args, kwargs: Kwargs) -> AsyncIterator[Any]:
        copying = _Copying(begin(cursor, args, kwargs))
        try:
            async with manager as copy:
                copying.entered(copy)
                try:
                    yield copy
                finally:
                    copying.leaves()
        except BaseException as error:
            copying.over(error)
            raise
        copying.over()

    @functools.wraps(original)
    def copy(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        manager = original(self, *args, **kwargs)
        is_async = isinstance(manager, AbstractAsyncContextManager)
        if (is_async or isinstance(manager, AbstractContextManager)) and tracing.wanted():
            return (async_managed if is_async else managed)(self, manager, args, kwargs)
        return manager

    return copy


class _Copying:
    """A COPY under way.

    Args:
        span: its span; None: it has none.
    """

    __slots__ = ("_span",)

    def __init__(self, span: WaitedSpan | None) -> None:
        self._span = span
        self.leaves()

    def entered(self, copy: Any) -> None:
        """The server is ready for it."""
        if self._span is not None:
            self._span.wait(None)
            setattr(copy, _COPYING, self._span)

    def leaves(self) -> None:
        """The driver is waited for."""
        if self._span is not None:
            self._span.wait(CAUSAL_SERVER)

    def over(self, error: BaseException | None = None) -> None:
        """It is done, or has failed."""
        if self._span is not None:
            self._span.end(error=error)


def _passing(key: str) -> Wrapper:
    """A wrapper for what reads or writes a piece of a COPY: the wait for it is a part of the span."""

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
                span: WaitedSpan | None = getattr(self, _COPYING, None)
                if span is None:
                    return await original(self, *args, **kwargs)
                before = span.wait(key)
                try:
                    return await original(self, *args, **kwargs)
                finally:
                    span.wait(before)

            return async_call

        @functools.wraps(original)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            span: WaitedSpan | None = getattr(self, _COPYING, None)
            if span is None:
                return original(self, *args, **kwargs)
            before = span.wait(key)
            try:
                return original(self, *args, **kwargs)
            finally:
                span.wait(before)

        return call

    return wrap


TARGETS = (
    *(
        wrap
        for cursor in ("Cursor", "AsyncCursor")
        for wrap in (
            Wrap("psycopg", f"{cursor}.stream", _stream),
            Wrap("psycopg", f"{cursor}.copy", _copy),
        )
    ),
    *(
        Wrap("psycopg", f"{copy}.{method}", _passing(key), optional=True)
        for copy in ("Copy", "AsyncCopy")
        for method, key in (
            ("read", CAUSAL_FETCH),
            ("read_row", CAUSAL_FETCH),
            ("write", CAUSAL_SERVER),
            ("write_row", CAUSAL_SERVER),
        )
    ),
)
"""The targets."""
