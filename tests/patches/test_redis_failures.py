"""What fails in redis-py leaves exactly one failed span, also where no command of a client is at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from opentelemetry.trace import SpanKind
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from causal_otel.patches.redis import RedisOptions
from tests.faults.scripted import refused_port
from tests.patches.either import close, settle
from tests.patches.held import held
from tests.recording import Recording, recording
from tests.services.slow import SlowServer, slow
from tests.span_relations import assert_span, seconds

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

SECRET = "s3cr3t-value"
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sync": (redis, {"retry": Retry(NoBackoff(), 0)}),
    "async": (redis.asyncio, {"retry": AsyncRetry(NoBackoff(), 0)}),
}


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording(["redis"]) as record:
        yield record


@pytest.fixture
def late(redis_url: str) -> Iterator[SlowServer]:
    """A server that can go away."""
    parts = urlsplit(redis_url)
    with slow(parts.hostname or "127.0.0.1", parts.port or 6379) as server:
        yield server


async def enter(manager: Any) -> Any:
    """Enter a context manager of either kind."""
    return await manager.__aenter__() if hasattr(manager, "__aenter__") else manager.__enter__()


async def fails(recorded: Recording, call: Callable[[], Any]) -> tuple[ReadableSpan, dict[str, Any]]:
    """The one span that a failing call has left under a root, and its attributes."""
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root:
        began = perf_counter()
        with pytest.raises(Exception) as caught:  # each test says which one
            await settle(call())
        elapsed = perf_counter() - began
    span, _ = recorded.spans
    attributes = assert_span(span, root, error="*", within=elapsed)
    assert span.kind is SpanKind.CLIENT
    assert span.status.description == type(caught.value).__name__
    assert attributes["db.system.name"] == "redis"
    assert SECRET not in span.to_json()
    return span, attributes


CALLS: dict[str, tuple[str, Callable[[Any, dict[str, Any], int], Any]]] = {
    "command": ("GET", lambda lib, given, port: lib.Redis(port=port, **given).get("a")),
    "single connection": (
        "CONNECT",
        lambda lib, given, port: enter(lib.Redis(port=port, single_connection_client=True, **given)),
    ),
    "pipeline": ("MULTI SET", lambda lib, given, port: lib.Redis(port=port, **given).pipeline().set("a", 1).execute()),
    "watch": ("WATCH", lambda lib, given, port: lib.Redis(port=port, **given).pipeline().watch("a")),
    "subscribe": ("SUBSCRIBE", lambda lib, given, port: lib.Redis(port=port, **given).pubsub().subscribe("news")),
    "monitor": ("MONITOR", lambda lib, given, port: enter(lib.Redis(port=port, **given).monitor())),
    "sentinel": (
        "DISCOVER",
        lambda lib, given, port: lib.sentinel.Sentinel(
            [("127.0.0.1", port)], sentinel_kwargs={"password": SECRET, **given}
        ).discover_master("main"),
    ),
    "behind sentinel": (
        "GET",
        lambda lib, given, port: (
            lib.sentinel.Sentinel([("127.0.0.1", port)], sentinel_kwargs=given).master_for("main", **given).get("a")
        ),
    ),
    "cluster": ("CONNECT", lambda lib, given, port: enter(lib.RedisCluster(host="127.0.0.1", port=port))),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", CALLS)
async def test_server_that_is_not_there(recorded: Recording, kind: str, way: str) -> None:
    """A refused connection is one span, whoever wanted it."""
    library, given = KINDS[kind]
    name, call = CALLS[way]
    with refused_port() as port:
        span, attributes = await fails(recorded, lambda: call(library, given, port))
    assert (span.name, attributes["db.operation.name"]) == (name, name)
    assert attributes["error.type"].startswith("redis.")
    assert "db.response.status_code" not in attributes
    if way in ("command", "single connection", "pipeline", "watch", "subscribe", "monitor"):
        assert (attributes["server.address"], attributes["server.port"]) == ("localhost", port)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
async def test_pool_without_a_free_connection(recorded: Recording, redis_url: str, kind: str) -> None:
    """A command that gets no connection in time is a span, with the wait for it."""
    library, _ = KINDS[kind]
    pool = library.BlockingConnectionPool.from_url(redis_url, max_connections=1, timeout=0.1)
    client = library.Redis(connection_pool=pool)
    pipeline = client.pipeline()
    await settle(pipeline.watch("a"))  # which keeps the connection
    span, attributes = await fails(recorded, lambda: client.get("a"))
    await settle(pipeline.reset())
    await settle(pool.disconnect())
    assert span.name == "GET"
    assert attributes["error.type"] in ("redis.exceptions.ConnectionError", "redis.exceptions.MaxConnectionsError")
    assert seconds(span) >= 0.09


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["command", "subscribe"])
async def test_password_that_is_refused(recorded: Recording, redis_url: str, kind: str, way: str) -> None:
    """A password that the server does not take is one span, with the server's code and without the password."""
    library, given = KINDS[kind]
    client = library.Redis(port=urlsplit(redis_url).port, username=SECRET, password=SECRET, **given)
    call = (lambda: client.get("a")) if way == "command" else (lambda: client.pubsub().subscribe("news"))
    span, attributes = await fails(recorded, call)
    assert span.name == ("GET" if way == "command" else "SUBSCRIBE")
    assert "Authentication" in attributes["error.type"] or attributes["error.type"] == "WRONGPASS"
    await close(client)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
async def test_messages_that_cannot_be_received(recorded: Recording, late: SlowServer, kind: str) -> None:
    """Messages that come, or do not, are no spans; a connection that breaks while they are waited for is one."""
    library, given = KINDS[kind]
    client = library.Redis(port=late.port, **given)
    channel = client.pubsub()
    with recorded.tracer.start_as_current_span("root"):
        await settle(channel.subscribe("news"))
        assert (await settle(channel.get_message(timeout=10)))["type"] == "subscribe"
        assert await settle(channel.get_message(timeout=0.01)) is None
    assert recorded.names() == ["root"]
    late.close()
    span, attributes = await fails(recorded, lambda: channel.get_message(timeout=10))
    assert span.name == "RECEIVE"
    assert attributes["server.port"] == late.port
    assert attributes["error.type"].startswith("redis.")
    await close(channel)
    await close(client)


@pytest.mark.asyncio
async def test_listener_that_is_cancelled(recorded: Recording, redis_url: str) -> None:
    """To stop a listener is no failure, and no span that lasts as long as it has listened."""

    async def listen(channel: Any) -> None:
        while True:
            await channel.get_message(timeout=None)

    async with redis.asyncio.from_url(redis_url) as client, client.pubsub() as channel:
        with recorded.tracer.start_as_current_span("root"):
            await channel.subscribe("news")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(listen(channel), 0.1)
    assert recorded.names() == ["root"]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
async def test_silent_when_well(recorded: Recording, redis_url: str, kind: str) -> None:
    """A client with a single connection, a subscription and a monitor that work are no spans."""
    library, given = KINDS[kind]
    with recorded.tracer.start_as_current_span("root"):
        client = library.from_url(redis_url, single_connection_client=True, **given)
        await enter(client)
        other = library.from_url(redis_url, **given)
        channel = other.pubsub()
        await settle(channel.subscribe("news"))
        monitor = other.monitor()
        await enter(monitor)
        await settle(monitor.connection.disconnect())
        for each in (channel, other, client):
            await close(each)
    assert recorded.names() == ["root"]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["client", "pool"])
async def test_closing_that_is_cancelled(recorded: Recording, redis_url: str, kind: str) -> None:
    """Closing the connections of a client or a pool is one span if it is cancelled, marked so."""
    client = redis.asyncio.from_url(redis_url)
    assert await client.ping()
    with recorded.tracer.start_as_current_span("root") as root:
        closing = close(client) if kind == "client" else client.connection_pool.disconnect()
        task = asyncio.create_task(closing)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    told = assert_span(recorded.only("CLOSE"), root, cancelled=True)
    assert told["db.operation.name"] == "CLOSE"
    await close(client)


def test_closing_that_lingers(redis_url: str) -> None:
    """Closing a pool that waits for another thread is a span, as long as it waited."""
    pool: Any = redis.ConnectionPool.from_url(redis_url)
    assert redis.Redis(connection_pool=pool).ping()
    with (
        recording({"redis": RedisOptions(slow_plumbing=0.05)}) as recorded,
        recorded.tracer.start_as_current_span("root") as root,
        held(pool._lock, "disconnect", 0.05),
    ):
        pool.disconnect()
    told = assert_span(recorded.only("CLOSE"), root, lasts=0.05)
    assert told["server.port"] == urlsplit(redis_url).port
    assert recorded.names() == ["CLOSE", "root"]


@pytest.mark.asyncio
async def test_closing_a_cluster_that_is_cancelled(cluster_port: int, recorded: Recording) -> None:
    """Closing the connections of asyncio's cluster is one span if it is cancelled, marked so."""
    cluster = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster_port)
    assert await cluster.ping()
    recorded.clear()
    cluster._lock = asyncio.Lock()  # as another task holds it that closes the same cluster
    async with cluster._lock:
        with recorded.tracer.start_as_current_span("root") as root:
            task = asyncio.create_task(close(cluster))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert_span(recorded.only("CLOSE"), root, cancelled=True)
    await close(cluster)


def test_arguments_that_the_client_refuses(recorded: Recording) -> None:
    """A client that cannot be made is no failure to connect."""
    with recorded.tracer.start_as_current_span("root"), pytest.raises(TypeError):
        redis.Redis(nonsense=SECRET)  # type: ignore[call-arg]
    assert recorded.names() == ["root"]
