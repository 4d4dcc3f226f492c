"""A collector that answers as it is told: one action a request, in order, and the last one for ever.

    with scripted(answer(503, {"Retry-After": "0"}), answer(200)) as collector:
        ...  # something that exports to collector.url
        collector.names()

It speaks HTTP by hand, over real sockets on loopback, so that it can also break off in the middle of an answer.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.waiting import wait_until

__all__ = [
    "Action",
    "Collector",
    "Request",
    "answer",
    "guard",
    "hang",
    "limit",
    "partial",
    "refused_port",
    "reset",
    "scripted",
    "trickle",
    "trickle_headers",
]


@dataclass(frozen=True)
class Request:
    """A request as it arrived, decompressed; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    time: float

    @property
    def names(self) -> list[str]:
        """The names of its spans."""
        message = ExportTraceServiceRequest.FromString(self.body)
        return [span.name for group in message.resource_spans for scoped in group.scope_spans for span in scoped.spans]


Action = Callable[["Collector", socket.socket], bool]
"""Does something to a connection on which a request has arrived; returns whether the connection stays open."""


def answer(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Action:
    """Answers at once."""

    def act(_: Collector, connection: socket.socket) -> bool:
        lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}"]
        lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return True

    return act


def partial(rejected: int, message: str = "") -> Action:
    """Takes all but ``rejected`` spans."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = message
    return answer(200, {"Content-Type": "application/x-protobuf"}, response.SerializeToString())


def limit(most: int) -> Action:
    """Takes requests of up to ``most`` bytes, decompressed, and says 413 to larger ones."""

    def act(collector: Collector, connection: socket.socket) -> bool:
        taken = len(collector.requests[-1].body) <= most
        return (answer(200) if taken else answer(413, {}, b"too large"))(collector, connection)

    return act


def guard(authorization: str) -> Action:
    """Says 401 to every request with another header ``Authorization``."""

    def act(collector: Collector, connection: socket.socket) -> bool:
        known = collector.requests[-1].headers.get("authorization") == authorization
        return (answer(200) if known else answer(401, {}, b"the token has expired"))(collector, connection)

    return act


def hang(collector: Collector, _: socket.socket) -> bool:
    """Never answers."""
    collector.over.wait(60)
    return False


def reset(after: bytes = b"") -> Action:
    """Sends ``after``, then breaks the connection with RST."""

    def act(_: Collector, connection: socket.socket) -> bool:
        connection.sendall(after)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    return act


def trickle(collector: Collector, connection: socket.socket) -> bool:
    """Says 200 and then sends a body of a megabyte, byte by byte, so that no read times out."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    with contextlib.suppress(OSError):
        while not collector.over.wait(0.02):
            connection.sendall(b"x")
    return False


def trickle_headers(collector: Collector, connection: socket.socket) -> bool:
    """Says 200 and then sends headers without end, byte by byte, so that no read times out."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    with contextlib.suppress(OSError):
        while not collector.over.wait(0.02):
            connection.sendall(b"x")
    return False


class Collector:
    """What has arrived. ``over`` is set when the block ends, to release what hangs."""

    def __init__(self, script: tuple[Action, ...], tls: ssl.SSLContext | None) -> None:
        self._script = list(script) or [answer(200)]
        self._tls = tls
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.over = threading.Event()
        self.requests: list[Request] = []
        self.connections = 0
        port = self._listener.getsockname()[1]
        self.endpoint = f"http{'s' if tls else ''}://127.0.0.1:{port}"
        self.url = f"{self.endpoint}/v1/traces"
        threading.Thread(target=self._accept, daemon=True).start()

    def then(self, *script: Action) -> None:
        """From now on, follow another script."""
        with self._lock:
            self._script = list(script)

    def names(self) -> list[str]:
        """The names of all spans that have arrived, however they were answered."""
        return [name for request in list(self.requests) for name in request.names]

    def wait(self, requests: int, timeout: float = 60.0) -> list[Request]:
        """Wait until that many requests have arrived."""
        wait_until(
            lambda: len(self.requests) >= requests, lambda: f"{len(self.requests)} requests, not {requests}", timeout
        )
        return self.requests

    def wait_until_left(self, timeout: float = 60.0) -> None:
        """Wait until nobody has a connection open."""
        wait_until(lambda: not self._open, "a connection is still open", timeout)

    def close(self) -> None:
        self.over.set()
        # Closing alone would leave the thread in accept() there for ever.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.add(connection)
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
            self._open.add(connection)
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as file:
            while (request := _request(file)) is not None:
                with self._lock:
                    self.requests.append(request)
                    action = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                if not action(self, connection):
                    break
        self._open.discard(connection)


def _request(file: object) -> Request | None:
    line = file.readline()  # type: ignore[attr-defined]
    if not line.strip():
        return None
    if line.startswith(b"PRI "):  # HTTP/2, which has no headers here
        return Request("*", {}, b"", time.monotonic())
    if len(line.split()) != 3:
        return None  # no HTTP, such as the beginning of TLS: it is random, and may have the end of a line anywhere
    headers = {}
    while (header := file.readline().strip()) != b"":  # type: ignore[attr-defined]
        key, _, value = header.decode("latin-1").partition(":")
        headers[key.lower()] = value.strip()
    body = file.read(int(headers.get("content-length", 0)))  # type: ignore[attr-defined]
    encoding = headers.get("content-encoding")
    plain = gzip.decompress(body) if encoding == "gzip" else zlib.decompress(body) if encoding == "deflate" else body
    return Request(line.split()[1].decode("latin-1"), headers, plain, time.monotonic())


@contextlib.contextmanager
def scripted(*script: Action, tls: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """A collector for as long as the block lasts; without a script it answers 200."""
    collector = Collector(script, tls)
    try:
        yield collector
    finally:
        collector.close()


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """A port of loopback that is bound and not listened on: connections to it are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
