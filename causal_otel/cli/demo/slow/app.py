"""The slow demo's API: a route for each cause. What holds a resource that another request needs is below ``/hold``."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

import anyio
import anyio.from_thread
import anyio.to_thread
import asyncpg
import httpx
from celery import Celery
from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse
from redis.asyncio import Redis

import causal_otel
from causal_otel.cli.demo.slow.causes import PLANTED
from causal_otel.cli.demo.slow.config import SlowConfig
from causal_otel.testing.process import LOOPBACK

__all__ = ["app"]

causal_otel.install(service_name="demo-api")
config = SlowConfig.load()
queue = Celery("slow", broker=config.redis_url)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (id integer PRIMARY KEY, name text);
INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 100) n ON CONFLICT DO NOTHING;
"""


class Slow:
    """What the routes share.

    Attributes:
        wanted: set by a request that is about to wait, by the name of what it waits for.
    """

    pool: asyncpg.Pool[Any]
    pool_of_one: asyncpg.Pool[Any]
    http: httpx.AsyncClient
    http_of_one: httpx.AsyncClient
    redis: Redis

    def __init__(self) -> None:
        self.wanted: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.lock = asyncio.Lock()
        self.thread_lock = threading.Lock()
        self.forgotten: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Slow]]:
    """Connect once, for all requests."""
    slow = Slow()
    one = httpx.Limits(max_connections=1)
    async with AsyncExitStack() as stack:
        slow.pool = await stack.enter_async_context(asyncpg.create_pool(config.postgres_url, min_size=2, max_size=4))
        slow.pool_of_one = await stack.enter_async_context(
            asyncpg.create_pool(config.postgres_url, min_size=1, max_size=1)
        )
        slow.http = await stack.enter_async_context(httpx.AsyncClient(base_url=config.external_url, trust_env=False))
        slow.http_of_one = await stack.enter_async_context(
            httpx.AsyncClient(base_url=config.external_url, trust_env=False, limits=one)
        )
        slow.redis = await stack.enter_async_context(Redis.from_url(config.redis_url))
        await slow.pool.execute(_SCHEMA)
        yield {"slow": slow}


async def slow_of(request: Request) -> Slow:
    """What the lifespan has made."""
    slow: Slow = request.state.slow
    return slow


app = FastAPI(title="causal_otel slow demo", lifespan=lifespan)
Shared = Annotated[Slow, Depends(slow_of)]


def held(name: str, hold: Callable[[Slow], Any]) -> None:
    """Add a route that holds something: it sends a line once it does, and lets go some time after somebody wants it."""

    async def holding(slow: Slow) -> AsyncIterator[str]:
        asyncio.current_task().set_name(f"holds the {name}")  # type: ignore[union-attr]
        wanted = slow.wanted[name]
        wanted.clear()
        async with hold(slow):
            yield "held\n"
            await wanted.wait()
            await asyncio.sleep(PLANTED)
        yield "free\n"

    async def endpoint(slow: Shared) -> StreamingResponse:
        return StreamingResponse(holding(slow))

    app.get(f"/hold/{name}")(endpoint)


# -- databases --------------------------------------------------------------------------------------------------------

held("pool", lambda slow: slow.pool_of_one.acquire())


@app.get("/pool")
async def pool(slow: Shared) -> int:
    """The pool's only connection is in use."""
    slow.wanted["pool"].set()
    return await slow.pool_of_one.fetchval("SELECT count(*) FROM items")  # type: ignore[no-any-return]


@app.get("/connect")
async def connect(slow: Shared) -> int:
    """The database is far away."""
    connection = await asyncpg.connect(config.postgres_url, host=LOOPBACK, port=config.relay_port)
    try:
        return await connection.fetchval("SELECT count(*) FROM items")  # type: ignore[no-any-return]
    finally:
        await connection.close()


@app.get("/query")
async def query(slow: Shared) -> None:
    """The database works for long."""
    await slow.pool.fetchval("SELECT pg_sleep($1)", PLANTED)


@asynccontextmanager
async def _row(slow: Slow) -> AsyncIterator[None]:
    async with slow.pool.acquire() as connection, connection.transaction():
        await connection.execute("UPDATE items SET name = 'held' WHERE id = 1")
        yield


held("row-lock", _row)


@app.get("/row-lock")
async def row_lock(slow: Shared) -> None:
    """Another transaction has changed the row, and is not over."""
    slow.wanted["row-lock"].set()
    await slow.pool.execute("UPDATE items SET name = 'mine' WHERE id = 1")


@app.get("/orders")
async def orders(slow: Shared) -> list[str]:
    """A hundred queries where one would do."""
    async with slow.pool.acquire() as connection:
        return [await _name(connection, number) for number in range(1, 101)]


async def _name(connection: Any, number: int) -> str:
    query = "SELECT name, pg_sleep($2) FROM items WHERE id = $1"
    return (await connection.fetchrow(query, number, PLANTED / 100))["name"]  # type: ignore[no-any-return]


# -- the event loop ---------------------------------------------------------------------------------------------------


@app.get("/sleep")
async def sleep() -> None:
    """Sleeps, and nobody else goes on either."""
    time.sleep(PLANTED)  # noqa: ASYNC251


@asynccontextmanager
async def _loop(slow: Slow) -> AsyncIterator[None]:
    yield
    _block()


def _block() -> None:
    time.sleep(PLANTED)


held("loop", _loop)


@app.get("/victim")
async def victim(slow: Shared) -> None:
    """A fast query, while another request blocks the loop."""
    slow.wanted["loop"].set()
    await slow.pool.fetchval("SELECT pg_sleep($1)", PLANTED + 0.1)


@app.get("/json")
async def dump() -> int:
    """Computes."""
    rows = [{"number": number, "name": f"row {number}"} for number in range(1000)]
    until, size = time.thread_time() + PLANTED, 0
    while time.thread_time() < until:
        size += len(json.dumps(rows))
    return size


@app.get("/garbage")
async def garbage() -> int:
    """Has so many objects that looking for garbage takes long."""
    kept = [[number] for number in range(300_000)]
    until = time.perf_counter() + PLANTED
    while time.perf_counter() < until:
        gc.collect()
    return len(kept)


# -- tasks of Celery --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _queue(slow: Slow) -> AsyncIterator[None]:
    yield
    await anyio.to_thread.run_sync(lambda: queue.control.add_consumer("late", reply=True))


held("queue", _queue)


@app.get("/queue")
async def late_queue(slow: Shared) -> None:
    """Sends a task to a queue that nobody reads for a while."""
    await anyio.to_thread.run_sync(lambda: queue.send_task("letter", queue="late"))
    slow.wanted["queue"].set()


@asynccontextmanager
async def _worker(slow: Slow) -> AsyncIterator[None]:
    await anyio.to_thread.run_sync(lambda: queue.send_task("work", (4 * PLANTED,)))
    yield


held("worker", _worker)


@app.get("/worker")
async def busy_worker(slow: Shared) -> None:
    """Sends a task to a worker that is busy."""
    await anyio.to_thread.run_sync(lambda: queue.send_task("letter"))
    slow.wanted["worker"].set()


# -- other services ---------------------------------------------------------------------------------------------------


@app.get("/external")
async def external(slow: Shared) -> Any:
    """Somebody else's service takes long."""
    return (await slow.http.get("/score")).json()


@asynccontextmanager
async def _http(slow: Slow) -> AsyncIterator[None]:
    async with slow.http_of_one.stream("GET", "/score", params={"after": 0}):
        yield


held("http-pool", _http)


@app.get("/http-pool")
async def http_pool(slow: Shared) -> Any:
    """The client's only connection is in use."""
    slow.wanted["http-pool"].set()
    return (await slow.http_of_one.get("/score", params={"after": 0})).json()


# -- threads and locks ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _threads(slow: Slow) -> AsyncIterator[None]:
    threads = int(anyio.to_thread.current_default_thread_limiter().total_tokens)
    taken, over = anyio.Event(), threading.Event()
    all_taken = threading.Barrier(threads, lambda: anyio.from_thread.run_sync(taken.set))

    def occupy() -> None:
        all_taken.wait(60)
        over.wait(60)

    async with anyio.create_task_group() as group:
        for _ in range(threads):
            group.start_soon(anyio.to_thread.run_sync, occupy)
        await taken.wait()
        try:
            yield
        finally:
            over.set()


held("threads", _threads)


async def wants_thread(slow: Shared) -> None:
    """Say that a thread is wanted, which a synchronous endpoint cannot before it has one."""
    slow.wanted["threads"].set()


@app.get("/thread", dependencies=[Depends(wants_thread)])
def thread() -> None:
    """A synchronous endpoint, when all threads are busy."""


held("redis-lock", lambda slow: slow.redis.lock("stock", timeout=60))


@app.get("/redis-lock")
async def redis_lock(slow: Shared) -> None:
    """Another process has the lock."""
    slow.wanted["redis-lock"].set()
    async with slow.redis.lock("stock", timeout=60, sleep=0.01):
        pass


held("lock", lambda slow: slow.lock)


@app.get("/lock")
async def lock(slow: Shared) -> None:
    """Another task has the lock."""
    slow.wanted["lock"].set()
    async with slow.lock:
        pass


@asynccontextmanager
async def _thread_lock(slow: Slow) -> AsyncIterator[None]:
    with slow.thread_lock:
        yield


held("thread-lock", _thread_lock)


@app.get("/thread-lock")
async def thread_lock(slow: Shared) -> None:
    """Another thread has the lock."""
    slow.wanted["thread-lock"].set()
    await asyncio.to_thread(slow.thread_lock.acquire)
    slow.thread_lock.release()


@app.get("/forgotten")
async def forgotten(slow: Shared) -> None:
    """Starts a task and answers."""

    async def letter() -> None:
        with causal_otel.span("send the letter"):
            await asyncio.sleep(PLANTED)

    task = asyncio.create_task(letter(), name="letter")
    slow.forgotten.add(task)
    task.add_done_callback(slow.forgotten.discard)
