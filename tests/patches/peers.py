"""A program that uses every driver beside another tracer, and tells what its user got: run by ``test_peers.py``.

    python -m tests.patches.peers PEER ORDER

PEER is ``none``, ``contrib``, ``logfire``, ``ddtrace`` or ``sentry``; ORDER is ``alone`` (the peer and not us),
``first`` (the peer before us) or ``last``. URLs of the servers are in POSTGRES, REDIS and HTTP. It prints JSON.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import asyncpg
import celery
import fastapi
import httpx
import redis
import redis.asyncio
from celery.contrib.testing.worker import start_worker
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as TheirProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from tests.span_relations import assert_sound

POSTGRES, REDIS, HTTP = (os.environ[name] for name in ("POSTGRES", "REDIS", "HTTP"))
outcomes: dict[str, str] = {}


# -- peers -------------------------------------------------------------------------------------------------------------


def _contrib() -> None:
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    kinds: tuple[Any, ...] = (
        AsyncPGInstrumentor,
        RedisInstrumentor,
        HTTPXClientInstrumentor,
        CeleryInstrumentor,
        FastAPIInstrumentor,
    )
    for kind in kinds:
        kind().instrument(tracer_provider=TheirProvider(shutdown_on_exit=False), skip_dep_check=True)


def _logfire() -> None:
    import logfire

    logfire.configure(send_to_logfire=False, console=False, inspect_arguments=False)
    logfire.instrument_asyncpg()
    logfire.instrument_redis()
    logfire.instrument_httpx()
    logfire.instrument_celery()


def _ddtrace() -> None:
    import ddtrace

    ddtrace.patch(asyncpg=True, redis=True, httpx=True, celery=True, fastapi=True, starlette=True, raise_errors=True)


def _sentry() -> None:
    import sentry_sdk
    from sentry_sdk.integrations.asyncpg import AsyncPGIntegration
    from sentry_sdk.integrations.celery import CeleryIntegration
    from sentry_sdk.integrations.fastapi import FastApiIntegration
    from sentry_sdk.integrations.httpx import HttpxIntegration
    from sentry_sdk.integrations.redis import RedisIntegration
    from sentry_sdk.integrations.starlette import StarletteIntegration

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=lambda envelope: None,
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[
            AsyncPGIntegration(),
            CeleryIntegration(),
            FastApiIntegration(),
            HttpxIntegration(),
            RedisIntegration(),
            StarletteIntegration(),
        ],
    )


PEERS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "contrib": _contrib,
    "logfire": _logfire,
    "ddtrace": _ddtrace,
    "sentry": _sentry,
}


# -- what the user does ------------------------------------------------------------------------------------------------


def told(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}: {error}"


async def note(name: str, call: Callable[[], Any]) -> None:
    """Keep what ``call()`` gives, or raises, when it has been awaited."""
    assert name not in outcomes
    try:
        result = call()
        if hasattr(result, "__await__"):
            result = await result
        outcomes[name] = repr(result)
    except Exception as error:
        outcomes[name] = told(error)


async def use_asyncpg() -> None:
    connection: Any = await asyncpg.connect(POSTGRES)
    await connection.execute("DROP TABLE IF EXISTS beside; CREATE TABLE beside (id int PRIMARY KEY, name text)")
    insert = "INSERT INTO beside VALUES ($1, $2)"
    await note("pg execute", lambda: connection.execute(insert, 1, "a"))
    await note("pg executemany", lambda: connection.executemany(insert, [(2, "b"), (3, "c")]))
    await note("pg fetchmany", lambda: connection.fetchmany("SELECT $1::int + 1", [(1,), (2,)]))
    for method in ("fetch", "fetchval", "fetchrow"):
        call = getattr(connection, method)
        await note(f"pg {method}", partial(call, "SELECT * FROM beside WHERE id > $1", 1))
    await note("pg unique", lambda: connection.execute(insert, 1, "again"))
    await note("pg syntax", lambda: connection.fetch("SELEKT"))
    await note("pg no table", lambda: connection.fetch("SELECT * FROM nowhere"))
    await note("pg timeout", lambda: connection.execute("SELECT pg_sleep(30)", timeout=0.05))

    statement = await connection.prepare("SELECT id / $1 AS n FROM beside ORDER BY id")
    for method in ("fetch", "fetchval", "fetchrow"):
        call = getattr(statement, method)
        await note(f"pg prepared {method}", partial(call, 1))
        await note(f"pg prepared {method} by zero", partial(call, 0))
    await note("pg prepared fetchmany", lambda: statement.fetchmany([(1,), (2,)]))
    prepared = await connection.prepare(insert)
    await note("pg prepared executemany", lambda: prepared.executemany([(4, "d"), (5, "e")]))
    await note("pg prepared executemany unique", lambda: prepared.executemany([(6, "f"), (1, "a")]))
    await note("pg prepared timeout", lambda: connection_sleep(connection))

    async def rows() -> list[int]:
        async with connection.transaction():
            return [row[0] async for row in connection.cursor("SELECT generate_series(1, 120)", prefetch=50)]

    async def cursor() -> Any:
        async with connection.transaction():
            cursor = await connection.cursor("SELECT generate_series($1::int, 9)", 3)
            return await cursor.fetch(2), await cursor.forward(1), await cursor.fetchrow(), await cursor.fetch(9)

    async def broken_cursor() -> Any:
        async with connection.transaction():
            return [row async for row in connection.cursor("SELECT 1 / (id - 3) FROM beside ORDER BY id", prefetch=1)]

    async def rolled_back() -> Any:
        async with connection.transaction():
            await connection.execute(insert, 7, "g")
            try:
                async with connection.transaction():
                    await connection.execute(insert, 8, "h")
                    raise KeyError("savepoint")
            except KeyError:
                pass
            raise ValueError("rolled back")

    async def copies() -> Any:
        output = io.BytesIO()
        done = [
            await connection.copy_records_to_table("beside", records=[(20, "x"), (21, "y")]),
            await connection.copy_to_table("beside", source=io.BytesIO(b"22\tz\n")),
            await connection.copy_from_table("beside", schema_name="public", output=output),
            await connection.copy_from_query("SELECT * FROM beside WHERE id > $1", 20, output=output),
        ]
        return done, output.getvalue()

    for task in (rows, cursor, broken_cursor, rolled_back, copies):
        await note(f"pg {task.__name__}", task)
    await note("pg copy no table", lambda: connection.copy_from_table("nowhere", output=io.BytesIO()))
    await note("pg all", lambda: connection.fetch("SELECT id FROM beside ORDER BY id"))
    await connection.close()

    async with asyncpg.create_pool(POSTGRES, min_size=1, max_size=2) as pool:
        await note("pg pool", lambda: pool.fetch("SELECT 1"))
        await note("pg pool error", lambda: pool.fetchval("SELECT 1/0"))
        async with pool.acquire() as acquired, acquired.transaction():
            await note("pg acquired", lambda: acquired.fetchrow("SELECT 2"))


async def connection_sleep(connection: Any) -> Any:
    return await (await connection.prepare("SELECT pg_sleep(30)")).fetch(timeout=0.05)


async def use_redis() -> None:
    sync, other = redis.Redis.from_url(REDIS), redis.asyncio.Redis.from_url(REDIS)
    sync.flushdb()
    sync.script_flush()
    for name, client in (("redis", sync), ("aioredis", other)):
        await use_client(name, client)
    sync.close()
    await other.aclose()


async def use_client(name: str, client: Any) -> None:
    await note(f"{name} set", lambda: client.set("k", "v"))
    await note(f"{name} get", lambda: client.get("k"))
    await note(f"{name} wrong type", lambda: client.lpush("k", 1))
    await note(f"{name} unknown", lambda: client.execute_command("NOTHING", 1))
    await note(f"{name} blpop", lambda: client.blpop("empty", timeout=0.05))
    await note(f"{name} pipeline", lambda: client.pipeline(transaction=False).set("a", 1).incr("a").execute())
    await note(f"{name} multi", lambda: client.pipeline().set("a", 1).incr("a").execute())
    await note(f"{name} empty pipeline", lambda: client.pipeline().execute())
    await note(f"{name} pipeline error", lambda: client.pipeline().set("a", 1).lpush("a", 1).execute())
    await note(f"{name} errors returned", lambda: client.pipeline().lpush("a", 1).execute(raise_on_error=False))
    script = client.register_script("return ARGV[1]")
    await note(f"{name} script", lambda: script(args=["x"]))
    await note(f"{name} bad script", lambda: client.eval("return nothing()", 0))
    pipe = client.pipeline()
    await note(f"{name} watch", lambda: pipe.watch("a"))
    await note(f"{name} immediate", lambda: pipe.get("a"))
    pipe.multi()
    pipe.set("a", 2)
    script(args=["y"], client=pipe) if name == "redis" else await script(args=["y"], client=pipe)
    await note(f"{name} watched", pipe.execute)
    await note(f"{name} watched again", lambda: conflict(client))


async def conflict(client: Any) -> Any:
    pipe = client.pipeline()
    for result in (pipe.watch("a"), client.incr("a")):
        if hasattr(result, "__await__"):
            await result
    pipe.multi()
    pipe.set("a", 3)
    result = pipe.execute()
    return await result if hasattr(result, "__await__") else result


async def use_httpx() -> None:
    def shown(response: httpx.Response) -> Any:
        return response, response.request.method, str(response.request.url), response.text, len(response.history)

    with httpx.Client(base_url=HTTP, trust_env=False) as client:
        await note("httpx get", lambda: shown(client.get("/status/200")))
        await note("httpx 404", lambda: shown(client.get("/status/404")))
        await note("httpx raised", lambda: client.get("/status/500").raise_for_status())
        await note("httpx post", lambda: shown(client.post("/status/201", content=b"x" * 1000)))
        await note("httpx redirect", lambda: shown(client.get("/redirect/1", follow_redirects=True).history[0]))
        await note("httpx refused", lambda: client.get("http://127.0.0.1:1/"))
        await note("httpx timeout", lambda: client.get("/slow/30", timeout=0.05))
    async with httpx.AsyncClient(base_url=HTTP, trust_env=False) as other:

        async def streamed() -> Any:
            async with other.stream("GET", "/status/200") as response:
                return [chunk async for chunk in response.aiter_bytes()]

        async def fetched(path: str, **options: Any) -> Any:
            response = await other.get(path, **options)
            return shown(response.history[0] if response.history else response)

        await note("ahttpx get", lambda: fetched("/status/200"))
        await note("ahttpx 404", lambda: fetched("/status/404"))
        await note("ahttpx redirect", lambda: fetched("/redirect/1", follow_redirects=True))
        await note("ahttpx refused", lambda: fetched("http://127.0.0.1:1/"))
        await note("ahttpx timeout", lambda: fetched("/slow/30", timeout=0.05))
        await note("ahttpx stream", streamed)


def make_apps() -> dict[str, Any]:
    """An application of each kind; made once everybody has patched, as a user's would be."""
    api = fastapi.FastAPI()

    @api.get("/items/{number}")
    async def item(number: int) -> dict[str, int]:
        return {"number": number}

    @api.get("/broken")
    def broken() -> None:
        raise ValueError("broken")

    async def plain(request: Any) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["name"])

    return {"fastapi": api, "starlette": Starlette(routes=[Mount("/items", routes=[Route("/{name}", plain)])])}


async def use_asgi(apps: dict[str, Any]) -> None:
    for name, app in apps.items():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:

            async def fetched(path: str, client: httpx.AsyncClient = client) -> Any:
                response = await client.get(path)
                return response, response.text

            for path in ("/items/1", "/items/x", "/nowhere", "/broken"):
                await note(f"{name} {path}", partial(fetched, path))


def make_tasks() -> celery.Celery:
    """An application with tasks, on a queue of its own."""
    app = celery.Celery("beside", broker=REDIS, backend=REDIS, set_as_current=False)
    app.conf.update(task_default_queue=f"beside-{os.getpid()}", worker_hijack_root_logger=False)

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("failed")

    @app.task(name="retried", bind=True)
    def retried(self: Any) -> int:
        if not self.request.retries:
            raise self.retry(exc=KeyError("again"), countdown=0)
        return int(self.request.retries)

    return app


async def use_celery(app: celery.Celery) -> None:
    tasks = app.tasks
    with start_worker(app, perform_ping_check=False, shutdown_timeout=30):
        await note("celery delay", lambda: tasks["add"].delay(1, 2).get(timeout=30))
        await note("celery apply_async", lambda: tasks["add"].apply_async((1,), {"y": 3}).get(timeout=30))
        await note("celery send_task", lambda: app.send_task("add", (2, 2)).get(timeout=30))
        await note("celery failed", lambda: tasks["fail"].delay().get(timeout=30))
        await note("celery retried", lambda: tasks["retried"].delay().get(timeout=30))
        await note("celery group", lambda: celery.group(tasks["add"].s(n, n) for n in (1, 2))().get(timeout=30))
        await note("celery chain", lambda: celery.chain(tasks["add"].s(1, 1), tasks["add"].s(1))().get(timeout=30))
        await note("celery eager", lambda: tasks["add"].apply((5, 5)).get())
        await note("celery eager failed", lambda: tasks["fail"].apply().get())
        await note("celery not sent", lambda: tasks["add"].delay(object(), 1))


async def use_everything(tracer: Any, exporter: InMemorySpanExporter) -> list[str]:
    """Does it; returns our spans, but for what Celery's worker and result backend do on their own account."""
    apps, tasks = make_apps(), make_tasks()
    uses: dict[str, Callable[[], Awaitable[None]]] = {
        "asyncpg": use_asyncpg,
        "redis": use_redis,
        "httpx": use_httpx,
        "asgi": lambda: use_asgi(apps),
        "celery": lambda: use_celery(tasks),
    }
    spans = []
    for name, use in uses.items():
        with tracer.start_as_current_span("root"):
            await use()
        for span in exporter.get_finished_spans():
            scope = span.instrumentation_scope.name if span.instrumentation_scope is not None else ""
            if scope == f"causal_otel.{name}":
                assert_sound(span)
                spans.append(f"{name}: {span.kind.name} {span.name} {span.status.status_code.name}")
        exporter.clear()
    return sorted(spans)


def main(peer: str, order: str) -> None:
    """Patch in the order that is asked for, use everything, print what came of it."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    if order != "last":
        PEERS[peer]()
    if order != "alone":
        causal_otel.install(tracer_provider=provider)
    if order == "last":
        PEERS[peer]()
    tracer = trace.NoOpTracer() if order == "alone" else provider.get_tracer("user")
    spans = asyncio.run(use_everything(tracer, exporter))
    print(json.dumps({"outcomes": outcomes, "spans": spans, "faults": faults.counts()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
