"""client_span(): requests of clients that no patch knows, each recipe of docs/how-to with its real client."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc  # type: ignore[import-untyped]
import pytest
import requests
import urllib3
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import connect
from websockets.sync.server import serve as serve_websockets

import causal_otel
from tests.metrics.measuring import measured
from tests.patches.http_server import echo_app, serve
from tests.recording import Recording, recording
from tests.span_relations import assert_span, traceparent
from tests.waiting import cancelled_after

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """No patch at work."""
    with recording([]) as kept:
        yield kept


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that tells what it has received."""
    with serve(echo_app) as url:
        yield url


def _received(answer: Any) -> list[str]:
    return [value for name, value in answer["headers"] if name == "traceparent"]


def test_requests(recorded: Recording, server: str) -> None:
    """A request of requests: one CLIENT span that its server is told of, without secrets."""
    url = f"{server}/echo?token=s3cr3t"
    with recorded.tracer.start_as_current_span("parent") as parent, causal_otel.client_span("get", url) as call:
        response = requests.get(url, headers=call.headers, timeout=60)
        call.status(response.status_code)
        call.span.set_attribute("tries", 1)
    span = recorded.only("GET")
    assert span.kind is SpanKind.CLIENT
    assert assert_span(span, parent) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": int(server.rpartition(":")[2]),
        "url.full": f"{server}/echo?token=REDACTED",
        "tries": 1,
    }
    assert _received(response.json()) == [traceparent(span)]


def test_urllib3(recorded: Recording, server: str) -> None:
    """A request of urllib3, which fails by its status."""
    url = f"{server}/status/503"
    with (
        urllib3.PoolManager() as pool,
        recorded.tracer.start_as_current_span("parent") as parent,
        causal_otel.client_span("GET", url) as call,
    ):
        call.status(pool.request("GET", url, headers=call.headers).status)
    assert assert_span(recorded.only("GET"), parent, error="503")["http.response.status_code"] == 503


@pytest.mark.asyncio
async def test_aiohttp(recorded: Recording, server: str) -> None:
    """A request of aiohttp, and one of two at once that is cancelled."""
    async with aiohttp.ClientSession() as session:

        async def get(path: str) -> Any:
            url = f"{server}{path}"
            with causal_otel.client_span("GET", url) as call:
                async with session.get(url, headers=call.headers) as response:
                    call.status(response.status)
                    return await response.json()

        with recorded.tracer.start_as_current_span("parent") as parent:
            _, answer = await asyncio.gather(cancelled_after(0.1, get("/slow/30")), get("/echo"))
    by_path = {str((span.attributes or {}).get("url.full")).rpartition("/")[2]: span for span in recorded.spans[:-1]}
    assert_span(by_path["echo"], parent)
    assert_span(by_path["30"], parent, cancelled=True, lasts=0.09)
    assert _received(answer) == [traceparent(by_path["echo"])]


def test_websockets(recorded: Recording) -> None:
    """A handshake of websockets, of either kind, whose server is told of it."""
    seen: list[str] = []

    def accept(connection: Any) -> None:
        seen.append(connection.request.headers["traceparent"])
        connection.send("hello")

    async def ask(url: str) -> None:
        async with contextlib.AsyncExitStack() as stack:
            with causal_otel.client_span("GET", url) as call:
                connecting = connect_async(url, additional_headers=call.headers, proxy=None)
                websocket = await stack.enter_async_context(connecting)
                call.status(101)
            assert await websocket.recv() == "hello"

    with futures.ThreadPoolExecutor(1) as pool, serve_websockets(accept, "127.0.0.1", 0) as listening:
        pool.submit(listening.serve_forever)
        url = f"ws://127.0.0.1:{listening.socket.getsockname()[1]}/"
        with recorded.tracer.start_as_current_span("parent") as parent:
            with contextlib.ExitStack() as stack:
                with causal_otel.client_span("GET", url) as call:
                    websocket = stack.enter_context(connect(url, additional_headers=call.headers, proxy=None))
                    call.status(101)
                assert websocket.recv() == "hello"
            asyncio.run(ask(url))
    spans = recorded.spans[:-1]
    for span in spans:
        assert assert_span(span, parent)["http.response.status_code"] == 101
    assert seen == [traceparent(span) for span in spans]


def test_grpc(recorded: Recording) -> None:
    """A call of gRPC is named by its method, carries the context as metadata, and fails with gRPC's code."""
    seen: list[str] = []

    def say(request: bytes, context: grpc.ServicerContext) -> bytes:
        seen.extend(value for name, value in context.invocation_metadata() if name == "traceparent")
        if request == b"fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        return b"said " + request

    handler = grpc.method_handlers_generic_handler("shop.Shop", {"Say": grpc.unary_unary_rpc_method_handler(say)})
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def ask(request: bytes) -> bytes:
        with causal_otel.client_span(
            "POST",
            f"http://127.0.0.1:{port}/shop.Shop/Say",
            name="shop.Shop/Say",
            attributes={"rpc.system.name": "grpc", "rpc.method": "shop.Shop/Say"},
        ) as call:
            try:
                return bytes(channel.unary_unary("/shop.Shop/Say")(request, metadata=tuple(call.headers.items())))
            except grpc.RpcError as error:
                call.fail(error.code().name)
                return b""

    with (
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        recorded.tracer.start_as_current_span("parent") as parent,
    ):
        assert ask(b"this") == b"said this"
        assert ask(b"fail") == b""
    server.stop(None).wait(60)
    well, failed = recorded.spans[:-1]
    assert well.name == failed.name == "shop.Shop/Say"
    assert assert_span(well, parent)["rpc.system.name"] == "grpc"
    assert_span(failed, parent, error="NOT_FOUND")
    assert seen == [traceparent(well), traceparent(failed)]


@pytest.mark.parametrize("said", ["NOT_FOUND", "503"])
def test_a_failure_that_was_told_stays(recorded: Recording, said: str) -> None:
    """Where a code or a status has told of the failure, the exception that a client makes of it changes nothing."""

    def call_and_fail() -> None:
        with causal_otel.client_span("GET", "http://127.0.0.1/") as call:
            call.status(503) if said == "503" else call.fail(said)
            raise requests.HTTPError

    with recorded.tracer.start_as_current_span("parent") as parent, pytest.raises(requests.HTTPError):
        call_and_fail()
    assert_span(recorded.only("GET"), parent, error=said)


def test_an_exception_is_the_span_s_error(recorded: Recording) -> None:
    """What leaves the block is the caller's very exception, and its class the error.type."""
    raised = requests.ConnectionError("no")
    with (
        recorded.tracer.start_as_current_span("parent") as parent,
        pytest.raises(requests.ConnectionError) as caught,
        causal_otel.client_span("GET", "http://user:s3cr3t@[::1]:99999/x") as call,
    ):
        raise raised
    assert caught.value is raised
    assert call.headers == {}
    found = assert_span(recorded.only("GET"), parent, error="requests.exceptions.ConnectionError")
    assert (found["url.full"], found["server.address"]) == ("http://REDACTED:REDACTED@[::1]:99999/x", "::1")


def test_without_a_sampled_trace() -> None:
    """A trace that is not sampled is carried as one, nothing is recorded, and the span does nothing."""
    with recording([], sampler=ALWAYS_OFF) as kept:
        with kept.tracer.start_as_current_span("parent") as parent, causal_otel.client_span("GET", "http://h/") as call:
            assert call.headers["traceparent"].split("-")[1] == f"{parent.get_span_context().trace_id:032x}"
            assert int(call.headers["traceparent"][-2:], 16) & 1 == 0
            call.status(200)
            call.span.set_attribute("a", 1)
        assert kept.spans == []


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "not sampled"])
def test_it_is_measured(sampler: Any) -> None:
    """Each is measured as the requests of patched clients are."""
    with measured([], sampler) as found:
        with causal_otel.client_span("GET", "http://example.org/x") as call:
            time.sleep(0.02)
            call.status(404)
        (point,) = found.points("http.client.request.duration")
    assert point.count == 1
    assert point.sum >= 0.02
    assert dict(point.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "server.address": "example.org",
        "server.port": 80,
        "error.type": "404",
    }


def test_without_an_installation() -> None:
    """Before install() it does nothing, and harms nothing."""
    with causal_otel.client_span("GET", "http://example.org/") as call:
        call.status(200)
    assert call.headers == {}
