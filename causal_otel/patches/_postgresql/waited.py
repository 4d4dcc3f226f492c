"""Spans that last as long as the driver is waited for: of a cursor, a stream, COPY, a pipeline.

How long the program works on the rows says nothing about the server, so that is not in them: see
:mod:`causal_otel.instrument.stopwatch`.
"""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from causal_otel._internal import faults
from causal_otel.instrument.stopwatch import Stopwatch
from causal_otel.names import CAUSAL_FETCH, CAUSAL_ROUND_TRIPS, CAUSAL_SERVER, DB_RESPONSE_RETURNED_ROWS

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Running

__all__ = ["CursorSpan", "WaitedSpan", "end_cursors"]


class WaitedSpan:
    """A span that lasts as long as the driver is waited for. It ends once, at the latest when nobody has it any more.

    Args:
        running: its operation.
    """

    __slots__ = ("__weakref__", "_key", "_running", "_since", "_spent", "_stopwatch")

    def __init__(self, running: Running) -> None:
        self._running: Running | None = running
        self._stopwatch = Stopwatch()
        self._key: str | None = None
        self._spent = {CAUSAL_SERVER: 0, CAUSAL_FETCH: 0}
        self._since = 0

    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self._running is not None

    def wait(self, key: str | None) -> str | None:
        """The program waits for something else from now on; None: not for the driver. Returns what it waited for."""
        now, before = perf_counter_ns(), self._key
        if before is not None:
            self._spent[before] += now - self._since
        self._key, self._since = key, now
        return before

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over, has failed, or is left (``GeneratorExit``)."""
        self.wait(None)
        running, self._running = self._running, None
        if running is None:
            return
        self._stopwatch.total = total = sum(self._spent.values())
        for key, spent in self._spent.items():
            running.part(key, spent / 1e9)
        result = self._ending(running, result, error)
        running.end(result, error, at=self._stopwatch.end_time(running.span), duration=total)

    def _ending(self, running: Running, result: Any, error: BaseException | None) -> Any:
        """What is to be told before it ends. Returns its result."""
        return result

    def __del__(self) -> None:
        try:
            self.end(error=GeneratorExit())
        except Exception:
            faults.report("postgresql: a span that nobody has any more")


class CursorSpan(WaitedSpan):
    """The one span of a cursor, from the call that opens it to its last row, or to wherever it is left.

    Args:
        running: its operation.
        connection: the cursor's, with whose transaction it ends; None: it does not.

    Attributes:
        error: what it ended with, if it failed.
    """

    __slots__ = ("_round_trips", "_rows", "error")

    def __init__(self, running: Running, connection: Any) -> None:
        super().__init__(running)
        self._rows = self._round_trips = 0
        self.error: BaseException | None = None
        with suppress(TypeError):  # of a class of the user's that cannot be a key: it ends with the cursor, then
            _open.setdefault(connection, WeakSet()).add(self)

    def received(self, rows: int) -> None:
        """The server has answered, with so many rows."""
        self._rows += rows
        self._round_trips += 1

    def _ending(self, running: Running, result: Any, error: BaseException | None) -> int:
        self.error = error
        learned: dict[str, Any] = {CAUSAL_ROUND_TRIPS: self._round_trips}
        if error is not None:
            learned[DB_RESPONSE_RETURNED_ROWS] = self._rows
        running.span.set_attributes(learned)
        observation = running.observation
        if observation is not None:
            observation.objects = (result, *observation.objects[1:])
        running.rows = int
        return self._rows


_open: WeakKeyDictionary[Any, WeakSet[CursorSpan]] = WeakKeyDictionary()
"""The cursors of each connection that are being read. A connection is used by one thread, and only adds its own."""


def end_cursors(connection: Any) -> None:
    """The transaction is over, and with it all cursors of the connection."""
    if not _open:
        return
    try:
        cursors = _open.pop(connection, None)
    except TypeError:
        return
    for cursor in list(cursors or ()):
        cursor.end()
