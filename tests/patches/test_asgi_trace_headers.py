"""How a response tells its trace: X-Trace-Id and traceresponse, on whatever is sent, by whatever server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

from causal_otel.patches.asgi import AsgiOptions, TracingMiddleware
from causal_otel.patches.asgi.trace_headers import with_headers
from tests.patches.asgi_requests import BODY, SENDER, TRACE_ID, TRACEPARENT, exchange, fetch, server
from tests.patches.asgi_servers import SERVERS, served
from tests.patches.raw_http import ask, connected, read
from tests.recording import Recording, recording
from tests.span_relations import traceparent

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

PATCHES = ["asgi"]


@pytest.mark.parametrize("path", ["/items/3", "/nowhere", "/items/x", "/status/503", "/boom", "/stream", "/constant"])
@pytest.mark.asyncio
async def test_every_response_tells_its_span(recorded: Recording, path: str) -> None:
    """Whatever is answered has traceresponse: the caller's trace, and the SERVER span of this request."""
    response = await fetch(path, headers={"traceparent": TRACEPARENT})
    span = server(recorded, SENDER, error=None if path not in ("/boom", "/status/503") else "*")
    assert response.headers.get_list("traceresponse") == [traceparent(span)]
    assert response.headers["traceresponse"].startswith(f"00-{TRACE_ID}-")
    assert response.headers["x-trace-id"] == TRACE_ID


@pytest.mark.asyncio
async def test_what_is_not_sampled_says_so() -> None:
    """The flags tell a caller that there is nothing to be found."""
    with recording(["asgi"], sampler=ALWAYS_OFF) as kept:
        response = await fetch("/items/3", headers={"traceparent": TRACEPARENT})
    assert response.headers["traceresponse"].startswith(f"00-{TRACE_ID}-")
    assert int(response.headers["traceresponse"][-2:], 16) & 1 == 0
    assert kept.spans == []


@pytest.mark.parametrize("own", [None, "X-Trace-Id"])
@pytest.mark.parametrize("standard", [False, True])
@pytest.mark.asyncio
async def test_each_may_be_off(own: str | None, standard: bool) -> None:
    """Either header, both or none: as the options say."""
    with recording({"asgi": AsgiOptions(trace_id_header=own, traceresponse=standard)}):
        response = await fetch("/items/3")
    assert ("x-trace-id" in response.headers, "traceresponse" in response.headers) == (own is not None, standard)


@pytest.mark.asyncio
async def test_an_application_s_own_traceresponse_stays(recorded: Recording) -> None:
    """What the application has set is not added to, and the other header is there all the same."""

    async def own(_: Any) -> PlainTextResponse:
        return PlainTextResponse("", headers={"TraceResponse": "mine"})

    response = await fetch("/", of=Starlette(routes=[Route("/", own)]))
    assert response.headers.get_list("traceresponse") == ["mine"]
    assert response.headers["x-trace-id"]


class GivesUp:
    """A middleware that answers 504 where the application takes too long: it cancels that."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            async with asyncio.timeout(0.05):
                await self.app(scope, receive, send)
        except TimeoutError:
            await PlainTextResponse("too slow", 504)(scope, receive, send)


async def never(_: Any) -> PlainTextResponse:
    await asyncio.sleep(60)
    return PlainTextResponse("")


@pytest.mark.asyncio
async def test_the_answer_in_place_of_a_cancelled_endpoint_tells_its_span(recorded: Recording) -> None:
    """An endpoint that is cancelled by a middleware, which then answers, leaves a response like any other."""
    response = await fetch("/", of=Starlette(routes=[Route("/", never)], middleware=[Middleware(GivesUp)]))
    span = server(recorded, None, error="TimeoutError", lasts=0.05)
    assert response.headers["traceresponse"] == traceparent(span)


@pytest.mark.long
@pytest.mark.parametrize("name", SERVERS)
def test_every_server_sends_them(receiver: ReceivedSpans, name: str) -> None:
    """A response, the acceptance of a websocket, and an error tell their spans, whichever server sends them."""
    told = {}
    with served(name, receiver) as url:
        for path in ("/items/3", "/boom", "/stream"):
            with connected(url) as connection:
                ask(connection, path)
                told[path] = _header(read(connection, b"\r\n\r\n"))
        with connect(f"{url.replace('http', 'ws')}/ws/red", compression=None) as socket:
            assert socket.response is not None
            if name == "granian":  # which sends none of the headers that a websocket is accepted with
                assert "traceresponse" not in socket.response.headers
            else:
                told["/ws/red"] = socket.response.headers["traceresponse"]
            socket.send("bye")
            # The server is to close it: if both sides do, hypercorn's two tasks send at once, which trio refuses.
            with pytest.raises(ConnectionClosedOK):
                socket.recv(60)
        spans = receiver.wait_for(lambda spans: told.keys() <= {span["attributes"].get("url.path") for span in spans})
    made = {
        span["attributes"]["url.path"]: f"00-{span['trace_id']}-{span['span_id']}"
        for span in spans
        if span["kind"] == "SERVER" and span["attributes"]["url.path"] in told
    }
    assert {path: value.rpartition("-")[0] for path, value in told.items()} == made


def _header(head: bytes) -> str:
    lines = dict(line.lower().split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:] if ": " in line)
    return lines["traceresponse"]


@pytest.mark.asyncio
async def test_headers_that_can_be_read_once_arrive(recorded: Recording) -> None:
    """ASGI allows any iterable: what is read here is there for the application and the server."""
    seen: list[Any] = []

    async def own(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": iter([(b"x-served-by", b"blue")])})
        await send({"type": "http.response.body"})

    sent = await exchange(TracingMiddleware(own), [BODY], {"headers": iter([(b"host", b"a"), (b"x-own", b"b")])})
    server(recorded)
    assert seen == [(b"host", b"a"), (b"x-own", b"b")]
    assert next(iter(sent[0]["headers"])) == (b"x-served-by", b"blue")


def test_headers_that_cannot_be_read_arrive() -> None:
    """Where a header is not as it should be, ours are left out, and the application's are all there."""
    headers: list[Any] = [(bytearray(b"x-odd"), b"1"), (b"x-served-by", b"blue")]  # a name that is not hashable
    made = with_headers({"type": "http.response.start", "headers": iter(headers)}, ((b"x-trace-id", b"1"),))
    assert made == {"type": "http.response.start", "headers": headers}
