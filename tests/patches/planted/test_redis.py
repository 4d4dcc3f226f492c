"""Where the time of a command went: a wait that is planted in one place is in the part that it belongs to.

Each wait is planted for the synchronous and for the asyncio half at once, in a thread and beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import redis
import redis.asyncio
import trustme
from opentelemetry.trace import get_current_span
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry

from causal_otel.patches.redis import RedisOptions
from causal_otel.testing.process import LOOPBACK
from tests.faults.scripted import refused_port
from tests.patches.either import close
from tests.patches.planted.waits import WAIT, assert_no_part, assert_part, parts
from tests.patches.valkeys import checkout
from tests.recording import recording
from tests.services.slow import slow
from tests.span_relations import assert_span, attributes
from tests.waiting import pause, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.recording import Recording
    from tests.services.slow import SlowServer

HOST = "redis.test"

driver: Any = redis
"""The driver, whose pools have no types."""


async def both(
    plain: Callable[[], Any], asynchronous: Awaitable[Any], fails: type[Exception] | None = None
) -> list[Any]:
    """What both halves return, or raise if they are to fail."""
    found = await asyncio.gather(asyncio.to_thread(plain), asynchronous, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException) and (fails is None or not isinstance(each, fails)):
            raise each
    return list(found)


def pair(traced: Recording, name: str) -> list[ReadableSpan]:
    """The spans of both halves, which went well."""
    found = [span for span in traced.spans if span.name == name]
    assert len(found) == 2, traced.names()
    for span in found:
        assert_span(span, get_current_span())
    return list(found)


@pytest.fixture
def relays(redis_port: int) -> Iterator[list[SlowServer]]:
    """Two proxies before the server."""
    with slow(LOOPBACK, redis_port) as first, slow(LOOPBACK, redis_port) as second:
        yield [first, second]


@pytest_asyncio.fixture
async def make() -> AsyncIterator[Callable[..., Any]]:
    """Makes a client, which is closed afterwards."""
    async with contextlib.AsyncExitStack() as stack:

        def client(kind: Any, *args: Any, **options: Any) -> Any:
            made = kind(*args, **options)
            stack.push_async_callback(close, made)
            return made

        yield client


@pytest.mark.asyncio
async def test_a_pool_without_a_free_connection(redis_port: int, make: Any, traced: Recording) -> None:
    """Waiting for a connection of a pool is ``causal.pool.wait``, with how big the pool is and how many waited."""
    plain: Any = driver.BlockingConnectionPool(max_connections=1, port=redis_port)
    pool: Any = redis.asyncio.BlockingConnectionPool(max_connections=1, port=redis_port)
    client, other = make(redis.Redis, connection_pool=plain), make(redis.asyncio.Redis, connection_pool=pool)
    held, async_held = checkout(plain), await checkout(pool)

    def give_back() -> None:
        wait_until(lambda: plain.pool.not_empty._waiters)
        pause(WAIT)
        plain.release(held)

    async def async_give_back() -> None:
        await asyncio.to_thread(wait_until, lambda: pool._condition._waiters)
        await asyncio.sleep(WAIT)
        await pool.release(async_held)

    thread = threading.Thread(target=give_back)
    thread.start()
    task = asyncio.create_task(async_give_back())
    await both(lambda: client.get("k"), other.get("k"))
    await task
    thread.join()
    for span in pair(traced, "GET"):
        assert_part(span, "causal.pool.wait")
        assert (attributes(span)["causal.pool.size"], attributes(span)["causal.pool.waiting"]) == (1, 0)
    await pool.disconnect()
    plain.disconnect()


@pytest.mark.asyncio
async def test_a_pool_that_has_none_in_time(redis_port: int, make: Any, traced: Recording) -> None:
    """A command that waits for a pool in vain has failed, and waited for that."""
    plain: Any = driver.BlockingConnectionPool(max_connections=1, timeout=WAIT, port=redis_port)
    pool: Any = redis.asyncio.BlockingConnectionPool(max_connections=1, timeout=WAIT, port=redis_port)
    client, other = make(redis.Redis, connection_pool=plain), make(redis.asyncio.Redis, connection_pool=pool)
    held, async_held = checkout(plain), await checkout(pool)
    await both(lambda: client.get("k"), other.get("k"), redis.ConnectionError)
    plain.release(held)
    await pool.release(async_held)
    assert len(traced.spans) == 2
    for span in traced.spans:
        assert_span(span, get_current_span(), error="redis.exceptions.ConnectionError")
        assert_part(span, "causal.pool.wait")
    await pool.disconnect()
    plain.disconnect()


@pytest.mark.asyncio
async def test_a_server_that_greets_late(relays: list[SlowServer], make: Any, traced: Recording) -> None:
    """Connecting is ``causal.connect``, the handshake included."""
    client = make(redis.Redis, port=relays[0].port)
    other = make(redis.asyncio.Redis, port=relays[1].port)
    for relay in relays:
        relay.once = WAIT
    await both(lambda: client.get("k"), other.get("k"))
    for span in pair(traced, "GET"):
        assert_part(span, "causal.connect")


@pytest.mark.asyncio
async def test_a_slow_handshake_of_tls(redis_port: int, make: Any, traced: Recording) -> None:
    """TLS is in ``causal.connect``, and of the synchronous half told apart as ``causal.connect.tls``."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    tls: Any = {"ssl": True, "ssl_ca_data": authority.cert_pem.bytes().decode()}
    with (
        slow(LOOPBACK, redis_port, context, WAIT) as first,
        slow(LOOPBACK, redis_port, context, WAIT) as second,
    ):
        client = make(redis.Redis, port=first.port, **tls)
        other = make(redis.asyncio.Redis, port=second.port, **tls)
        await both(lambda: client.get("k"), other.get("k"))
        plain, asynchronous = sorted(
            pair(traced, "GET"), key=lambda span: attributes(span)["server.port"] != first.port
        )
        assert_part(plain, "causal.connect.tls")
        assert_part(asynchronous, "causal.connect")
        await close(client)
        await close(other)


@pytest.mark.asyncio
async def test_a_name_that_is_looked_up_slowly(
    redis_port: int, make: Any, traced: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking a name up is in ``causal.connect``, and of the synchronous half told apart as ``causal.connect.dns``."""
    lookup = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in (HOST, HOST.encode()):
            pause(WAIT)
            host = LOOPBACK
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    client, other = (make(kind, host=HOST, port=redis_port) for kind in (redis.Redis, redis.asyncio.Redis))
    await both(lambda: client.get("k"), other.get("k"))
    plain, asynchronous = sorted(pair(traced, "GET"), key=lambda span: "causal.connect.dns" not in attributes(span))
    assert_part(plain, "causal.connect.dns")
    assert_part(asynchronous, "causal.connect")


@pytest.mark.asyncio
async def test_a_slow_command(relays: list[SlowServer], make: Any, traced: Recording) -> None:
    """What the server takes is ``causal.server``, of a command and of a pipeline; so is nothing else then."""
    client = make(redis.Redis, port=relays[0].port)
    other = make(redis.asyncio.Redis, port=relays[1].port)
    await both(client.ping, other.ping())
    for relay in relays:
        relay.once = WAIT
    await both(lambda: client.get("k"), other.get("k"))
    for relay in relays:
        relay.once = WAIT
    await both(client.pipeline().get("k").get("k").execute, other.pipeline().get("k").get("k").execute())
    for span in (*pair(traced, "GET"), *pair(traced, "MULTI GET")):
        assert_part(span, "causal.server")


@pytest.mark.asyncio
async def test_a_slow_consumer(redis_port: int, make: Any, traced: Recording) -> None:
    """What the program does between the batches of an iteration is in no part of any."""
    client, other = make(redis.Redis, port=redis_port), make(redis.asyncio.Redis, port=redis_port)
    await other.sadd("planted members", *range(2000))

    def consume() -> None:
        for number, _ in enumerate(client.sscan_iter("planted members", count=5)):
            if not number:
                pause(WAIT)
            if number > 10:
                break

    async def async_consume() -> None:
        number = 0
        async for _ in other.sscan_iter("planted members", count=5):
            if not number:
                await asyncio.sleep(WAIT)
            number += 1
            if number > 10:
                break

    await both(consume, async_consume())
    scans = [span for span in traced.spans if span.name == "SSCAN"]
    assert len(scans) >= 2
    for span in scans:
        assert_no_part(span)


@pytest.mark.asyncio
async def test_a_lock_of_somebody_else(redis_port: int, make: Any, traced: Recording) -> None:
    """Waiting for a lock is one operation with ``causal.lock.wait``, however often it asks."""
    client, other = make(redis.Redis, port=redis_port), make(redis.asyncio.Redis, port=redis_port)
    lock, async_lock = client.lock("planted-1", sleep=0.02), other.lock("planted-2", sleep=0.02)
    assert lock.acquire()
    assert await async_lock.acquire()
    token, async_token = lock.local.token, async_lock.local.token
    traced.clear()

    waiting = (client.lock("planted-1", sleep=0.02), other.lock("planted-2", sleep=0.02))
    refused = set()

    def noting(lock: Any) -> None:
        """Have a lock tell when it asks for the second time."""
        ask, asked = lock.do_acquire, []

        def do_acquire(token: Any) -> Any:
            asked.append(token)
            if len(asked) > 1:
                refused.add(lock)
            return ask(token)

        lock.do_acquire = do_acquire

    def released() -> bool:
        wait_until(lambda: len(refused) == 2)
        pause(WAIT)
        client.delete("planted-1", "planted-2")
        return True

    for each in waiting:
        noting(each)
    results = await asyncio.gather(both(waiting[0].acquire, waiting[1].acquire()), asyncio.to_thread(released))
    assert results[0] == [True, True]
    assert (lock.local.token, async_lock.local.token) == (token, async_token)
    for span in pair(traced, "LOCK"):
        assert attributes(span)["causal.lock.acquired"] is True
        assert_part(span, "causal.lock.wait")
    assert sorted(traced.names()) == ["DEL", "LOCK", "LOCK"]


@pytest.mark.asyncio
async def test_a_lock_that_is_not_had(redis_port: int, make: Any, traced: Recording) -> None:
    """A lock that is not had in time is no error, and its span says so."""
    client, other = make(redis.Redis, port=redis_port), make(redis.asyncio.Redis, port=redis_port)
    await other.mset({"planted-3": "x", "planted-4": "x"})
    locks = client.lock("planted-3", sleep=0.02), other.lock("planted-4", sleep=0.02)
    limit = 2 * WAIT  # of which the first attempt may take a part
    assert await both(lambda: locks[0].acquire(blocking_timeout=limit), locks[1].acquire(blocking_timeout=limit)) == [
        False,
        False,
    ]
    for span in pair(traced, "LOCK"):
        assert attributes(span)["causal.lock.acquired"] is False
        assert_part(span, "causal.lock.wait")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("backoff", "retries", "attempts"), [(ConstantBackoff(WAIT), 1, 2), (NoBackoff(), 2, 3), (NoBackoff(), 0, None)]
)
async def test_pauses_between_attempts(
    backoff: Any, retries: int, attempts: int | None, make: Any, traced: Recording
) -> None:
    """A pause before another attempt is ``causal.retry.wait``, and how often it was tried is told with or without."""
    with refused_port() as port:
        refused = {"port": port, "retry_on_error": [ConnectionRefusedError]}  # not retried before 6 unless said
        client = make(redis.Redis, retry=Retry(backoff, retries), **refused)
        other = make(redis.asyncio.Redis, retry=AsyncRetry(backoff, retries), **refused)
        await both(lambda: client.get("k"), other.get("k"), redis.ConnectionError)
    assert len(traced.spans) == 2
    for span in traced.spans:
        assert_span(span, get_current_span(), error="redis.exceptions.ConnectionError")
        assert attributes(span).get("causal.attempts") == attempts
        if isinstance(backoff, NoBackoff):
            assert "causal.retry.wait" not in parts(span)
        else:
            assert_part(span, "causal.retry.wait")


@pytest.mark.asyncio
async def test_a_slow_sentinel(sentinel_port: int, redis_port: int, make: Any, traced: Recording) -> None:
    """Asking Sentinel is ``causal.discovery``, and the master is known from the first command on."""
    with slow(LOOPBACK, sentinel_port) as first, slow(LOOPBACK, sentinel_port) as second:
        first.once = second.once = WAIT
        sentinel: Any = driver.Sentinel([(LOOPBACK, first.port)])
        async_sentinel: Any = driver.asyncio.Sentinel([(LOOPBACK, second.port)])
        client, other = make(sentinel.master_for, "main"), make(async_sentinel.master_for, "main")
        await both(lambda: client.get("k"), other.get("k"))
        for span in pair(traced, "GET"):
            assert_part(span, "causal.discovery")
            assert attributes(span)["server.port"] == redis_port
        for each in (*sentinel.sentinels, *async_sentinel.sentinels):
            await close(each)


@pytest.mark.asyncio
async def test_a_slow_cluster(cluster_port: int, make: Any) -> None:
    """Asking a cluster for its nodes is ``causal.discovery``, of the first command or of what makes the client."""
    patches = {"redis": RedisOptions(slow_plumbing=WAIT / 2)}
    with slow(LOOPBACK, cluster_port) as first, slow(LOOPBACK, cluster_port) as second, recording(patches) as traced:
        first.once = second.once = WAIT
        other = make(redis.asyncio.RedisCluster, LOOPBACK, second.port)
        with traced.tracer.start_as_current_span("parent") as parent:
            await both(lambda: make(redis.RedisCluster, LOOPBACK, first.port), other.get("k"))
        assert sorted(traced.names()) == ["CONNECT", "GET", "parent"]
        for span in (traced.only("CONNECT"), traced.only("GET")):
            assert_span(span, parent)
            assert_part(span, "causal.discovery")
        assert attributes(traced.only("GET"))["server.port"] == cluster_port
        await close(other)
