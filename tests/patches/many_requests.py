"""The application of the test of many requests: an endpoint for each way in which work is done, fails or is cancelled.

Each endpoint is ``/NAME/{number}``. Each span made here says in ``number`` whose it is to be, by the path, and in
``baggage`` whose the context says that it is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from opentelemetry import baggage
from starlette.concurrency import run_in_threadpool

import causal_otel

__all__ = ["EXPECTED", "LEAVES", "STREAMS", "THREADS", "storm"]

THREADS = 8
"""Of the application's own pool."""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=None)
    with ThreadPoolExecutor(THREADS, "own-pool") as app.state.pool:
        async with httpx.AsyncClient(trust_env=False, timeout=300, limits=limits) as app.state.client:
            yield


storm = FastAPI(lifespan=_lifespan)

EXPECTED: dict[str, tuple[str, ...]] = {}
"""By the name of an endpoint, the spans of a request to it: ``name < name of its parent``, after ``!`` where it is an
error, after ``?`` where it was cancelled."""

LEAVES: set[str] = set()
"""Endpoints whose clients leave: when they have sent the request or, of those in ``STREAMS``, read something."""

STREAMS = {"left_stream"}

_forgotten: set[asyncio.Task[None]] = set()
_held: dict[int, asyncio.Event] = {}


def _work(name: str, number: int) -> Any:
    return causal_otel.span(name, {"number": number, "baggage": str(baggage.get_baggage("number"))})


def _leaves(*spans: str, server: str = "", leaves: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Route an endpoint under its own name, and note which spans a request to it leaves.

    Args:
        spans: those below the request's own, as ``EXPECTED`` has them; without a parent, its children.
        server: the mark of the request's own.
        leaves: whether the client does.
    """

    def route(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        name = endpoint.__name__
        own = f"GET /{name}/{{number}}"
        below = [span if " < " in span else f"{span} < {own}" for span in spans]
        EXPECTED[name] = tuple(sorted([f"{server}{own} < sender", *below]))
        if leaves:
            LEAVES.add(name)
        storm.get(f"/{name}/{{number}}")(endpoint)
        return endpoint

    return route


# -- where the work is done -------------------------------------------------------------------------------------------


def _job(number: int) -> None:
    with _work("job", number):
        pass


@_leaves("work")
async def plain(number: int) -> None:
    with _work("work", number):
        await asyncio.sleep(0)


@_leaves("work")
def threaded(number: int) -> None:
    with _work("work", number):
        pass


@_leaves("job")
async def executor(number: int) -> None:
    await asyncio.get_running_loop().run_in_executor(None, _job, number)


@_leaves("job < outer", "outer")
async def own_pool(number: int) -> None:
    with _work("outer", number):
        submitted = storm.state.pool.submit(_job, number)
    await asyncio.wrap_future(submitted)


@_leaves("job")
async def to_thread(number: int) -> None:
    await asyncio.gather(asyncio.to_thread(_job, number), asyncio.sleep(0.001))


@_leaves("job")
async def started_thread(number: int) -> None:
    thread = threading.Thread(target=_job, args=(number,))
    thread.start()
    await run_in_threadpool(thread.join)


def _threaded_dependency(number: int) -> Iterator[int]:
    with _work("dependency", number):
        pass
    yield number


@_leaves("dependency", "work")
async def dependency(given: Annotated[int, Depends(_threaded_dependency)]) -> None:
    with _work("work", given):
        await asyncio.sleep(0)


# -- what goes on after the response ----------------------------------------------------------------------------------


async def _later(number: int) -> None:
    with _work("later", number):
        await asyncio.sleep(0.001)


def _later_in_a_thread(number: int) -> None:
    with _work("later", number):
        pass


@_leaves("_later", "later < _later")
async def background(number: int, tasks: BackgroundTasks) -> None:
    tasks.add_task(_later, number)


@_leaves("_later_in_a_thread", "later < _later_in_a_thread")
def threaded_background(number: int, tasks: BackgroundTasks) -> None:
    tasks.add_task(_later_in_a_thread, number)


@_leaves("later")
async def forgotten(number: int) -> None:
    task = asyncio.create_task(_later(number))
    _forgotten.add(task)
    task.add_done_callback(_forgotten.discard)


# -- what fails -------------------------------------------------------------------------------------------------------


@_leaves("!work", server="!")
async def fails(number: int) -> None:
    with _work("work", number):
        await asyncio.sleep(0)
        raise LookupError(number)


@_leaves("!work", server="!")
def threaded_fails(number: int) -> None:
    with _work("work", number):
        raise LookupError(number)


@_leaves("!work", server="!")
async def answered(number: int) -> None:
    try:
        with _work("work", number):
            raise LookupError(number)
    except LookupError as error:
        raise HTTPException(503) from error


# -- what is cancelled ------------------------------------------------------------------------------------------------


async def _endless(name: str, number: int) -> None:
    with _work(name, number):
        await asyncio.sleep(600)


@_leaves("?slow", "work")
async def timeout(number: int) -> None:
    try:
        async with asyncio.timeout(0.005):
            await _endless("slow", number)
    except TimeoutError:
        with _work("work", number):
            pass


@_leaves("!broken < group", "?slow < group", "!group", server="!")
async def group(number: int) -> None:
    async def broken() -> None:
        with _work("broken", number):
            await asyncio.sleep(0.001)
            raise LookupError(number)

    with _work("group", number):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_endless("slow", number))
            tasks.create_task(broken())


@_leaves("work", server="!", leaves=True)
async def left(number: int, request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    with _work("work", number):
        pass


@_leaves("work", server="!", leaves=True)
async def left_stream(number: int) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        with _work("work", number):
            await asyncio.sleep(0)
        while True:
            yield b"chunk"
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks())


# -- streams and calls ------------------------------------------------------------------------------------------------


@_leaves("first", "second")
async def threaded_stream(number: int) -> StreamingResponse:
    def chunks() -> Iterator[bytes]:
        for name in ("first", "second"):
            with _work(name, number):
                pass
            yield b"chunk"

    return StreamingResponse(chunks())


@_leaves("GET", "GET /plain/{number} < GET", "work < GET /plain/{number}")
async def calls(number: int, request: Request) -> None:
    await storm.state.client.get(f"{request.base_url}plain/{number}")


@_leaves("?GET", "!GET /held/{number} < GET", "work < GET /held/{number}")
async def cancels_its_call(number: int, request: Request) -> None:
    arrived = _held[number] = asyncio.Event()
    call = asyncio.create_task(storm.state.client.get(f"{request.base_url}held/{number}"))
    await arrived.wait()
    call.cancel()
    await asyncio.wait([call])
    del _held[number]


@storm.get("/held/{number}")
async def held(number: int, request: Request) -> None:
    _held[number].set()
    await left(number, request)
