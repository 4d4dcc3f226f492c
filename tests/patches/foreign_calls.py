"""Calls of every kind that is traced, well and failing, on real servers, and what comes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import httpx
import pytest_asyncio
import redis.asyncio
from fastapi import FastAPI
from opentelemetry import trace

import causal_otel
from tests.patches.celery_app import add
from tests.patches.foreign import Foreign
from tests.patches.http_server import echo_app, serve

__all__ = [
    "PLANTED",
    "QUEUE",
    "Calls",
    "Outcome",
    "Planted",
    "Refusing",
    "Unsendable",
    "Unserializable",
    "application",
    "outcome",
    "outcomes",
    "traced_calls",
]

QUEUE = "foreign"


class Planted(Exception):
    """What the user's own code raises in the middle of a traced call."""


PLANTED = Planted("planted")


Outcome = tuple[Any, ...]
Calls = dict[str, Callable[[], Awaitable[Any]]]


async def outcome(call: Callable[[], Awaitable[Any]]) -> Outcome:
    """What came of a call: the result, or the exception, with where it came from if our own code did not make it."""
    try:
        return "returned", await call()
    except BaseException as error:
        if error is PLANTED:
            return "raised", "the planted object", error.__context__
        origin = error.__cause__ is PLANTED
        return "raised", type(error), str(error), origin, isinstance(error.__context__, Foreign)


def application() -> FastAPI:
    """A FastAPI application that answers, or raises the planted exception.

    FastAPI's own telemetry, which begins where any test has set a global provider, asks broken propagators unguarded.
    """
    api = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})

    @api.get("/items/{item}")
    async def item(item: int) -> dict[str, Any]:
        return {"item": item}

    @api.get("/broken")
    async def raising() -> None:
        raise PLANTED

    return api


class Refusing(httpx.AsyncBaseTransport):
    """A transport of the user's own."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise PLANTED


class Unsendable(str):
    """What redis-py cannot encode."""

    __slots__ = ()

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise PLANTED


class Unserializable:
    """What Celery cannot put into a message."""

    def __json__(self) -> Any:
        raise PLANTED


@pytest_asyncio.fixture
async def traced_calls(postgres_url: str, redis_url: str, broker: str) -> AsyncIterator[Calls]:
    """Calls of every kind, well and failing, on real servers. Each may be repeated."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TEMP TABLE foreign_code (id serial, note text)")
    client = redis.asyncio.Redis.from_url(redis_url)
    queue = redis.asyncio.Redis.from_url(broker)
    served = httpx.ASGITransport(application())

    async def inserted() -> Any:
        await connection.execute("INSERT INTO foreign_code (note) VALUES ('once')")
        count = await connection.fetchval("SELECT count(*) FROM foreign_code")
        await connection.execute("TRUNCATE foreign_code")
        return count

    async def divided() -> Any:
        return await connection.fetchval("SELECT 1 / $1::int", 0)

    async def counted() -> Any:
        await client.delete("foreign")
        return await client.incr("foreign")

    async def unsendable() -> Any:
        return await client.get(Unsendable("x"))

    async def pipelined() -> Any:
        async with client.pipeline() as pipeline:
            pipeline.delete("foreign")
            pipeline.incr("foreign")
            pipeline.lpush("foreign", "x")
            return await pipeline.execute()

    async def refused() -> Any:
        async with httpx.AsyncClient(transport=Refusing()) as http:
            return await http.get("http://example.invalid/")

    async def requested(path: str) -> Any:
        with serve(echo_app) as base:
            async with httpx.AsyncClient() as http:
                response = await http.get(f"{base}{path}")
                return response.status_code, response.json().keys()

    async def answered(path: str) -> Any:
        async with httpx.AsyncClient(transport=served, base_url="http://tests") as http:
            response = await http.get(path)
            return response.status_code, response.json()

    async def published() -> Any:
        add.apply_async((1, 2), queue=QUEUE)
        waiting = await queue.llen(QUEUE)
        await queue.delete(QUEUE)
        return waiting

    async def unserializable() -> Any:
        add.apply_async((1, Unserializable()), queue=QUEUE)

    async def eager() -> Any:
        return add.apply((1, 2)).get()

    async def block() -> Any:
        with causal_otel.span("block") as span:
            return trace.get_current_span() is span

    async def raising_block() -> Any:
        with causal_otel.span("block"):
            raise PLANTED

    @causal_otel.traced
    def function() -> int:
        return 1

    @causal_otel.traced
    async def coroutine() -> int:
        raise PLANTED

    @causal_otel.traced
    def generator() -> Iterator[int]:
        yield 1
        raise PLANTED

    @causal_otel.traced
    async def agenerator() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def decorated() -> Any:
        return function(), [item async for item in agenerator()]

    async def decorated_generator() -> Any:
        return list(generator())

    yield {
        "asyncpg": inserted,
        "asyncpg fails": divided,
        "redis": counted,
        "redis fails": unsendable,
        "redis pipeline": pipelined,
        "httpx": lambda: requested("/echo"),
        "httpx fails": refused,
        "fastapi": lambda: answered("/items/3"),
        "fastapi fails": lambda: answered("/broken"),
        "celery": published,
        "celery fails": unserializable,
        "celery eager": eager,
        "span": block,
        "span fails": raising_block,
        "traced": decorated,
        "traced coroutine fails": coroutine,
        "traced generator fails": decorated_generator,
    }
    await connection.close()
    await client.aclose()
    await queue.aclose()


async def outcomes(calls: Calls, *, inside: bool) -> dict[str, Outcome]:
    """What comes of every call, perhaps inside a block of the user's that is traced."""
    found = {}
    for name, call in calls.items():
        if inside:
            with causal_otel.span("request"):
                found[name] = await outcome(call)
        else:
            found[name] = await outcome(call)
        PLANTED.__context__ = PLANTED.__traceback__ = None
    return found
