"""Websockets, each of which is one SERVER span, and lifespans, which are none and end with a flush."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.websockets import WebSocketDisconnect

from causal_otel.installation import Installation
from tests.patches.asgi_app import app
from tests.patches.asgi_requests import SENDER, TRACE_ID, TRACEPARENT, exchange, server
from tests.recording import Recording, recording
from tests.span_relations import attributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATCHES = ["asgi"]


def websocket(room: str, **scope: Any) -> dict[str, Any]:
    return {"type": "websocket", "path": f"/ws/{room}", "scheme": "ws", "headers": [], "subprotocols": [], **scope}


def said(*texts: str, code: int = 1006) -> list[dict[str, Any]]:
    """A client that connects, says this, and leaves."""
    return [
        {"type": "websocket.connect"},
        *({"type": "websocket.receive", "text": text} for text in texts),
        {"type": "websocket.disconnect", "code": code},
    ]


@pytest.mark.asyncio
async def test_a_websocket_is_one_span(recorded: Recording) -> None:
    """A connection with many messages is one SERVER span, child of its handshake's sender."""
    headers = [(b"traceparent", TRACEPARENT.encode()), (b"host", b"api.example")]
    sent = await exchange(app, said(*["hello"] * 20, "bye"), websocket("red", headers=headers))
    span = server(recorded, SENDER)
    assert len(recorded.spans) == 1
    assert len(sent) == 22
    assert span.name == "GET /ws/{room}"
    assert span.kind is SpanKind.SERVER
    found = attributes(span)
    assert (found["url.scheme"], found["network.protocol.name"]) == ("ws", "websocket")
    assert found["server.port"] == 80
    assert found["http.response.status_code"] == 101
    assert (b"x-trace-id", TRACE_ID.encode()) in sent[0]["headers"]


@pytest.mark.asyncio
async def test_a_refused_websocket_is_a_403(recorded: Recording) -> None:
    """A connection closed before it was accepted was answered 403."""
    await exchange(app, said(), websocket("closed"))
    assert attributes(server(recorded))["http.response.status_code"] == 403


@pytest.mark.asyncio
async def test_a_websocket_s_client_may_leave(recorded: Recording) -> None:
    """A client that vanishes is how most connections end: no error."""
    with contextlib.suppress(WebSocketDisconnect):
        await exchange(app, said("hello"), websocket("red"))
    assert server(recorded).events == ()


@pytest.mark.asyncio
async def test_a_websocket_s_client_may_leave_while_spoken_to(recorded: Recording) -> None:
    """Where the server tells of it by an OSError, that comes through and is no error of the connection's either."""

    async def gone(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            raise OSError("gone")

    with contextlib.suppress(OSError, WebSocketDisconnect):
        await exchange(app, said("hello"), websocket("red"), gone)
    assert attributes(server(recorded))["http.response.status_code"] == 101


@pytest.mark.asyncio
async def test_an_exception_in_a_websocket_is_an_error(recorded: Recording) -> None:
    """An exception that ends a connection is recorded on its span."""
    with pytest.raises(ValueError, match="went wrong"):
        await exchange(app, said("fail"), websocket("red"))
    assert [event.name for event in server(recorded, error="ValueError").events] == ["exception"]


class Flushed:
    """Stands in for the provider's flush, which is at the other end of the process."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, timeout: float) -> bool:
        self.calls.append((timeout, threading.current_thread().name))
        return self.gate.wait(60)


async def live(of: Any) -> list[str]:
    """Start an application and shut it down; returns the messages it sent."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    return [message["type"] for message in await exchange(of, messages, {"type": "lifespan", "state": {}})]


@pytest.mark.asyncio
async def test_a_lifespan_is_no_span_and_ends_with_a_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lifespan makes no span; all spans are exported, off the loop's thread, before the server hears of its end."""
    flushed, order = Flushed(), []

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        order.append(f"shut down after {len(flushed.calls)} flushes")

    monkeypatch.setattr(Installation, "flush", flushed)
    with recording(["asgi"]) as kept:
        for kind in (FastAPI, Starlette):
            sent = await live(kind(lifespan=lifespan))
            assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert kept.spans == []
    assert order == ["shut down after 0 flushes", "shut down after 1 flushes"]
    assert {name for _, name in flushed.calls} == {"causal-otel-flush"}


@pytest.mark.asyncio
async def test_a_flush_that_hangs_does_not_keep_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the provider's flush takes, the shutdown goes on after a while."""
    monkeypatch.setattr("causal_otel.patches.asgi.lifespan._FLUSH_SECONDS", 0.2)
    flushed = Flushed()
    flushed.gate.clear()
    monkeypatch.setattr(Installation, "flush", flushed)
    with recording(["asgi"]):
        began = time.monotonic()
        assert await live(Starlette()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert time.monotonic() - began >= 0.2
        assert len(flushed.calls) == 1  # and it hangs still
        flushed.gate.set()
