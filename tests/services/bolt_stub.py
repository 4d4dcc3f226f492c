"""A scripted Bolt server, for what a true one does not do on demand: linger at ``COMMIT``, be late with a route.

It speaks Bolt 5.4 as far as it must, and understands nothing of a message but its kind.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["BoltStub", "bolt_stub"]

_KINDS = {
    0x01: "HELLO",
    0x02: "GOODBYE",
    0x0F: "RESET",
    0x10: "RUN",
    0x11: "BEGIN",
    0x12: "COMMIT",
    0x13: "ROLLBACK",
    0x2F: "DISCARD",
    0x3F: "PULL",
    0x54: "TELEMETRY",
    0x66: "ROUTE",
    0x6A: "LOGON",
    0x6B: "LOGOFF",
}
_SUCCESS, _RECORD, _FAILURE = 0x70, 0x71, 0x7F


class BoltStub:
    """The server.

    Attributes:
        port: where it listens, on 127.0.0.1.
        delays: seconds before the answer to a message of a kind; of ``RECORD``, before each record.
        answers: what ``SUCCESS`` says to a message of a kind, beside what it must.
        failures: the code with which messages of a kind fail.
        records: how many records a query has.
        received: the kinds of the messages that have come.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.delays: dict[str, float] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, str] = {}
        self.records = 1
        self.received: list[str] = []
        self._listener = listener
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each answer may take 40 ms
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), connection.makefile("rb") as stream:
            _exactly(stream, 20)
            connection.sendall(bytes((0, 0, 4, 5)))
            while (kind := _KINDS.get(_message(stream)[1], "?")) != "GOODBYE":
                self.received.append(kind)
                self._answer(connection, kind)

    def _answer(self, connection: socket.socket, kind: str) -> None:
        if kind == "PULL":
            for number in range(self.records):
                time.sleep(self.delays.get("RECORD", 0))
                connection.sendall(_framed(_RECORD, [number]))
        time.sleep(self.delays.get(kind, 0))
        code = self.failures.get(kind)
        if code is not None:
            connection.sendall(_framed(_FAILURE, {"code": code, "message": "as planted"}))
            return
        connection.sendall(_framed(_SUCCESS, {**self._must(kind), **self.answers.get(kind, {})}))

    def _must(self, kind: str) -> dict[str, Any]:
        here = [f"127.0.0.1:{self.port}"]
        table = [{"addresses": here, "role": role} for role in ("ROUTE", "READ", "WRITE")]
        found: dict[str, dict[str, Any]] = {
            "HELLO": {"server": "Neo4j/5.26.0", "connection_id": "stub"},
            "RUN": {"fields": ["n"]},
            "PULL": {"type": "r", "db": "neo4j"},
            "ROUTE": {"rt": {"ttl": 300, "db": "neo4j", "servers": table}},
        }
        return found.get(kind, {})

    def close(self) -> None:
        """Break all connections off and stop."""
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)


def _exactly(stream: Any, size: int) -> bytes:
    found: bytes = stream.read(size)
    if len(found) < size:
        raise EOFError
    return found


def _message(stream: Any) -> bytes:
    """The next message: its chunks, put together."""
    found = b""
    while True:
        (size,) = struct.unpack(">H", _exactly(stream, 2))
        if size:
            found += _exactly(stream, size)
        elif found:
            return found


def _framed(tag: int, field: Any) -> bytes:
    content = bytes((0xB1, tag)) + _packed(field)
    return struct.pack(">H", len(content)) + content + b"\0\0"


def _packed(value: Any) -> bytes:
    """A value in PackStream, version 1."""
    if isinstance(value, str):
        text = value.encode()
        return struct.pack(">BB", 0xD0, len(text)) + text
    if isinstance(value, int):
        return struct.pack(">Bq", 0xCB, value)
    if isinstance(value, list):
        return struct.pack(">BB", 0xD4, len(value)) + b"".join(map(_packed, value))
    return struct.pack(">BB", 0xD8, len(value)) + b"".join(_packed(key) + _packed(value[key]) for key in value)


@contextlib.contextmanager
def bolt_stub() -> Iterator[BoltStub]:
    """A scripted Bolt server on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stub = BoltStub(listener)
        try:
            yield stub
        finally:
            stub.close()
