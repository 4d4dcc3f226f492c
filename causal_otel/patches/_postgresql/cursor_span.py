"""The one span of a cursor, from the call that opens it to its last row, or to wherever it is left."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from causal_otel.instrument.waited_span import WaitedSpan
from causal_otel.names import CAUSAL_ROUND_TRIPS, DB_RESPONSE_RETURNED_ROWS

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Running

__all__ = ["CursorSpan", "end_cursors"]


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
