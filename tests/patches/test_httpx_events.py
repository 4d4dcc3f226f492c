"""httpcore's events: the caller's own ``trace`` extension is told what it is told without us."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from tests.patches.http_client import Call, clients
from tests.recording import Recording, recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import Callable

PATCHES = ["httpx"]


class _Own:
    """A caller's extension, for clients of either kind."""

    def __init__(self, call: Call, fails_at: str = "") -> None:
        self.events: list[tuple[str, list[str]]] = []
        self._fails_at = fails_at
        self.raised = LookupError("mine")
        self.extension: Callable[..., Any] = self._plain if call.__name__ == "sync_call" else self._async

    def _plain(self, name: str, info: dict[str, Any]) -> None:
        self.events.append((name, sorted(info)))
        if name == self._fails_at:
            raise self.raised

    async def _async(self, name: str, info: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        self._plain(name, info)


def test_the_caller_s_extension_is_told_the_same(server: str, call: Call) -> None:
    """Each event in its order, with the same information, as without us; what the caller has given stays."""
    without, within = _Own(call), _Own(call)
    call("GET", f"{server}/echo", extensions={"trace": without.extension})
    with recording(["httpx"]) as kept:
        given = {"trace": within.extension}
        with kept.tracer.start_as_current_span("parent") as parent:
            response = call("GET", f"{server}/echo", extensions=given)
        assert_span(kept.only("GET"), parent)
    assert within.events == without.events
    assert within.events[0][0] == "connection.connect_tcp.started"
    assert given == {"trace": within.extension}
    assert response.request.extensions["trace"] == within.extension


@pytest.mark.parametrize(
    "event",
    ["connection.connect_tcp.started", "http11.send_request_headers.started", "http11.response_closed.complete"],
)
def test_what_the_caller_s_extension_raises(recorded: Recording, server: str, call: Call, event: str) -> None:
    """The very exception is the caller's, wherever it is raised, and the request has failed with it."""
    own = _Own(call, event)
    with recorded.tracer.start_as_current_span("parent") as parent, pytest.raises(LookupError) as caught:
        call("GET", f"{server}/echo", extensions={"trace": own.extension})
    assert caught.value is own.raised
    span = recorded.only("GET")
    if event.endswith("complete"):  # the body had arrived
        assert_span(span, parent)
    else:
        assert_span(span, parent, error="LookupError")


def test_an_extension_of_the_wrong_kind(recorded: Recording, server: str) -> None:
    """Where httpcore refuses an extension, as a plain function of an async client, it does so all the same."""

    async def request() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"{server}/echo", extensions={"trace": lambda name, info: None})

    with recorded.tracer.start_as_current_span("parent") as parent, pytest.raises(TypeError, match="asynchronous"):
        asyncio.run(request())
    assert_span(recorded.only("GET"), parent, error="TypeError")


def test_nothing_is_added_where_nothing_is_recorded(server: str) -> None:
    """The request that is sent in a trace that is not sampled has the context, and no extension of ours."""
    seen: list[Any] = []

    class Own(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            seen.append(request.extensions)
            return response

    with (
        recording(["httpx"], sampler=ALWAYS_OFF) as kept,
        httpx.Client(transport=Own()) as client,
        kept.tracer.start_as_current_span("parent"),
    ):
        response = client.get(f"{server}/echo")
    assert seen == [response.request.extensions]
    assert list(seen[0]) == ["timeout"]
    assert type(response.stream).__module__.startswith("httpx.")


def test_requests_that_a_server_refuses_to_read(recorded: Recording, call: Call) -> None:
    """A connection that breaks before an answer is an ERROR, whatever has been told of it."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(hang_up, "127.0.0.1") as listening:
            port = listening.sockets[0].getsockname()[1]
            await asyncio.to_thread(call, "GET", f"http://127.0.0.1:{port}/")

    with recorded.tracer.start_as_current_span("parent") as parent, pytest.raises(httpx.RemoteProtocolError):
        asyncio.run(ask())
    assert_span(clients(recorded)[0], parent, error="httpx.RemoteProtocolError")
