"""The httpx patch, against a real server and over every kind of transport."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, cast

import httpx
import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from causal_otel.engine import context
from causal_otel.engine.context import suppress
from causal_otel.patches.httpx import PATCH, HttpxOptions
from tests.patches.checks import originals, placed
from tests.patches.http_server import echo_app, serve
from tests.recording import Recording, recording

SECRET = "s3cr3t-value"

Call = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The base URL of a server with the echo application."""
    with serve(echo_app) as url:
        yield url


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """The httpx patch is installed and its spans are kept."""
    with recording(["httpx"]) as kept:
        yield kept


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """Send a request with a client of either kind, made with ``client=`` arguments."""

    def sync_call(method: str, url: str, client: dict[str, Any] | None = None, **arguments: Any) -> httpx.Response:
        with httpx.Client(trust_env=False, **(client or {})) as opened:
            return opened.request(method, url, **arguments)

    def async_call(method: str, url: str, client: dict[str, Any] | None = None, **arguments: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            async with httpx.AsyncClient(trust_env=False, **(client or {})) as opened:
                return await opened.request(method, url, **arguments)

        return asyncio.run(run())

    return sync_call if request.param == "sync" else async_call


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def clients(kept: Recording) -> list[ReadableSpan]:
    """The spans of the patch, without the parents that tests make."""
    return [span for span in kept.spans if span.kind is SpanKind.CLIENT]


def received(response: httpx.Response, name: str) -> list[str]:
    """The values of a header as the echo application received it."""
    return [value for given, value in response.json()["headers"] if given == name]


def traceparent(span: ReadableSpan) -> str:
    found = span.get_span_context()
    assert found is not None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"


# -- what is recorded ---------------------------------------------------------------------------------------------


def test_a_request_is_one_client_span_with_the_stable_attributes(recorded: Recording, server: str, call: Call) -> None:
    """A request is one CLIENT span, child of the current one, with exactly the attributes of the HTTP conventions."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("GET", f"{server}/echo?page=3")
    span = recorded.only("GET")
    assert response.status_code == 200
    assert span.kind is SpanKind.CLIENT
    assert span.parent == parent.get_span_context()
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": int(server.rpartition(":")[2]),
        "url.full": f"{server}/echo?page=3",
    }


def test_the_request_carries_the_context_of_its_span(recorded: Recording, server: str, call: Call) -> None:
    """The server receives one traceparent, that of the client span, and the current baggage."""
    token = context.attach(baggage.set_baggage("tenant", "7", context.current()))
    with recorded.tracer.start_as_current_span("parent"):
        response = call("GET", f"{server}/echo")
    token.end()
    assert received(response, "traceparent") == [traceparent(recorded.only("GET"))]
    assert received(response, "baggage") == ["tenant=7"]


@pytest.mark.parametrize(("url", "port"), [("http://example.org/", 80), ("https://example.org/", 443)])
def test_the_port_is_told_where_the_url_leaves_it_out(recorded: Recording, call: Call, url: str, port: int) -> None:
    """server.port is required: without one in the URL it is the scheme's own."""
    with recorded.tracer.start_as_current_span("parent"):
        call("GET", url, {"transport": httpx.MockTransport(lambda _: httpx.Response(204))})
    assert attributes(recorded.only("GET"))["server.port"] == port
    assert attributes(recorded.only("GET"))["server.address"] == "example.org"


def test_an_unknown_method_does_not_name_spans(recorded: Recording, call: Call) -> None:
    """An invented method is _OTHER, and the span is called HTTP."""
    with recorded.tracer.start_as_current_span("parent"):
        call("BREW", "http://example.org/", {"transport": httpx.MockTransport(lambda _: httpx.Response(204))})
    span = recorded.only("HTTP")
    assert attributes(span)["http.request.method"] == "_OTHER"
    assert attributes(span)["http.request.method_original"] == "BREW"


@pytest.mark.parametrize("status", [404, 503])
def test_a_status_from_400_on_is_an_error(recorded: Recording, server: str, call: Call, status: int) -> None:
    """To a client 4xx and 5xx are errors, and error.type is the status; no exception is involved."""
    with recorded.tracer.start_as_current_span("parent"):
        call("GET", f"{server}/status/{status}")
    span = recorded.only("GET")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == str(status)
    assert attributes(span)["http.response.status_code"] == status
    assert span.events == ()


def test_redirects_are_a_span_each(recorded: Recording, server: str, call: Call) -> None:
    """Every redirect is a request of its own, counted, and tells its own span to the server."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("GET", f"{server}/redirect/1", follow_redirects=True)
    spans = clients(recorded)
    assert [attributes(span).get("http.request.resend_count") for span in spans] == [None, 1, 2]
    assert [attributes(span)["http.response.status_code"] for span in spans] == [307, 307, 200]
    assert all(span.parent == parent.get_span_context() for span in spans)
    assert received(response, "traceparent") == [traceparent(spans[-1])]


def test_the_repetition_for_authentication_is_counted(recorded: Recording, server: str, call: Call) -> None:
    """Digest authentication asks twice: two spans, the second with resend_count 1, and the body is sent again."""
    with recorded.tracer.start_as_current_span("parent"):
        response = call("POST", f"{server}/digest", auth=httpx.DigestAuth("user", SECRET), content=b"a body")
        again = call("GET", f"{server}/echo")
    first, second, third = clients(recorded)
    assert response.text == "welcome"
    assert attributes(first)["error.type"] == "401"
    assert [attributes(span).get("http.request.resend_count") for span in (first, second, third)] == [None, 1, None]
    assert received(again, "traceparent") == [traceparent(third)]


def test_a_request_sent_by_another_is_not_counted_as_its_repetition(recorded: Recording, server: str) -> None:
    """A request that an event hook makes with the same client is a first attempt of its own."""
    with httpx.Client(trust_env=False) as client, recorded.tracer.start_as_current_span("parent"):
        client.event_hooks = {"response": [lambda got: "inner" in str(got.url) or client.get(f"{server}/echo?inner")]}
        client.get(f"{server}/redirect/0", follow_redirects=True)
    counts = [(attributes(s)["url.full"], attributes(s).get("http.request.resend_count")) for s in clients(recorded)]
    assert sorted(counts, key=str) == sorted(
        [
            (f"{server}/echo?inner", None),
            (f"{server}/redirect/0", None),
            (f"{server}/echo?inner", None),
            (f"{server}/echo", 1),
        ],
        key=str,
    )


# -- bodies -------------------------------------------------------------------------------------------------------


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def test_the_span_lasts_until_the_body_has_been_read(recorded: Recording, server: str, call: Call) -> None:
    """A get() is not over when the headers are there."""
    with recorded.tracer.start_as_current_span("parent"):
        response = call("GET", f"{server}/stream?chunks=4&pause=0.05")
    assert len(response.content) == 4000
    assert seconds(recorded.only("GET")) >= 0.1  # half of it: where the client is late, it has to wait for less
    assert response.elapsed.total_seconds() > 0


class Slow(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body of four chunks, for each of which 20 ms are waited."""

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(4):
            time.sleep(0.02)
            yield b"more"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def test_the_application_s_own_time_is_none_of_the_span_s(recorded: Recording) -> None:
    """Waiting for chunks of a streamed response counts; what the application does between them does not."""
    worked = 0.0
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Slow()))
    with httpx.Client(transport=transport) as client, recorded.tracer.start_as_current_span("parent"):
        began = perf_counter()
        with client.stream("GET", "http://example.org/") as response:
            for _ in response.iter_raw():
                worked -= perf_counter()
                time.sleep(0.03)
                worked += perf_counter()
        elapsed = perf_counter() - began
    assert worked >= 0.12
    assert 0.08 <= seconds(recorded.only("GET")) <= elapsed - worked


@pytest.mark.asyncio
async def test_the_application_s_own_time_is_none_of_an_async_span_s(recorded: Recording) -> None:
    """The same of an async client, whose chunks are awaited."""
    worked = 0.0
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Slow()))
    async with httpx.AsyncClient(transport=transport) as client:
        with recorded.tracer.start_as_current_span("parent"):
            began = perf_counter()
            async with client.stream("GET", "http://example.org/") as response:
                async for _ in response.aiter_raw():
                    worked -= perf_counter()
                    await asyncio.sleep(0.03)
                    worked += perf_counter()
            elapsed = perf_counter() - began
    assert worked >= 0.12
    assert 0.08 <= seconds(recorded.only("GET")) <= elapsed - worked


def test_a_body_that_nobody_reads_is_none_of_the_span_s(recorded: Recording, server: str) -> None:
    """A response that is closed unread has the span of its headers, however late it is closed."""
    with httpx.Client(trust_env=False) as client, recorded.tracer.start_as_current_span("parent"):
        began = perf_counter()
        response = client.send(client.build_request("GET", f"{server}/stream?pause=30"), stream=True)
        returned = perf_counter()
        time.sleep(0.05)
        assert clients(recorded) == []
        response.close()
    assert seconds(recorded.only("GET")) <= returned - began


def test_an_unreadable_body_is_an_error(recorded: Recording, server: str, call: Call) -> None:
    """A body that breaks off is an ERROR of the request, whose status was fine."""
    with recorded.tracer.start_as_current_span("parent"), pytest.raises(httpx.RemoteProtocolError) as caught:
        call("GET", f"{server}/broken")
    span = recorded.only("GET")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "httpx.RemoteProtocolError"
    assert attributes(span)["http.response.status_code"] == 200
    assert caught.value.request.url == f"{server}/broken"


@pytest.mark.parametrize("how", ["read", "break", "raise", "nothing"])
def test_a_streamed_response_ends_once_and_is_not_current(recorded: Recording, server: str, how: str) -> None:
    """However the block of a stream is left, its span has ended then, and was current in none of it."""
    with httpx.Client(trust_env=False) as client, recorded.tracer.start_as_current_span("parent") as parent:
        try:
            with client.stream("GET", f"{server}/stream") as response:
                assert trace.get_current_span() is parent
                assert clients(recorded) == []
                for _ in response.iter_bytes() if how != "nothing" else ():
                    assert trace.get_current_span() is parent
                    if how == "break":
                        break
                    if how == "raise":
                        raise LookupError
        except LookupError:
            pass
        assert [span.name for span in clients(recorded)] == ["GET"]
        assert trace.get_current_span() is parent
    del response
    gc.collect()
    assert clients(recorded)[0].status.status_code is StatusCode.UNSET
    assert len(clients(recorded)) == 1


@pytest.mark.parametrize("how", ["read", "break", "raise", "nothing"])
@pytest.mark.asyncio
async def test_an_async_stream_ends_once_and_is_not_current(recorded: Recording, server: str, how: str) -> None:
    """However the block of an async stream is left, its span has ended then, and was current in none of it."""
    async with httpx.AsyncClient(trust_env=False) as client:
        with recorded.tracer.start_as_current_span("parent") as parent:
            try:
                async with client.stream("GET", f"{server}/stream") as response:
                    assert trace.get_current_span() is parent
                    assert clients(recorded) == []
                    if how != "nothing":
                        async for _ in response.aiter_bytes():
                            assert trace.get_current_span() is parent
                            if how == "break":
                                break
                            if how == "raise":
                                raise LookupError
            except LookupError:
                pass
            assert [span.name for span in clients(recorded)] == ["GET"]
            assert trace.get_current_span() is parent
    del response
    gc.collect()
    assert clients(recorded)[0].status.status_code is StatusCode.UNSET
    assert len(clients(recorded)) == 1


@pytest.mark.asyncio
async def test_a_stream_cancelled_while_read_is_marked(recorded: Recording, server: str) -> None:
    """A timeout of the caller's own in the middle of a body leaves the span unset and marked as cancelled."""
    async with httpx.AsyncClient(trust_env=False) as client:
        with recorded.tracer.start_as_current_span("parent"), pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), client.stream("GET", f"{server}/stream?pause=30") as response:
                await response.aread()
    span = recorded.only("GET")
    assert attributes(span)["causal.cancelled"] is True
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.asyncio
async def test_a_request_cancelled_while_waiting_is_marked(recorded: Recording, server: str) -> None:
    """A cancelled request is the caller's decision: unset, marked, and no error.type."""
    async with httpx.AsyncClient(trust_env=False) as client:
        with recorded.tracer.start_as_current_span("parent"):
            task = asyncio.create_task(client.get(f"{server}/slow/30"))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    span = recorded.only("GET")
    assert attributes(span)["causal.cancelled"] is True
    assert "error.type" not in attributes(span)
    assert span.status.status_code is StatusCode.UNSET


def test_a_timeout_of_the_client_is_an_error(recorded: Recording, server: str, call: Call) -> None:
    """A timeout that the client itself raises is an ERROR, named by its class."""
    with recorded.tracer.start_as_current_span("parent"), pytest.raises(httpx.ReadTimeout) as caught:
        call("GET", f"{server}/slow/30", timeout=httpx.Timeout(60, read=0.2))
    span = recorded.only("GET")
    assert attributes(span)["error.type"] == "httpx.ReadTimeout"
    assert span.status.status_code is StatusCode.ERROR
    assert "traceparent" not in caught.value.request.headers


def test_a_refused_connection_is_an_error(recorded: Recording, call: Call) -> None:
    """A server that is not there is an ERROR with the exception's class, whose message is not recorded."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with recorded.tracer.start_as_current_span("parent"), pytest.raises(httpx.ConnectError):
        call("GET", url)
    span = recorded.only("GET")
    assert attributes(span)["error.type"] == "httpx.ConnectError"
    assert span.status.description == "ConnectError"


def test_a_response_that_nobody_closes_ends_when_it_is_collected(recorded: Recording) -> None:
    """An abandoned stream's span is not lost: it ends with its object, marked so."""

    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"more"

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless()))
    with httpx.Client(transport=transport) as client, recorded.tracer.start_as_current_span("parent"):
        response = client.send(client.build_request("GET", "http://example.org/"), stream=True)
        assert clients(recorded) == []
        del response
        gc.collect()
    assert attributes(recorded.only("GET"))["causal.abandoned"] is True


def test_a_traced_body_is_still_the_library_s_own_stream(recorded: Recording) -> None:
    """response.stream satisfies the library's checks, and shows what the stream behind it has."""

    class Tagged(httpx.SyncByteStream):
        tag = "mine"

        def __iter__(self) -> Iterator[bytes]:
            yield b"body"

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Tagged()))
    with httpx.Client(transport=transport) as client, recorded.tracer.start_as_current_span("parent"):
        with client.stream("GET", "http://example.org/") as response:
            assert isinstance(response.stream, httpx.SyncByteStream)
            stream = cast("Any", response.stream)
            assert stream._stream.tag == "mine"
            assert not hasattr(stream, "nonsense")
            assert response.read() == b"body"
        assert pickle.loads(pickle.dumps(response)).content == b"body"
    recorded.only("GET")


# -- every transport ----------------------------------------------------------------------------------------------


class OwnTransport(httpx.BaseTransport):
    """A transport of the user's own, which adds a header as signing transports do."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["X-Signed"] = "yes"
        self.seen.append(request)
        return httpx.Response(200, text="own")


class OwnAsyncTransport(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return OwnTransport().handle_request(request)


def test_transports_of_the_user_s_own_are_traced(recorded: Recording) -> None:
    """A custom transport gets the context, and what it does to the request's headers stays with the request."""
    transport = OwnTransport()
    with httpx.Client(transport=transport) as client, recorded.tracer.start_as_current_span("parent"):
        request = client.build_request("GET", "http://example.org/", headers={"A": "b"})
        response = client.send(request)
    assert transport.seen[0].headers["traceparent"] == traceparent(recorded.only("GET"))
    assert response.request is request
    assert request.headers["x-signed"] == "yes"
    assert request.headers["a"] == "b"
    assert "traceparent" not in request.headers


@pytest.mark.asyncio
async def test_async_transports_of_every_kind_are_traced(recorded: Recording) -> None:
    """Mock, ASGI and custom transports make one span each, and carry its context."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(value.decode() for name, value in scope["headers"] if name == b"traceparent")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in process"})

    for transport in (
        httpx.MockTransport(lambda _: httpx.Response(200, text="mock")),
        httpx.ASGITransport(app=app),
        OwnAsyncTransport(),
    ):
        async with httpx.AsyncClient(transport=transport) as client:
            with recorded.tracer.start_as_current_span("parent"):
                assert (await client.get("http://example.org/")).status_code == 200
    assert len(clients(recorded)) == 3
    assert seen == [traceparent(clients(recorded)[1])]


# -- what is the caller's stays the caller's ----------------------------------------------------------------------


def test_nothing_of_the_caller_s_is_changed(recorded: Recording, server: str) -> None:
    """Headers given, the client's headers, and the request itself are afterwards as they were before."""
    given = {"X-Mine": "1"}
    with httpx.Client(trust_env=False, headers=given) as client, recorded.tracer.start_as_current_span("parent"):
        before = list(client.headers.raw)
        request = client.build_request("POST", f"{server}/echo", headers=given, content=iter([b"one", b"two"]))
        headers = request.headers
        response = client.send(request)
        assert response.request is request
        assert request.headers is headers
        assert list(client.headers.raw) == before
    assert given == {"X-Mine": "1"}
    assert "traceparent" not in headers
    assert response.json()["body"] == "onetwo"


@pytest.mark.parametrize("spelling", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_a_stale_traceparent_is_replaced(recorded: Recording, server: str, call: Call, spelling: str) -> None:
    """Whatever its case, a traceparent of the caller's is replaced on the wire, and its tracestate with it."""
    stale = {spelling: f"00-{1:032x}-{1:016x}-01", "tracestate": "old=1"}
    with recorded.tracer.start_as_current_span("parent"):
        response = call("GET", f"{server}/echo", headers=stale)
    assert received(response, "traceparent") == [traceparent(recorded.only("GET"))]
    assert received(response, "tracestate") == []
    assert response.request.headers["traceparent"] == stale[spelling]


def test_a_request_can_be_sent_again_outside_any_trace(recorded: Recording, server: str) -> None:
    """A request sent twice carries its own span each time, and nothing of it once there is none."""
    with httpx.Client(trust_env=False) as client:
        request = client.build_request("GET", f"{server}/echo")
        with recorded.tracer.start_as_current_span("parent"):
            told = [received(client.send(request), "traceparent") for _ in range(2)]
        assert told == [[traceparent(span)] for span in clients(recorded)]
        recorded.clear()
        told = [received(client.send(request), "traceparent")]
        assert told == [[traceparent(recorded.only("GET"))]]
        assert recorded.only("GET").parent is None
        with suppress():
            assert received(client.send(request), "traceparent") == []


def test_the_same_exception_arrives(recorded: Recording, call: Call) -> None:
    """An exception of a transport comes through as the very same object, and the transport is called once."""
    raised = ZeroDivisionError("mine")
    calls: list[str] = []

    def fail(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        raise raised

    with recorded.tracer.start_as_current_span("parent"), pytest.raises(ZeroDivisionError) as caught:
        call("GET", "http://example.org/", {"transport": httpx.MockTransport(fail)})
    assert caught.value is raised
    assert calls == ["GET"]
    assert attributes(recorded.only("GET"))["error.type"] == "ZeroDivisionError"


# -- when nothing is recorded -------------------------------------------------------------------------------------


def test_nothing_is_recorded_nor_carried_where_a_parent_is_required(server: str, call: Call) -> None:
    """With require_parent=True a request outside any trace is none of its own."""
    with recording({"httpx": HttpxOptions(require_parent=True)}) as kept:
        assert received(call("GET", f"{server}/echo"), "traceparent") == []
        assert kept.spans == []


def test_a_request_outside_any_trace_starts_one(recorded: Recording, server: str, call: Call) -> None:
    """Its server is told so."""
    response = call("GET", f"{server}/echo")
    assert received(response, "traceparent") == [traceparent(recorded.only("GET"))]
    assert recorded.only("GET").parent is None


def test_a_trace_that_is_not_sampled_is_carried_from_its_beginning(server: str, call: Call) -> None:
    """Where the sampler says no to a request outside any trace, its server is told so as well."""
    with recording(["httpx"], sampler=ALWAYS_OFF) as kept:
        [told] = received(call("GET", f"{server}/echo"), "traceparent")
        assert kept.spans == []
    assert int(told.split("-")[3], 16) & 1 == 0


def test_an_unsampled_trace_is_carried(server: str, call: Call) -> None:
    """Where the trace is not sampled, nothing is recorded, and the server is told so."""
    with recording(["httpx"], sampler=ALWAYS_OFF) as kept:
        with kept.tracer.start_as_current_span("parent") as parent:
            [told] = received(call("GET", f"{server}/echo"), "traceparent")
        assert kept.spans == []
    version, trace_id, span_id, flags = told.split("-")
    assert trace_id == f"{parent.get_span_context().trace_id:032x}"
    assert span_id == f"{parent.get_span_context().span_id:016x}"
    assert int(flags, 16) & 1 == 0
    assert version == "00"


def test_suppressed_requests_are_left_alone(recorded: Recording, server: str, call: Call) -> None:
    """Inside a suppress, as around an exporter, nothing is recorded and nothing is carried."""
    with recorded.tracer.start_as_current_span("parent"), suppress():
        assert received(call("GET", f"{server}/echo"), "traceparent") == []
    assert clients(recorded) == []


# -- isolation ----------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_concurrent_requests_keep_their_parents(recorded: Recording, server: str) -> None:
    """Of 200 requests at once over one client, each is the child of its own task's span, on the wire as well."""
    async with httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=20)) as client:

        async def one(number: int) -> tuple[str, str]:
            with recorded.tracer.start_as_current_span(f"parent {number}") as parent:
                response = await client.get(f"{server}/echo?n={number}")
                return f"{parent.get_span_context().span_id:016x}", received(response, "traceparent")[0]

        told = await asyncio.gather(*(one(number) for number in range(200)))
    by_context = {traceparent(span): span for span in clients(recorded)}
    assert len(by_context) == 200
    for number, (parent_id, sent) in enumerate(told):
        span = by_context[sent]
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == parent_id
        assert attributes(span)["url.full"].endswith(f"?n={number}")


def test_threads_keep_their_parents(recorded: Recording, server: str) -> None:
    """One sync client shared by 8 threads: every request has its own thread's parent."""
    with httpx.Client(trust_env=False) as client, ThreadPoolExecutor(8) as pool:

        def one(number: int) -> tuple[str, int]:
            with recorded.tracer.start_as_current_span(f"parent {number}") as parent:
                return received(client.get(f"{server}/echo"), "traceparent")[0], parent.get_span_context().span_id

        told = dict(pool.map(one, range(40)))
    assert {traceparent(span): span.parent and span.parent.span_id for span in clients(recorded)} == told


# -- secrets ------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_any_span(recorded: Recording, server: str, call: Call) -> None:
    """Credentials, tokens in the query, headers, cookies and bodies appear nowhere in a span."""
    host = server.removeprefix("http://")
    with recorded.tracer.start_as_current_span("parent"):
        response = call(
            "POST",
            f"http://user:{SECRET}@{host}/echo?api_key={SECRET}&sig={SECRET}&X-Amz-Signature={SECRET}&page=2",
            headers={"Authorization": f"Bearer {SECRET}", "Cookie": SECRET, "X-Api-Key": SECRET},
            json={"password": SECRET},
        )
    assert response.json()["body"].count(SECRET) == 1
    span = recorded.only("POST")
    assert SECRET not in span.to_json()
    assert attributes(span)["url.full"] == (
        f"http://REDACTED:REDACTED@{host}/echo?api_key=REDACTED&sig=REDACTED&X-Amz-Signature=REDACTED&page=2"
    )


# -- install and uninstall ----------------------------------------------------------------------------------------


def test_uninstall_restores_the_very_same_objects() -> None:
    """Afterwards every patched attribute is the object it was before."""
    before = originals(PATCH)
    with recording(["httpx"]):
        assert placed(PATCH, before)
    assert originals(PATCH) == before


def test_the_patched_methods_look_like_the_originals() -> None:
    """Signature, kind, pickle and deepcopy of the patched methods are as without us."""
    names = ("_send_single_request", "_send_handling_auth")
    methods = [getattr(kind, name) for kind in (httpx.Client, httpx.AsyncClient) for name in names]
    before = [(inspect.signature(method), inspect.iscoroutinefunction(method)) for method in methods]
    with recording(["httpx"]):
        now = [getattr(kind, name) for kind in (httpx.Client, httpx.AsyncClient) for name in names]
        assert [(inspect.signature(method), inspect.iscoroutinefunction(method)) for method in now] == before
        for method in now:
            assert copy.deepcopy(method) is method
            assert pickle.loads(pickle.dumps(method)) is method


def test_clients_made_before_are_traced_and_switched_off_afterwards(server: str) -> None:
    """A client made before install() is traced; after an uninstall it is not, nor while a response was under way."""
    with httpx.Client(trust_env=False) as client:
        with recording(["httpx"]) as kept:
            with kept.tracer.start_as_current_span("parent"):
                client.get(f"{server}/echo")
                pending = client.send(client.build_request("GET", f"{server}/stream"), stream=True)
            assert len(clients(kept)) == 1
        assert len(pending.read()) == 3000
        assert received(client.get(f"{server}/echo"), "traceparent") == []


def test_a_subclass_is_traced_once(recorded: Recording, server: str) -> None:
    """A client class of the user's own that overrides send() makes one span a request."""

    class Own(httpx.Client):
        def send(self, *args: Any, **kwargs: Any) -> httpx.Response:
            return super().send(*args, **kwargs)

    with Own(trust_env=False) as client, recorded.tracer.start_as_current_span("parent"):
        client.get(f"{server}/echo")
    recorded.only("GET")


@pytest.mark.asyncio
async def test_an_async_body_and_upload_stream_come_through(recorded: Recording, server: str) -> None:
    """A streamed upload reaches the server whole, read once."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc"

    async with httpx.AsyncClient(trust_env=False) as client:
        with recorded.tracer.start_as_current_span("parent"):
            response = await client.put(f"{server}/echo", content=chunks())
    assert response.json()["body"] == "abcabcabc"
    recorded.only("PUT")


@pytest.mark.asyncio
async def test_httpx2_is_traced_alike(recorded: Recording, server: str) -> None:
    """HTTPX2, where it is installed, is traced by the same patch."""
    httpx2 = pytest.importorskip("httpx2")
    async with httpx2.AsyncClient(trust_env=False) as client:
        with recorded.tracer.start_as_current_span("parent"):
            response = await client.get(f"{server}/redirect/0", follow_redirects=True)
    first, second = clients(recorded)
    assert received(response, "traceparent") == [traceparent(second)]
    assert [attributes(span).get("http.request.resend_count") for span in (first, second)] == [None, 1]
    assert response.elapsed.total_seconds() > 0
