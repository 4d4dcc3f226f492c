"""What requests and tasks tell of their own time: how long they computed, and how long they waited for a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from celery import Celery
from fastapi import FastAPI

from causal_otel.patches.asgi import AsgiOptions
from causal_otel.patches.celery import CeleryOptions
from causal_otel.patches.wsgi import WsgiMiddleware, WsgiOptions
from tests.causality.computing import COMPUTED, compute
from tests.causality.loops import LOOPS, run
from tests.patches.asgi_requests import fetch, server
from tests.patches.wsgi_app import ask
from tests.recording import recording
from tests.span_relations import attributes, seconds

_SECONDS = COMPUTED / 1e9

api = FastAPI()


@api.get("/own")
async def own() -> None:
    """Compute in two steps, and wait in between."""
    compute(COMPUTED // 2)
    await asyncio.sleep(_SECONDS)
    compute(COMPUTED // 2)


@api.get("/thread")
def in_a_thread() -> None:
    """Compute in a thread of the pool's."""
    compute()


@api.get("/turns")
async def turns() -> None:
    """Be ready three times, while something else is before it in the loop's turn."""
    loop = asyncio.get_running_loop()
    for _ in range(3):
        loop.call_soon(compute)
        await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["/own", "/thread"])
@pytest.mark.parametrize("kind", LOOPS)
def test_a_request_tells_what_it_computed(kind: str, path: str) -> None:
    """It is what its own steps and threads have computed, and not the waits between."""
    with recording(["asgi"]) as kept:
        run(kind, fetch(path, of=api))
        span = server(kept)
    computed = attributes(span)["causal.cpu"]
    assert _SECONDS <= computed <= seconds(span)
    if path == "/own":
        assert computed <= seconds(span) - _SECONDS


@pytest.mark.parametrize("installed", ["before the loop", "inside"])
@pytest.mark.parametrize("kind", LOOPS)
def test_a_request_tells_how_long_it_was_ready(kind: str, installed: str) -> None:
    """What ran before it in the turns in which it was ready is no time of its own; wherever tracing was installed."""
    patches = ["asgi", "event_loop"]

    async def inside() -> Any:
        with recording(patches) as kept:
            await fetch("/turns", of=api)
            return server(kept)

    if installed == "inside":
        span = run(kind, inside())
    else:
        with recording(patches) as kept:
            run(kind, fetch("/turns", of=api))
            span = server(kept)
    told = attributes(span)
    # Libuv tells the beginning of a turn to the millisecond.
    assert 3 * (_SECONDS - 0.002) <= told["causal.loop.ready.wait"] <= seconds(span)
    assert told.get("causal.cpu", 0.0) <= seconds(span) - told["causal.loop.ready.wait"]


def _wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    compute()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


def test_a_wsgi_request_tells_what_it_computed() -> None:
    """It is what its thread has computed."""
    with recording(["wsgi"]) as kept:
        ask(WsgiMiddleware(_wsgi))
        span = server(kept)
    assert _SECONDS <= attributes(span)["causal.cpu"] <= seconds(span)


celery = Celery("own", broker="memory://", backend="cache+memory://", set_as_current=False)


@celery.task(name="own.compute")
def task() -> None:
    """Compute."""
    compute()


def test_a_task_tells_what_it_computed() -> None:
    """It is what its thread has computed, tracing of the task included."""
    with recording(["celery"]) as kept:
        task.apply()
        span = kept.only("process own.compute")
    assert _SECONDS <= attributes(span)["causal.cpu"] <= seconds(span)


def test_it_can_be_turned_off() -> None:
    """A patch that is told not to says nothing of it, of work in threads neither."""
    patches = {
        "asgi": AsgiOptions(cpu_time=False),
        "celery": CeleryOptions(cpu_time=False),
        "event_loop": True,
        "wsgi": WsgiOptions(cpu_time=False),
    }
    with recording(patches) as kept:
        for path in ("/own", "/thread", "/turns"):
            asyncio.run(fetch(path, of=api))
        ask(WsgiMiddleware(_wsgi))
        task.apply()
        assert len(kept.spans) == 5
        told = {key for span in kept.spans for key in attributes(span)}
    assert not told & {"causal.cpu", "causal.loop.ready.wait"}
