"""Websockets and streams: counted, told how they were closed, and shown before they end."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket as sockets
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import causal_otel
from causal_otel.patches.asgi import AsgiOptions, long_connections
from tests.patches.asgi_requests import server, servers
from tests.patches.asgi_servers import SERVERS, served
from tests.patches.http_server import serve
from tests.patches.raw_http import ask, connected, read
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes
from tests.waiting import pause, wait_until

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.services.received import ReceivedSpans

INTERVAL = 0.3
OFTEN = {"asgi": AsgiOptions(progress_interval=INTERVAL)}
PATCHES = ["asgi"]


async def chat(websocket: WebSocket) -> None:
    """Repeats what is said, and does as it is told."""
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            said = message.get("text") or message["bytes"].decode()
            if said.startswith("close "):
                await websocket.close(int(said.removeprefix("close ")))
                return
            if said == "fail":
                raise ValueError("went wrong")
            await websocket.send_text(said)


async def events(request: Any) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        for number in itertools.count():
            yield f"data: {number % 10}\n\n"
            await asyncio.sleep(float(request.query_params.get("pause", "0.05")))
            if number + 1 == int(request.query_params.get("events", "0")):
                return

    return StreamingResponse(body(), media_type=request.query_params.get("type", "text/event-stream"))


app = Starlette(routes=[WebSocketRoute("/ws/{room}", chat), Route("/events", events)])


@contextmanager
def talking(**config: Any) -> Iterator[ClientConnection]:
    """A client of the websocket, which leaves with 1000 unless it is told to."""
    with (
        serve(app, ws="websockets-sansio", **config) as url,
        connect(f"{url.replace('http', 'ws')}/ws/red", compression=None) as socket,
    ):
        yield socket


def shown(kept: Recording) -> list[ReadableSpan]:
    """The spans by which an open connection is told of."""
    return [span for span in kept.spans if span.name.endswith(" open")]


def totals(*spans: ReadableSpan) -> dict[str, int]:
    keys = [f"causal.{what}.{way}" for what in ("messages", "bytes") for way in ("received", "sent")]
    return {key: sum(attributes(span).get(key, 0) for span in spans) for key in keys}


def test_an_open_websocket_shows_up() -> None:
    """A connection that is open for long is spans below its own, one after the other, with what each has seen."""
    with recording(OFTEN) as kept:
        with talking() as socket:
            for said in ("äöü", "hello"):
                socket.send(said)
                socket.recv(60)
            wait_until(lambda: len(shown(kept)) >= 2)
            assert servers(kept) == [], "it is open"
            socket.send(b"bytes")
            socket.recv(60)
            wait_until(lambda: totals(*shown(kept))["causal.messages.sent"] == 3)
        wait_until(lambda: servers(kept))
        connection = server(kept, lasts=3 * INTERVAL)
        spans = shown(kept)
    assert {(span.name, span.kind) for span in spans} == {("GET /ws/{room} open", SpanKind.INTERNAL)}
    for span in spans:
        found = assert_span(span, connection, lasts=0.8 * INTERVAL)
        assert (found["http.route"], found["causal.open"]) == ("/ws/{room}", True)
    assert spans[0].start_time == connection.start_time
    assert all(before.end_time == after.start_time for before, after in itertools.pairwise(spans))
    counted = {"causal.messages.received": 3, "causal.messages.sent": 3, "causal.bytes.received": 16}
    assert totals(*spans) == totals(connection) == {**counted, "causal.bytes.sent": 16}


@pytest.mark.parametrize("kind", ["text/event-stream", "application/x-ndjson"])
def test_an_open_stream_shows_up(kind: str) -> None:
    """Server-sent events, and any other response that goes on for long, likewise: chunks are their messages."""
    with recording(OFTEN) as kept, serve(app) as url:
        with connected(url) as connection:
            ask(connection, f"/events?type={kind}")
            wait_until(lambda: len(shown(kept)) >= 2)
            assert servers(kept) == [], "it is open"
        wait_until(lambda: servers(kept))
        error = None if kind == "text/event-stream" else "client_disconnected"
        span, spans = server(kept, error=error, lasts=2 * INTERVAL), shown(kept)
    for each in spans:
        found = assert_span(each, span, lasts=0.8 * INTERVAL)
        assert found["causal.bytes.sent"] == 9 * found["causal.messages.sent"] > 0
    if error is None:
        assert totals(span)["causal.messages.sent"] >= totals(*spans)["causal.messages.sent"]
    else:
        assert "causal.messages.sent" not in attributes(span)


def test_what_ends_soon_is_one_span(recorded: Recording) -> None:
    """A websocket and a stream that end within the interval are told of by nothing but their own spans."""
    with talking() as socket:
        socket.send("hello")
        socket.recv(60)
    with serve(app) as url, connected(url) as connection:
        ask(connection, "/events?events=3")
        read(connection, b"0\r\n\r\n")
    wait_until(lambda: len(servers(recorded)) == 2)
    assert recorded.names() == ["GET /ws/{room}", "GET /events"]
    websocket, stream = servers(recorded)
    assert totals(websocket) == dict.fromkeys(("causal.messages.received", "causal.messages.sent"), 1) | dict.fromkeys(
        ("causal.bytes.received", "causal.bytes.sent"), 5
    )
    found = assert_span(stream, None)
    assert (found["causal.messages.sent"], found["causal.bytes.sent"]) == (3, 27)


CLOSINGS: dict[str, tuple[int, str | None, str | None]] = {
    "client 1000": (1000, "client", None),
    "client 1001": (1001, "client", None),
    "client 1011": (1011, None, None),
    "client 4000": (4000, "client", None),
    "lost": (1005, None, None),  # as this server has it
    "close 1000": (1000, "server", None),
    "close 1008": (1008, "server", None),
    "close 4403": (4403, "server", None),
    "close 1011": (1011, "server", "1011"),
    "close 1013": (1013, "server", "1013"),
}


@pytest.mark.parametrize("how", CLOSINGS)
def test_how_a_websocket_was_closed(recorded: Recording, how: str) -> None:
    """Code and closer are told; an error is what the application calls one, and never what the client says."""
    code, closer, error = CLOSINGS[how]
    with talking() as socket:
        socket.send("hello")
        socket.recv(60)
        if how == "lost":
            socket.socket.shutdown(sockets.SHUT_RDWR)
        elif how.startswith("client"):
            socket.close(code)
        else:
            socket.send(how)
            with suppress(ConnectionClosed):
                socket.recv(60)
        wait_until(lambda: servers(recorded))
    found = attributes(server(recorded, error=error))
    assert (found["causal.websocket.close_code"], found.get("causal.websocket.closed_by")) == (code, closer)
    assert found["http.response.status_code"] == 101


def test_a_websocket_that_fails_says_so(recorded: Recording) -> None:
    """An exception is the error, with what has gone over the connection until then."""
    with talking() as socket:
        socket.send("fail")
        with suppress(ConnectionClosed):
            socket.recv(60)
        wait_until(lambda: servers(recorded))
    found = attributes(server(recorded, error="ValueError"))
    assert found["causal.messages.received"] == 1
    assert "causal.websocket.closed_by" not in found


def test_an_unsampled_connection_shows_nothing() -> None:
    """Nothing waits for it, and nothing is made."""
    with recording(OFTEN, sampler=ALWAYS_OFF) as kept:
        before = {number for _, number, *_ in long_connections.watch._due}
        with talking() as socket:
            socket.send("hello")
            socket.recv(60)
            assert {number for _, number, *_ in long_connections.watch._due} <= before
    assert kept.spans == []


def test_none_switches_it_off() -> None:
    """Without an interval a connection shows up when it is over, and not before."""
    with recording({"asgi": AsgiOptions(progress_interval=None)}) as kept:
        before = {number for _, number, *_ in long_connections.watch._due}
        with talking() as socket:
            socket.send("hello")
            socket.recv(60)
            assert {number for _, number, *_ in long_connections.watch._due} <= before
        wait_until(lambda: servers(kept))
        assert kept.names() == ["GET /ws/{room}"]


@pytest.mark.long
def test_after_uninstall_nothing_more_is_told() -> None:
    """A connection that stays open through an uninstall has shown up until then."""
    with serve(app, ws="websockets-sansio") as url, ExitStack() as until_later:
        with recording(OFTEN) as kept:
            until_later.enter_context(connect(f"{url.replace('http', 'ws')}/ws/red", compression=None))
            wait_until(lambda: shown(kept))
        before = len(kept.spans)
        wait_until(lambda: long_connections.watch._thread is None)
    assert len(kept.spans) == before


@pytest.mark.long
@pytest.mark.parametrize("name", SERVERS)
def test_it_shows_up_behind_every_server(receiver: ReceivedSpans, name: str) -> None:
    """An open websocket is told of after ten seconds, whatever serves it, and whichever loop that runs."""
    with served(name, receiver) as url:
        with connect(f"{url.replace('http', 'ws')}/ws/red", compression=None) as socket:
            socket.send("hello")
            socket.recv(60)
            receiver.wait_for(lambda spans: any(span["name"] == "GET /ws/{room} open" for span in spans))
        spans = receiver.wait_for(lambda spans: any(span["name"] == "GET /ws/{room}" for span in spans))
    [connection] = [span for span in spans if span["name"] == "GET /ws/{room}"]
    [shown] = [span for span in spans if span["name"] == "GET /ws/{room} open"]
    assert_span(connection, None, lasts=8)
    found = assert_span(shown, connection, lasts=8)
    assert (found["causal.messages.received"], found["causal.bytes.sent"]) == (1, 5)


@pytest.mark.parametrize("interval", [0, -1, "60", True])
def test_an_interval_is_a_number_of_seconds(interval: Any) -> None:
    """Anything else is refused with a sentence."""
    with pytest.raises(causal_otel.SettingError, match=r"progress_interval=.* is not allowed; it must be a number"):
        causal_otel.install(patches={"asgi": AsgiOptions(progress_interval=interval)})


class TestWatch:
    """What asks open connections for their progress."""

    def opened(self, told: list[Any], goes_on: bool = True) -> long_connections.OpenConnection:
        connection = long_connections.OpenConnection()

        def tell(found: dict[str, Any]) -> bool:
            told.append(found)
            return goes_on

        connection.opened(tell, 0.01)
        return connection

    def test_one_thread_for_all_which_ends_with_the_last(self) -> None:
        """A thousand connections have one thread, and when they are over there is none."""
        told: list[Any] = []
        connections = [self.opened(told) for _ in range(1000)]
        wait_until(lambda: len(told) > 3000)
        assert [each.name for each in threading.enumerate()].count("causal-otel-connections") == 1
        for connection in connections:
            connection.closed()
        wait_until(lambda: "causal-otel-connections" not in [each.name for each in threading.enumerate()])

    def test_a_connection_is_asked_no_more_once_it_is_over(self) -> None:
        """Who says that it is over, or raises, is forgotten."""
        told: list[Any] = []
        connection = self.opened(told, goes_on=False)
        gone = weakref.ref(connection)
        wait_until(lambda: told)
        del connection
        wait_until(lambda: gc.collect() is not None and gone() is None)
        assert len(told) == 1

    def test_the_nearest_is_asked_first(self) -> None:
        """A short interval does not wait behind a long one."""
        told: list[Any] = []
        slow = long_connections.OpenConnection()
        slow.opened(lambda _: True, 3600)
        pause(0.05)
        quick = self.opened(told)
        wait_until(lambda: told)
        for connection in (slow, quick):
            connection.closed()
        long_connections.watch.renew()

    def test_a_forked_child_has_none(self) -> None:
        """It has neither the connections nor the thread of its parent, and may have its own."""
        told: list[Any] = []
        connection = self.opened(told)
        pid = os.fork()
        if pid == 0:
            try:
                watch = long_connections.watch
                assert (watch._due, watch._thread) == ([], None)
                own: list[Any] = []
                self.opened(own)
                wait_until(lambda: own)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        connection.closed()


def test_seconds_of_a_span_are_those_of_its_interval() -> None:
    """The first one comes after ten seconds if the interval is longer, and covers them."""
    added: list[tuple[float, float]] = []

    class Noting(long_connections._Watch):
        def add(self, connection: Any, first: float, interval: float) -> None:
            added.append((first, interval))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(long_connections, "watch", Noting())
        for interval in (60.0, 5.0, None):
            long_connections.OpenConnection().opened(lambda _: True, interval)
    assert added == [(10.0, 60.0), (5.0, 5.0)]


def test_a_thread_that_cannot_be_started_is_tried_again() -> None:
    """A machine that has no more threads for a while does not end it for all connections to come."""
    watch = long_connections._Watch()
    told = threading.Event()

    def tell(_: Any) -> bool:
        told.set()
        return False

    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    first, second = long_connections.OpenConnection(), long_connections.OpenConnection()
    second._tell = tell
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            watch.add(first, 0.0, 60.0)
    watch.add(second, 0.0, 60.0)
    assert told.wait(60)
    wait_until(lambda: watch._thread is None)
    assert watch._due == []
