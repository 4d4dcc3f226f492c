"""The patch for aiohttp's client: one span for each attempt on the wire, whatever becomes of it."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from opentelemetry.trace import SpanKind

from tests.faults.scripted import refused_port
from tests.patches.http_client import clients
from tests.patches.planted.http_servers import serving
from tests.patches.raw_http import read
from tests.recording import Recording, recording
from tests.slow_machine import assert_at_least
from tests.span_relations import assert_span, attributes, seconds, traceparent, untimed
from tests.waiting import cancelled_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.sdk.trace import ReadableSpan

PATCHES = ["aiohttp"]
PAUSE = 0.3
RESEND = "http.request.resend_count"
Get = Callable[..., Awaitable[dict[str, Any]]]


@pytest_asyncio.fixture
async def session(recorded: Recording) -> AsyncIterator[aiohttp.ClientSession]:
    """A session, closed after the test."""
    async with aiohttp.ClientSession() as session:
        yield session


async def fails(session: aiohttp.ClientSession, error: type[Exception], url: str, **options: Any) -> float:
    """Ask for ``url``, which fails, and say how many seconds that took."""
    began = perf_counter()
    with pytest.raises(error):
        async with session.get(url, **options) as response:
            await response.read()
    return perf_counter() - began


def _error(kind: type[Exception]) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


@pytest.mark.asyncio
async def test_a_request_follows_the_conventions(
    recorded: Recording, session: aiohttp.ClientSession, server: str
) -> None:
    """A request is a CLIENT span with the conventions' attributes and without secrets, and the server is told of it."""
    url = f"{server}/echo?page=2&token=hunter2"
    port = int(server.rpartition(":")[2])
    headers = {"X-Mine": "1", "TraceParent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with recorded.tracer.start_as_current_span("parent") as parent:
        began = perf_counter()
        async with session.post(url.replace("//", "//user:hunter2@"), data=b"x", headers=headers) as response:
            echo = await response.json()
        took = perf_counter() - began
        assert response.status == 200
    span = recorded.only("POST")
    assert untimed(assert_span(span, parent, within=took)) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": f"{server}/echo?page=2&token=REDACTED",
        "server.address": "127.0.0.1",
        "server.port": port,
        "network.protocol.version": "1.1",
    }
    assert span.kind is SpanKind.CLIENT
    sent = [value for name, value in echo["headers"] if name == "traceparent"]
    assert sent == [traceparent(span)]
    assert echo["body"] == "x"
    assert sorted(headers) == ["TraceParent", "X-Mine"]


@pytest.mark.asyncio
async def test_what_is_not_awaited_is_nothing(recorded: Recording, session: aiohttp.ClientSession, server: str) -> None:
    """A request that is made and never begun has no span; awaited without ``async with``, it has one."""
    session.get(f"{server}/echo").close()
    response = await session.get(f"{server}/echo")
    await response.read()
    response.release()
    assert assert_span(recorded.only("GET"), None)["http.response.status_code"] == 200


@pytest.mark.asyncio
async def test_each_redirect_is_a_span(recorded: Recording, session: aiohttp.ClientSession, server: str) -> None:
    """Redirects that are followed are attempts that are counted; each carries its own context."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        async with session.get(f"{server}/redirect/1") as response:
            echo = await response.json()
        assert len(response.history) == 2
    spans = clients(recorded)
    found = [assert_span(span, parent) for span in spans]
    assert [each["http.response.status_code"] for each in found] == [307, 307, 200]
    assert [each.get(RESEND) for each in found] == [None, 1, 2]
    assert traceparent(spans[-1]) in dict(echo["headers"]).values()


@pytest.mark.asyncio
async def test_a_lost_connection_is_an_attempt(recorded: Recording, session: aiohttp.ClientSession) -> None:
    """A request over a connection that the server closes meanwhile is repeated: two spans, the first one failed."""
    asked: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        while head := read(connection, b"\r\n\r\n"):
            asked.append(head)
            if len(asked) == 2:
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(handle) as port:
        async with session.get(f"http://127.0.0.1:{port}/first") as response:
            await response.read()
        with recorded.tracer.start_as_current_span("parent") as parent:
            async with session.get(f"http://127.0.0.1:{port}/") as response:
                assert await response.text() == "ok"
        await session.close()
    _, lost, again = clients(recorded)
    assert_span(lost, parent, error="aiohttp.client_exceptions.ServerDisconnectedError")
    assert assert_span(again, parent)[RESEND] == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("raising", [False, True])
async def test_a_status_of_400_is_an_error(
    recorded: Recording, session: aiohttp.ClientSession, server: str, raising: bool
) -> None:
    """A status from 400 on is an ERROR named by it, whether or not ``raise_for_status`` makes an exception of it."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        if raising:
            await fails(session, aiohttp.ClientResponseError, f"{server}/status/503", raise_for_status=True)
        else:
            async with session.get(f"{server}/status/503") as response:
                assert await response.text() == "said so"
    assert assert_span(recorded.only("GET"), parent, error="503")["http.response.status_code"] == 503


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["127.0.0.1", "nobody.invalid"])
async def test_a_server_that_is_not_there(recorded: Recording, session: aiohttp.ClientSession, host: str) -> None:
    """A connection that is refused, and a name that nobody has, are errors with the caller's exception."""
    with refused_port() as port, recorded.tracer.start_as_current_span("parent") as parent:
        of_names = getattr(aiohttp, "ClientConnectorDNSError", aiohttp.ClientConnectorError)  # since 3.11
        kind = aiohttp.ClientConnectorError if host == "127.0.0.1" else of_names
        took = await fails(session, kind, f"http://{host}:{port}/")
    found = assert_span(recorded.only("GET"), parent, error=_error(kind), within=took)
    assert "http.response.status_code" not in found


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "limit", "error"),
    [
        ("/slow/30", aiohttp.ClientTimeout(total=PAUSE), TimeoutError),
        ("/slow/30", aiohttp.ClientTimeout(sock_read=PAUSE), aiohttp.SocketTimeoutError),
        ("/stream?pause=30", aiohttp.ClientTimeout(total=PAUSE), TimeoutError),
        ("/stream?pause=30", aiohttp.ClientTimeout(sock_read=PAUSE), aiohttp.SocketTimeoutError),
    ],
    ids=["headers-total", "headers-read", "body-total", "body-read"],
)
async def test_a_timeout_is_an_error(
    recorded: Recording,
    session: aiohttp.ClientSession,
    server: str,
    path: str,
    limit: aiohttp.ClientTimeout,
    error: type[Exception],
) -> None:
    """A timeout is an ERROR with the exception that the caller is given, and no cancellation."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        took = await fails(session, error, f"{server}{path}", timeout=limit)
    assert_span(recorded.only("GET"), parent, error=_error(error), lasts=0.5 * PAUSE, within=took)


@pytest.mark.asyncio
async def test_a_timeout_of_the_pool(recorded: Recording, server: str) -> None:
    """A timeout of a wait for a connection is the exception that aiohttp makes of it, and that wait."""
    timeout = aiohttp.ClientTimeout(connect=PAUSE)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1), timeout=timeout) as session,
        session.get(f"{server}/stream?pause=30"),
    ):
        with recorded.tracer.start_as_current_span("parent") as parent:
            await fails(session, aiohttp.ConnectionTimeoutError, f"{server}/echo")
    span = clients(recorded)[0]
    found = assert_span(span, parent, error=_error(aiohttp.ConnectionTimeoutError), lasts=0.8 * PAUSE)
    assert_at_least(0.8 * PAUSE, found["causal.pool.wait"])
    assert (found["causal.pool.size"], found["causal.pool.waiting"]) == (1, 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/slow/30", "/stream?pause=30"])
async def test_a_cancelled_request_is_marked(
    recorded: Recording, session: aiohttp.ClientSession, server: str, path: str
) -> None:
    """Cancelled before its headers or in its body, a request is marked so and is no error."""

    async def ask() -> None:
        async with session.get(f"{server}{path}") as response:
            await response.read()

    with recorded.tracer.start_as_current_span("parent") as parent:
        await cancelled_after(PAUSE, ask())
    assert_span(recorded.only("GET"), parent, cancelled=True, lasts=0.5 * PAUSE)


@pytest.mark.asyncio
async def test_a_read_that_is_given_up_may_be_tried_again(
    recorded: Recording, session: aiohttp.ClientSession, server: str
) -> None:
    """A read of the body that times out, and is tried again, is no end: a body that arrives is no failure."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        async with session.get(f"{server}/stream?pause={PAUSE}") as response:
            received = b""
            while not response.content.at_eof():
                with suppress(TimeoutError):
                    received += await asyncio.wait_for(response.content.read(100), PAUSE / 3)
    assert len(received) == 3000
    assert assert_span(recorded.only("GET"), parent, lasts=PAUSE)["http.response.status_code"] == 200


@pytest.mark.asyncio
async def test_a_body_that_breaks_off_is_an_error(
    recorded: Recording, session: aiohttp.ClientSession, server: str
) -> None:
    """A body that ends too early is an ERROR, of a request whose status was well."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        await fails(session, aiohttp.ClientPayloadError, f"{server}/broken")
    found = assert_span(recorded.only("GET"), parent, error="aiohttp.client_exceptions.ClientPayloadError")
    assert found["http.response.status_code"] == 200


@pytest.mark.asyncio
async def test_what_the_application_does_meanwhile_is_none_of_it(
    recorded: Recording, session: aiohttp.ClientSession, server: str
) -> None:
    """A stream lasts as long as it is waited for, not as long as the application takes for its chunks."""
    async with session.get(f"{server}/stream?chunks=2&pause=0") as response:
        async for _ in response.content.iter_any():
            await asyncio.sleep(PAUSE)
        whole = PAUSE
    assert seconds(recorded.only("GET")) < whole
    assert assert_span(recorded.only("GET"), None)["http.response.status_code"] == 200


@pytest.mark.asyncio
async def test_a_response_that_is_closed_early_went_well(
    recorded: Recording, session: aiohttp.ClientSession, server: str
) -> None:
    """A body that nobody wants to the end is no failure, and the span is handed over when the response is closed."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        async with session.get(f"{server}/stream?pause=30") as response:
            assert await response.content.readany() == b"x" * 1000
            assert clients(recorded) == []
    assert assert_span(recorded.only("GET"), parent)["http.response.status_code"] == 200


@pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")  # as aiohttp says itself
def test_a_response_that_nobody_closes_is_abandoned(server: str) -> None:
    """A response that is dropped, with its session, has its span handed over when it is collected."""
    with recording(PATCHES) as recorded:

        async def main() -> None:
            session = aiohttp.ClientSession()
            response = await session.get(f"{server}/stream?pause=30")
            assert response.status == 200
            await session.close()
            del response

        asyncio.run(main())
        del main
        gc.collect()
        assert assert_span(recorded.only("GET"), None, abandoned=True)["http.response.status_code"] == 200


@pytest.mark.asyncio
async def test_a_websocket_is_its_handshake(recorded: Recording, session: aiohttp.ClientSession) -> None:
    """Of a websocket the handshake is a span, which carries the context; what follows is not, however long it lasts."""
    told: list[str | None] = []

    async def echo(request: web.Request) -> web.WebSocketResponse:
        told.append(request.headers.get("traceparent"))
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        async for message in answer:
            await answer.send_str(message.data)
        return answer

    async def plain(request: web.Request) -> web.Response:
        return web.Response(text="no websocket")

    app = web.Application()
    app.router.add_get("/ws", echo)
    app.router.add_get("/plain", plain)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
        with recorded.tracer.start_as_current_span("parent") as parent:
            async with session.ws_connect(f"{url}/ws") as websocket:
                span = recorded.only("GET")
                await websocket.send_str("hello")
                assert (await websocket.receive()).data == "hello"
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(f"{url}/plain")
    finally:
        await runner.cleanup()
    assert assert_span(span, parent)["http.response.status_code"] == 101
    assert told == [traceparent(span)]
    refused = clients(recorded)[-1]
    assert (
        assert_span(refused, parent, error=_error(aiohttp.WSServerHandshakeError))["http.response.status_code"] == 200
    )


@pytest.mark.asyncio
async def test_an_upload_is_streamed_as_it_is(recorded: Recording, session: aiohttp.ClientSession, server: str) -> None:
    """A generator's body comes through; its generator runs in the caller's context, and its time is in the span."""
    seen: list[Any] = []

    async def body() -> AsyncIterator[bytes]:
        with recorded.tracer.start_as_current_span("chunk") as chunk:
            seen.append(chunk)
        yield b"first"
        await asyncio.sleep(PAUSE)
        yield b"second"

    with recorded.tracer.start_as_current_span("parent") as parent:
        async with session.put(f"{server}/echo", data=body()) as response:
            assert (await response.json())["body"] == "firstsecond"
    span = recorded.only("PUT")
    assert assert_span(span, parent, lasts=0.8 * PAUSE)["http.response.status_code"] == 200
    assert_at_least(0.8 * PAUSE, attributes(span)["causal.server"])
    assert_span(recorded.only("chunk"), parent)


@pytest.mark.asyncio
async def test_concurrent_requests_have_their_own_spans(
    recorded: Recording, session: aiohttp.ClientSession, server: str
) -> None:
    """Requests of tasks that run at once are children of their own task's span, and tell their servers so."""

    async def one(number: int) -> tuple[Any, ReadableSpan | Any, str]:
        with recorded.tracer.start_as_current_span(f"task {number}") as parent:
            async with session.get(f"{server}/echo?n={number}") as response:
                echo = await response.json()
        return number, parent, dict(echo["headers"])["traceparent"]

    done = await asyncio.gather(*(one(number) for number in range(20)))
    spans = {attributes(span)["url.full"]: span for span in clients(recorded)}
    for number, parent, sent in done:
        span = spans[f"{server}/echo?n={number}"]
        assert_span(span, parent)
        assert sent == traceparent(span)
