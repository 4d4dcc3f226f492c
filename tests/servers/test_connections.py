"""The asgi patch on other servers than uvicorn: websockets, clients that leave, requests that the server cancels."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

from tests.servers.serving import Served, served, stop
from tests.servers.test_asgi_servers import SERVERS
from tests.span_relations import assert_span
from tests.waiting import pause, wait_until

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpan, ReceivedSpans

WAIT = 0.3


@contextmanager
def _asked(url: str, path: str) -> Iterator[socket.socket]:
    """A connection on which ``path`` has been asked for."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 60) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        yield connection


def _pause_under_way(running: Served) -> None:
    """Wait until the application works on the request, and a while more."""
    wait_until(partial(_says, running, "under way"), running.process.output)
    pause(WAIT)


def _says(running: Served, line: str) -> bool:
    return line in running.process.output()


def _only(receiver: ReceivedSpans, name: str) -> ReceivedSpan:
    [span] = [span for span in receiver.spans() if span["name"] == name]
    return span


@pytest.mark.long
@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "hypercorn, trio", "granian"])
def test_a_websocket(receiver: ReceivedSpans, server: str) -> None:
    """A websocket is one span, and its handshake has the trace's id: on granian, which drops all headers there, not."""
    with served(receiver, SERVERS[server]) as running:
        with connect(f"ws{running.url.removeprefix('http')}/ws", proxy=None) as websocket:
            websocket.send("hello")
            assert websocket.recv() == "hello"
            assert websocket.response is not None
            headers = websocket.response.headers
            # The server is to close it: if both sides do, hypercorn's two tasks send at once, which trio refuses.
            with pytest.raises(ConnectionClosedOK):
                websocket.recv(60)
        stop(running)
    span = _only(receiver, "GET /ws")
    assert assert_span(span, None)["http.response.status_code"] == 101
    assert headers.get("x-trace-id") == (span["trace_id"] if "x-own" in headers else None)
    assert ("x-own" in headers) is (server != "granian")


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
def test_clients_that_leave(receiver: ReceivedSpans, server: str) -> None:
    """A client that goes away while its request is worked on, or in the middle of a stream, is an error."""
    with served(receiver, SERVERS[server]) as running:
        with _asked(running.url, "/waits"):
            _pause_under_way(running)
        with _asked(running.url, "/stream") as connection:
            assert b"x-trace-id" in connection.recv(65536)
        for path in ("/waits", "/stream"):
            wait_until(partial(_says, running, f"over: {path}"), running.process.output)
        stop(running)
    assert_span(_only(receiver, "GET /waits"), None, error="client_disconnected", lasts=WAIT)
    assert_span(_only(receiver, "GET /stream"), None, error="client_disconnected")


@pytest.mark.parametrize(
    ("server", "options"),
    [("uvicorn", ["--timeout-graceful-shutdown", "1"]), ("hypercorn", []), ("hypercorn, trio", [])],
)
@pytest.mark.long
def test_a_request_that_the_server_cancels(receiver: ReceivedSpans, server: str, options: list[str]) -> None:
    """A request that a server cancels because it ends is marked so, and its span arrives."""
    with served(receiver, [*SERVERS[server], *options]) as running, _asked(running.url, "/forever"):
        _pause_under_way(running)
        running.process.stop(timeout=60.0)
    assert_span(_only(receiver, "GET /forever"), None, cancelled=True, lasts=WAIT)
