"""Requests that fail or are cancelled: their error is the caller's, and what is the caller's stays as it was."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from causal_otel.engine.context import suppress
from tests.patches.http_client import Call, clients, received
from tests.span_relations import assert_span, traceparent

if TYPE_CHECKING:
    from tests.recording import Recording

PATCHES = ["httpx"]


@pytest.mark.asyncio
async def test_a_request_cancelled_while_waiting_is_marked(recorded: Recording, server: str) -> None:
    """A cancelled request is the caller's decision: unset, marked, and no error.type."""
    async with httpx.AsyncClient(trust_env=False) as client:
        with recorded.tracer.start_as_current_span("parent") as parent:
            task = asyncio.create_task(client.get(f"{server}/slow/30"))
            await asyncio.sleep(0)  # in which it has begun
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert_span(recorded.only("GET"), parent, cancelled=True, lasts=0.2)


def test_a_timeout_of_the_client_is_an_error(recorded: Recording, server: str, call: Call) -> None:
    """A timeout that the client itself raises is an ERROR, named by its class."""
    with recorded.tracer.start_as_current_span("parent") as parent, pytest.raises(httpx.ReadTimeout) as caught:
        call("GET", f"{server}/slow/30", timeout=httpx.Timeout(60, read=0.2))
    assert_span(recorded.only("GET"), parent, error="httpx.ReadTimeout", lasts=0.19)
    assert "traceparent" not in caught.value.request.headers


def test_a_refused_connection_is_an_error(recorded: Recording, call: Call) -> None:
    """A server that is not there is an ERROR with the exception's class, whose message is not recorded."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with recorded.tracer.start_as_current_span("parent") as parent, pytest.raises(httpx.ConnectError):
        call("GET", url)
    span = recorded.only("GET")
    assert_span(span, parent, error="httpx.ConnectError")
    assert span.status.description == "ConnectError"


def test_nothing_of_the_caller_s_is_changed(recorded: Recording, server: str) -> None:
    """Headers given, the client's headers, and the request itself are afterwards as they were before."""
    given = {"X-Mine": "1"}
    with (
        httpx.Client(trust_env=False, headers=given) as client,
        recorded.tracer.start_as_current_span("parent") as parent,
    ):
        before = list(client.headers.raw)
        request = client.build_request("POST", f"{server}/echo", headers=given, content=iter([b"one", b"two"]))
        headers = request.headers
        response = client.send(request)
        assert response.request is request
        assert request.headers is headers
        assert list(client.headers.raw) == before
    assert_span(recorded.only("POST"), parent)
    assert given == {"X-Mine": "1"}
    assert "traceparent" not in headers
    assert response.json()["body"] == "onetwo"


@pytest.mark.parametrize("spelling", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_a_stale_traceparent_is_replaced(recorded: Recording, server: str, call: Call, spelling: str) -> None:
    """Whatever its case, a traceparent of the caller's is replaced on the wire, and its tracestate with it."""
    stale = {spelling: f"00-{1:032x}-{1:016x}-01", "tracestate": "old=1"}
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("GET", f"{server}/echo", headers=stale)
    assert_span(recorded.only("GET"), parent)
    assert received(response, "traceparent") == [traceparent(recorded.only("GET"))]
    assert received(response, "tracestate") == []
    assert response.request.headers["traceparent"] == stale[spelling]


def test_a_request_can_be_sent_again_outside_any_trace(recorded: Recording, server: str) -> None:
    """A request sent twice carries its own span each time, and nothing of it once there is none."""
    with httpx.Client(trust_env=False) as client:
        request = client.build_request("GET", f"{server}/echo")
        with recorded.tracer.start_as_current_span("parent") as parent:
            told = [received(client.send(request), "traceparent") for _ in range(2)]
        assert told == [[traceparent(span)] for span in clients(recorded)]
        for span in clients(recorded):
            assert_span(span, parent)
        recorded.clear()
        told = [received(client.send(request), "traceparent")]
        assert told == [[traceparent(recorded.only("GET"))]]
        assert_span(recorded.only("GET"), None)
        with suppress():
            assert received(client.send(request), "traceparent") == []


def test_the_same_exception_arrives(recorded: Recording, call: Call) -> None:
    """An exception of a transport comes through as the very same object, and the transport is called once."""
    raised = ZeroDivisionError("mine")
    calls: list[str] = []

    def fail(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        raise raised

    with recorded.tracer.start_as_current_span("parent") as parent, pytest.raises(ZeroDivisionError) as caught:
        call("GET", "http://example.org/", {"transport": httpx.MockTransport(fail)})
    assert caught.value is raised
    assert calls == ["GET"]
    assert_span(recorded.only("GET"), parent, error="ZeroDivisionError")
