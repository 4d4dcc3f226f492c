"""What comes of a command: the server's error by its prefix, a refused connection, a retry, a wait, a cancellation."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from opentelemetry.trace import get_current_span
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from causal_otel.engine.context import suppress
from causal_otel.testing.process import claim_port
from tests.patches.either import close, settle
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.recording import Recording


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("setup", "args", "code"),
    [
        (("RPUSH", "k", "1"), ("INCR", "k"), "WRONGTYPE"),
        (("SET", "k", "text"), ("INCR", "k"), "ERR"),
        (("SET", "k", "1"), ("EXEC",), "ERR"),
        (("XADD", "s", "*", "a", "b"), ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"), "NOGROUP"),
        (("SET", "k", "1"), ("EVALSHA", "f" * 40, "0"), "NOSCRIPT"),
        (("SET", "k", "1"), ("EVAL", "return redis.call('LPUSH', 'k', 'x')", "0"), "WRONGTYPE"),
    ],
)
async def test_an_error_of_the_server_is_its_prefix(
    client: Any, traced: Recording, setup: tuple[str, ...], args: tuple[str, ...], code: str
) -> None:
    """The prefix of the server's error is error.type and status code, and its message is not recorded."""
    await settle(client.execute_command(*setup))
    with pytest.raises(redis.ResponseError) as raised:
        await settle(client.execute_command(*args))
    span = traced.only(args[0])
    assert assert_span(span, get_current_span(), error=code)["db.response.status_code"] == code
    assert span.status.description == type(raised.value).__name__
    assert span.events == ()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
async def test_a_refused_connection_is_one_failed_span(kind: str, traced: Recording) -> None:
    """However often a connection is tried, it is one span, and its error is the class of the driver's."""
    unused = claim_port(None, "nothing")
    client: Any = redis.Redis(port=unused, retry=Retry(NoBackoff(), 2))
    if kind == "asyncio":
        client = redis.asyncio.Redis(port=unused, retry=AsyncRetry(NoBackoff(), 2))
    with pytest.raises(redis.ConnectionError):
        await settle(client.get("key"))
    found = assert_span(traced.only("GET"), get_current_span(), error="redis.exceptions.ConnectionError")
    assert "db.response.status_code" not in found
    assert (found["server.address"], found["server.port"]) == ("localhost", unused)
    await close(client)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
async def test_a_retry_stays_inside_its_span(kind: str, redis_url: str, traced: Recording) -> None:
    """A command that is sent again, since its connection was gone, is one span without an error."""
    retry: Any = Retry(NoBackoff(), 2) if kind == "sync" else AsyncRetry(NoBackoff(), 2)
    kinds: Any = redis.Redis if kind == "sync" else redis.asyncio.Redis
    client = kinds.from_url(redis_url, retry=retry, retry_on_error=[redis.ConnectionError])
    number = await settle(client.client_id())
    with suppress(), redis.Redis.from_url(redis_url) as other:
        assert other.client_kill_filter(_id=str(number)) == 1
    assert await settle(client.client_id()) != number
    assert traced.names() == ["CLIENT ID", "CLIENT ID"]
    for span in traced.spans:
        assert_span(span, get_current_span())
    await close(client)


@pytest.mark.asyncio
async def test_a_blocking_pop_that_finds_nothing_is_no_error(client: Any, traced: Recording) -> None:
    """A pop that waits in vain until its own timeout is a span that lasts as long, with nothing wrong about it."""
    assert await settle(client.blpop("nothing", timeout=0.1)) is None
    assert_span(traced.only("BLPOP"), get_current_span(), lasts=0.09)


@pytest.mark.asyncio
async def test_a_cancelled_command_is_marked(redis_url: str, traced: Recording) -> None:
    """Cancelling a waiting command ends its span, marked as cancelled and without a status."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.blpop("nothing", timeout=30)
    assert_span(traced.only("BLPOP"), get_current_span(), cancelled=True)


@pytest.mark.asyncio
@pytest.mark.parametrize(("driver", "retry"), [(redis, Retry), (redis.asyncio, AsyncRetry)], ids=["sync", "asyncio"])
async def test_short_attempts_to_connect_are_one_wait(traced: Recording, driver: Any, retry: Any) -> None:
    """A server that refuses many times in a row, at once, was connected to all the while, and did nothing itself."""
    client = driver.Redis(host="127.0.0.1", port=claim_port(None, "nobody"), retry=retry(NoBackoff(), 80))
    with pytest.raises(redis.ConnectionError):
        await settle(client.get("none"))
    told = assert_span(traced.only("GET"), get_current_span(), error="redis.exceptions.ConnectionError")
    assert told["causal.attempts"] == 81
    assert told["causal.connect"] >= 0.001
    await close(client)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", [redis, redis.asyncio], ids=["sync", "asyncio"])
async def test_a_pool_that_has_room_is_not_waited_for(traced: Recording, redis_port: int, driver: Any) -> None:
    """The time in which a class of the user's makes a connection is no wait for the pool, which had room for it."""

    class Thorough(driver.Connection):  # type: ignore[misc]
        def __init__(self, **settings: Any) -> None:
            time.sleep(0.02)
            super().__init__(**settings)

    pool = driver.BlockingConnectionPool(host="127.0.0.1", port=redis_port, connection_class=Thorough)
    client = driver.Redis(connection_pool=pool)
    await settle(client.get("none"))
    assert "causal.pool.wait" not in assert_span(traced.only("GET"), get_current_span(), lasts=0.02)
    await close(client)
    await settle(pool.disconnect())
