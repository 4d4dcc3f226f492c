"""Each attempt on the wire is one span, also where a transport of the user's own makes several of one request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from causal_otel.patches.httpx import HttpxOptions
from tests.patches.http_client import Call, clients, received
from tests.patches.http_server import serve
from tests.recording import Recording, recording
from tests.span_relations import assert_span, traceparent

if TYPE_CHECKING:
    from collections.abc import Iterator

PATCHES = ["httpx"]

RESEND = "http.request.resend_count"
WIRE: list[str] = []
"""The traceparent of each request that has reached the server."""


@pytest.fixture
def unstable() -> Iterator[str]:
    """A server that says 503 to two of three requests."""
    WIRE.clear()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        WIRE.extend(value.decode() for name, value in scope["headers"] if name == b"traceparent")
        status = 200 if len(WIRE) % 3 == 0 else 503
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"a big"})

    with serve(app) as url:
        yield url


class Retrying(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Tries up to three times, as such transports do.

    Args:
        copies: whether each attempt is a request of its own.
    """

    def __init__(self, copies: bool = False) -> None:
        self._copies = copies
        self._own = httpx.HTTPTransport()
        self._async_own = httpx.AsyncHTTPTransport()

    def _next(self, request: httpx.Request) -> httpx.Request:
        if not self._copies:
            return request
        return httpx.Request(request.method, request.url, headers=request.headers, stream=request.stream)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(2):
            response = self._own.handle_request(self._next(request))
            if response.status_code < 500:
                return response
            response.close()
        return self._own.handle_request(self._next(request))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(2):
            response = await self._async_own.handle_async_request(self._next(request))
            if response.status_code < 500:
                return response
            await response.aclose()
        return await self._async_own.handle_async_request(self._next(request))

    def close(self) -> None:
        self._own.close()

    async def aclose(self) -> None:
        await self._async_own.aclose()


@pytest.mark.parametrize("copies", [False, True], ids=["same request", "copies"])
def test_retries_of_a_transport_are_a_span_each(recorded: Recording, unstable: str, call: Call, copies: bool) -> None:
    """Three attempts are three spans with one parent, each with its own outcome, and the server is told of each."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("POST", unstable, {"transport": Retrying(copies)}, content=b"x")
    assert response.text == "a big"
    spans = clients(recorded)
    errors = ["503", "503", None]
    found = [assert_span(span, parent, error=error) for span, error in zip(spans, errors, strict=True)]
    assert [each["http.response.status_code"] for each in found] == [503, 503, 200]
    assert [each.get(RESEND) for each in found] == [None, 1, 2]
    assert [traceparent(span) for span in spans] == WIRE
    assert "traceparent" not in response.request.headers


def test_attempts_that_fail_are_a_span_each(recorded: Recording, call: Call) -> None:
    """Each attempt has its own error; that of the last is the caller's."""

    class Stubborn(Retrying):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            with pytest.raises(httpx.ConnectError):
                self._own.handle_request(request)
            return self._own.handle_request(request)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            with pytest.raises(httpx.ConnectError):
                await self._async_own.handle_async_request(request)
            return await self._async_own.handle_async_request(request)

    with recorded.tracer.start_as_current_span("parent") as parent, pytest.raises(httpx.ConnectError):
        call("GET", "http://127.0.0.1:1/", {"transport": Stubborn()})
    found = [assert_span(span, parent, error="httpx.ConnectError") for span in clients(recorded)]
    assert [each.get(RESEND) for each in found] == [None, 1]


def test_a_redirect_after_a_retry_is_counted_with_it(recorded: Recording, server: str, call: Call) -> None:
    """All that one request of the application puts on the wire is counted together."""

    class Twice(Retrying):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            self._own.handle_request(request).close()
            return self._own.handle_request(request)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await (await self._async_own.handle_async_request(request)).aclose()
            return await self._async_own.handle_async_request(request)

    with recorded.tracer.start_as_current_span("parent") as parent:
        call("GET", f"{server}/redirect/0", {"transport": Twice()}, follow_redirects=True)
    found = [assert_span(span, parent) for span in clients(recorded)]
    assert [each.get(RESEND) for each in found] == [None, 1, 2, 3]


def test_a_transport_that_asks_no_server_has_a_span(recorded: Recording, call: Call) -> None:
    """What is answered from a cache, or fails before any attempt, is one span."""

    def cached(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/fails":
            raise LookupError
        return httpx.Response(200, text="cached")

    transport = {"transport": httpx.MockTransport(cached)}
    with recorded.tracer.start_as_current_span("parent") as parent:
        call("GET", "http://example.org/", transport)
        with pytest.raises(LookupError):
            call("GET", "http://example.org/fails", transport)
    first, second = clients(recorded)
    assert assert_span(first, parent)["http.response.status_code"] == 200
    assert_span(second, parent, error="LookupError")


def test_another_request_of_a_transport_is_its_own(recorded: Recording, server: str, call: Call) -> None:
    """What a transport needs besides, such as a token, is no attempt of the request: it has a span that says where."""

    class Signing(Retrying):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            self._own.handle_request(httpx.Request("GET", f"{server}/echo?token")).close()
            return self._own.handle_request(request)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            token = await self._async_own.handle_async_request(httpx.Request("GET", f"{server}/echo?token"))
            await token.aclose()
            return await self._async_own.handle_async_request(request)

    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("GET", f"{server}/echo", {"transport": Signing()})
    token, request = clients(recorded)
    assert assert_span(token, parent)["url.full"] == f"{server}/echo?token"
    assert RESEND not in assert_span(request, parent)
    assert received(response, "traceparent") == [traceparent(request)]


def test_a_transport_that_asks_another_server(recorded: Recording, server: str, call: Call) -> None:
    """Where a transport sends a request elsewhere, the span says where it went."""

    class Elsewhere(Retrying):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.url = httpx.URL(f"{server}/echo")
            return self._own.handle_request(request)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.url = httpx.URL(f"{server}/echo")
            return await self._async_own.handle_async_request(request)

    with recorded.tracer.start_as_current_span("parent") as parent:
        call("GET", "http://balanced.example/", {"transport": Elsewhere()})
    found = assert_span(recorded.only("GET"), parent)
    assert (found["url.full"], found["server.address"]) == (f"{server}/echo", "127.0.0.1")


def test_mounted_transports_are_traced(recorded: Recording, server: str, call: Call) -> None:
    """Whatever a client has mounted for a URL: one span."""
    mounts: Any = {
        "all://127.0.0.1": Retrying(),
        "all://example.org": httpx.MockTransport(lambda _: httpx.Response(204)),
    }
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("GET", f"{server}/echo", {"mounts": mounts})
        call("GET", "http://example.org/", {"mounts": mounts})
    first, second = clients(recorded)
    assert_span(first, parent)
    assert_span(second, parent)
    assert received(response, "traceparent") == [traceparent(first)]


def test_a_transport_used_without_a_client_is_traced(recorded: Recording, server: str) -> None:
    """Each request through it is an attempt of its own."""
    with httpx.HTTPTransport() as transport, recorded.tracer.start_as_current_span("parent") as parent:
        for _ in range(2):
            response = transport.handle_request(httpx.Request("GET", f"{server}/echo"))
            response.read()
    for span in clients(recorded):
        assert RESEND not in assert_span(span, parent)
    assert len(clients(recorded)) == 2


def test_a_replaced_method_of_httpx_s_own_transport(
    recorded: Recording, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a test replaces what sends requests, as mocks of httpx do, they are traced all the same."""
    answer = httpx.Response(200, text="mocked")

    async def handle_async_request(self: Any, request: httpx.Request) -> httpx.Response:
        return answer

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda self, request: answer)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async_request)
    with recorded.tracer.start_as_current_span("parent") as parent:
        assert call("GET", "http://example.org/").text == "mocked"
    assert_span(recorded.only("GET"), parent)


@pytest.mark.asyncio
async def test_hedged_attempts_are_a_span_each(recorded: Recording, server: str) -> None:
    """Two attempts at once, of which the slower is cancelled: each has its span, and tells how it went."""

    class Hedging(Retrying):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            slow = httpx.Request("GET", f"{server}/slow/30", headers=request.headers, stream=request.stream)
            late = asyncio.create_task(self._async_own.handle_async_request(slow))
            await asyncio.sleep(0)
            response = await self._async_own.handle_async_request(request)
            late.cancel()
            with pytest.raises(asyncio.CancelledError):
                await late
            return response

    async with httpx.AsyncClient(transport=Hedging()) as client:
        with recorded.tracer.start_as_current_span("parent") as parent:
            assert (await client.get(f"{server}/echo")).status_code == 200
    cancelled, answered = sorted(clients(recorded), key=lambda span: "causal.cancelled" not in (span.attributes or {}))
    assert_span(cancelled, parent, cancelled=True)
    assert_span(answered, parent)


def test_unsampled_attempts_carry_the_trace(unstable: str, call: Call) -> None:
    """Where nothing is recorded, each attempt carries the trace as not sampled, and an excluded one likewise."""
    with recording(["httpx"], sampler=ALWAYS_OFF) as kept:
        with kept.tracer.start_as_current_span("parent"):
            call("GET", unstable, {"transport": Retrying()})
        assert kept.spans == []
    assert [each.endswith(("-00", "-02")) for each in WIRE] == [True] * 3
    with recording({"httpx": HttpxOptions(excluded=("/x",))}) as kept:
        with kept.tracer.start_as_current_span("parent"):
            call("GET", f"{unstable}/x", {"transport": Retrying()})
        assert clients(kept) == []
    assert len(set(WIRE)) == 2


@pytest.mark.asyncio
async def test_retries_in_httpx2_are_a_span_each(recorded: Recording, unstable: str) -> None:
    """HTTPX2 is traced alike: three attempts, three spans, of which the server is told."""

    class Trying(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            async with httpx2.AsyncHTTPTransport() as own:
                while True:
                    response = await own.handle_async_request(request)
                    await response.aread()
                    if response.status_code < 500:
                        return response

    async with httpx2.AsyncClient(transport=Trying()) as client:
        with recorded.tracer.start_as_current_span("parent") as parent:
            assert (await client.get(unstable)).text == "a big"
    spans = clients(recorded)
    errors = ["503", "503", None]
    found = [assert_span(span, parent, error=error) for span, error in zip(spans, errors, strict=True)]
    assert [each.get(RESEND) for each in found] == [None, 1, 2]
    assert [traceparent(span) for span in spans] == WIRE
