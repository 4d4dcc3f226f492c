"""A statement whose rows are read piece by piece: one span, which lasts as long as the driver was waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from causal_otel._internal import faults
from causal_otel.instrument.operation import Running
from causal_otel.instrument.stopwatch import Stopwatch
from causal_otel.names import CAUSAL_FETCH, CAUSAL_SERVER, DB_RESPONSE_RETURNED_ROWS

__all__ = ["Stream"]


class Stream:
    """A statement under way that a server-side cursor reads. It ends when the cursor is closed, fails or goes.

    Args:
        running: its span.
    """

    args: tuple[Any, ...] | None = None
    inside = None

    def __init__(self, running: Running) -> None:
        self._running: Running | None = running
        self._stopwatch = Stopwatch()
        self._rows = 0

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The statement has been sent, and ``result`` is there. From now on only reading counts."""
        self._stopwatch.pause()
        if self._running is not None:
            self._running.part(CAUSAL_SERVER, self._stopwatch.total / 1e9)
        cursor = getattr(result, "cursor", None)
        if error is None and cursor is not None:
            # What SQLAlchemy has read ahead, to learn the columns.
            self._rows = len(getattr(getattr(result, "cursor_strategy", None), "_rowbuffer", ()))
            result.cursor = _Cursor(cursor, self)
        else:
            self.over(result, error)

    def fetch(self, fetch: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Call the driver's ``fetch`` for more rows."""
        stopwatch, running = self._stopwatch, self._running
        before = stopwatch.total
        stopwatch.resume()
        failure: BaseException | None = None
        try:
            rows = fetch(*args)
            self._rows += len(rows) if isinstance(rows, list | deque) else int(rows is not None)
            return rows
        except BaseException as error:
            failure = error
            raise
        finally:
            stopwatch.pause()
            if running is not None:
                running.part(CAUSAL_FETCH, (stopwatch.total - before) / 1e9)
            if failure is not None:
                self.over(None, failure)

    def over(self, result: Any = None, error: BaseException | None = None) -> None:
        """No more is read."""
        running, self._running = self._running, None
        if running is None:
            return
        try:
            if error is None:
                running.learn({DB_RESPONSE_RETURNED_ROWS: self._rows})
            running.end(result, error, at=self._stopwatch.end_time(running.span), duration=self._stopwatch.total)
        except Exception:
            faults.report("sqlalchemy: a stream's end")


class _Cursor:
    """A DBAPI cursor, with a look at what it fetches and when it is closed."""

    def __init__(self, cursor: Any, stream: Stream) -> None:
        self.__dict__.update(_cursor=cursor, _stream=stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._cursor, name, value)

    def __iter__(self) -> Any:
        return iter(self._cursor)

    def fetchone(self, *args: Any) -> Any:
        return self._stream.fetch(self._cursor.fetchone, args)

    def fetchmany(self, *args: Any) -> Any:
        return self._stream.fetch(self._cursor.fetchmany, args)

    def fetchall(self, *args: Any) -> Any:
        return self._stream.fetch(self._cursor.fetchall, args)

    def close(self, *args: Any) -> Any:
        try:
            return self._cursor.close(*args)
        finally:
            self._stream.over()

    def __del__(self) -> None:
        with suppress(AttributeError):  # in an interpreter that ends
            self._stream.over(None, GeneratorExit())  # nobody has closed it
