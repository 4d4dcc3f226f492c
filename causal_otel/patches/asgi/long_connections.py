"""Websockets and streamed responses: what is counted of them, and that they show up before they end.

Nothing is exported of a span before it ends, which may be hours away. So a connection that stays open is told of by
spans below its own, one for each interval, which cover it and say how many messages and bytes there were.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import Any

from causal_otel._internal import faults, process
from causal_otel.names import (
    CAUSAL_BYTES_RECEIVED,
    CAUSAL_BYTES_SENT,
    CAUSAL_MESSAGES_RECEIVED,
    CAUSAL_MESSAGES_SENT,
    CAUSAL_WEBSOCKET_CLOSE_CODE,
    CAUSAL_WEBSOCKET_CLOSED_BY,
)
from causal_otel.patches.asgi.protocol import Message, Receive

__all__ = ["FIRST", "OpenConnection", "Websocket", "watch"]

FIRST = 10.0
"""Seconds after which a connection is told of for the first time, if the interval is not shorter."""

Tell = Callable[[dict[str, Any]], bool]
"""Makes a span of the time since the one before, with these attributes; False: the connection is over."""

_NO_CODE = 1005
_RESTART = 1012  # sent by servers that shut down
# Of these an application is not told who has sent them, or whether anybody has: 1005 and 1006 stand for a connection
# that was lost, too, the others for a fault that either side has found.
_ANYBODYS = frozenset({1002, _NO_CODE, 1006, 1007, 1009, 1010, 1011})
_FAILURES = frozenset({1011, 1013, 1014})
"""Codes with which a server says that it has failed: internal error, try again later, bad gateway."""


class OpenConnection:
    """What has gone over a connection: the chunks of a streamed response."""

    def __init__(self) -> None:
        self.messages_sent = self.bytes_sent = 0
        self._told: dict[str, int] = {}
        self._tell: Tell | None = None

    def opened(self, tell: Tell, interval: float | None) -> None:
        """It is open from now on; ``tell`` is called after each interval, in another thread."""
        if interval is not None:
            self._tell = tell
            watch.add(self, min(FIRST, interval), interval)

    def sent(self, size: int) -> None:
        """A message, or a chunk, has been sent."""
        self.messages_sent += 1
        self.bytes_sent += size

    def counts(self) -> dict[str, int]:
        """What has gone over it until now."""
        return {CAUSAL_MESSAGES_SENT: self.messages_sent, CAUSAL_BYTES_SENT: self.bytes_sent}

    def progress(self) -> bool:
        """Tell of the time since this was called before; False: it is over."""
        tell = self._tell
        if tell is None:
            return False
        before, self._told = self._told, self.counts()
        return tell({key: number - before.get(key, 0) for key, number in self._told.items()})

    def closed(self) -> None:
        """It is over."""
        self._tell = None


class Websocket(OpenConnection):
    """What has gone over a websocket, and how it was closed.

    Attributes:
        code: the close code (RFC 6455, 7.4); None: it is not known.
        closed_by: ``server`` or ``client``; None: it is not known, as where the connection was lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages_received = self.bytes_received = 0
        self.code: int | None = None
        self.closed_by: str | None = None

    def counts(self) -> dict[str, int]:
        """What has gone over it until now."""
        return {
            CAUSAL_MESSAGES_RECEIVED: self.messages_received,
            CAUSAL_MESSAGES_SENT: self.messages_sent,
            CAUSAL_BYTES_RECEIVED: self.bytes_received,
            CAUSAL_BYTES_SENT: self.bytes_sent,
        }

    def ending(self) -> dict[str, Any]:
        """How it was closed."""
        found = {CAUSAL_WEBSOCKET_CLOSE_CODE: self.code, CAUSAL_WEBSOCKET_CLOSED_BY: self.closed_by}
        return {key: value for key, value in found.items() if value is not None}

    def failure(self) -> str | None:
        """The code with which the application has said that it failed; None: it has not."""
        return str(self.code) if self.closed_by == "server" and self.code in _FAILURES else None

    def receives(self, receive: Receive) -> Receive:
        """``receive``, with what comes counted."""

        async def receive_() -> Message:
            message = await receive()
            try:
                self._arrived(message)
            except Exception:
                faults.report("asgi: websocket")
            return message

        return receive_

    def _arrived(self, message: Message) -> None:
        if message["type"] == "websocket.receive":
            self.messages_received += 1
            self.bytes_received += _size(message)
        elif message["type"] == "websocket.disconnect" and self.code is None:
            self.code = message.get("code") or _NO_CODE
            if self.code not in _ANYBODYS:
                self.closed_by = "server" if self.code == _RESTART else "client"

    def left(self, message: Message) -> None:
        """``message`` has been sent."""
        if message["type"] == "websocket.send":
            self.sent(_size(message))
        elif message["type"] == "websocket.close" and self.code is None:
            self.code = message.get("code") or 1000
            self.closed_by = "server"


def _size(message: Message) -> int:
    """The bytes of a message's payload."""
    data = message.get("bytes")
    if data is not None:
        return len(data)
    text: str = message.get("text") or ""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class _Watch:
    """Asks open connections for their progress when it is time: one thread for all, which ends where there are none.

    A thread, because a timer of an event loop's is asyncio's or trio's, and late where the loop is blocked.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self.renew()
        process.at_fork(in_child=self.renew)

    def renew(self) -> None:
        """Begin anew: in a forked child, which has none of the connections."""
        self._condition = threading.Condition()
        self._due: list[tuple[float, int, OpenConnection, float]] = []
        self._thread: threading.Thread | None = None

    def add(self, connection: OpenConnection, first: float, interval: float) -> None:
        """Ask for progress after ``first`` seconds, and then after each ``interval``, until it is over."""
        entry = (monotonic() + first, next(self._numbers), connection, interval)
        with self._condition:
            heapq.heappush(self._due, entry)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="causal-otel-connections", daemon=True)
                thread.start()  # which may fail, and be tried again for the next connection
                self._thread = thread
            elif self._due[0] is entry:
                self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                if not self._due:
                    self._thread = None
                    return
                wait = self._due[0][0] - monotonic()
                if wait > 0:
                    self._condition.wait(wait)
                    continue
                _, _, connection, interval = heapq.heappop(self._due)
            try:
                goes_on = connection.progress()
            except Exception:
                faults.report("asgi: connection")
                goes_on = False
            if goes_on:
                with self._condition:
                    heapq.heappush(self._due, (monotonic() + interval, next(self._numbers), connection, interval))


watch = _Watch()
