"""More steps of those sequences: pools, subscriptions, locks, connections, and what is given up."""

from __future__ import annotations

import gc
import warnings
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.patches.either import close, settle
from tests.patches.sequences import given_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.patches.redis_steps import State

__all__ = ["ASYNCIO", "CONNECTIONS"]


async def _too_late(state: State) -> Any:
    client = state.make(socket_timeout=0.03)
    try:
        return await settle(client.blpop("empty", timeout=0))
    except state.errors.TimeoutError as error:
        raise type(error) from None  # connecting may have been late as well, which is another sentence
    finally:
        await close(client)


def _exhausted(pool: str, **options: Any) -> Callable[[State], Any]:
    async def exhausted(state: State) -> Any:
        kind = getattr(state.half, pool)
        client = type(state.client)(connection_pool=kind.from_url(state.url, max_connections=1, **options))
        pipeline = client.pipeline()
        await settle(pipeline.watch("watched"))
        try:
            return await settle(client.get("string"))
        finally:
            await settle(pipeline.reset())
            await close(client)
            await settle(client.connection_pool.disconnect())

    return exhausted


async def _messages(state: State) -> Any:
    pubsub = state.client.pubsub()
    handled: list[Any] = []
    await settle(pubsub.subscribe("news", handled=handled.append))
    found = [await settle(pubsub.get_message(timeout=60)) for _ in range(2)]
    for channel in ("news", "handled"):
        await settle(state.client.publish(channel, "x"))
        found.append(await settle(pubsub.get_message(timeout=60)))
    await settle(pubsub.unsubscribe())
    await close(pubsub)
    return found, handled


async def _no_message(state: State) -> Any:
    pubsub = state.client.pubsub(ignore_subscribe_messages=True)
    await settle(pubsub.psubscribe("new*"))
    found = [await settle(pubsub.get_message(timeout=0.001)) for _ in range(2)]
    await close(pubsub)
    return found


async def _not_subscribed(state: State) -> Any:
    pubsub = state.client.pubsub()
    try:
        return await settle(pubsub.parse_response())
    finally:
        await close(pubsub)


async def _keep_subscription(state: State) -> Any:
    pubsub = state.client.pubsub()
    await settle(pubsub.subscribe("news"))
    state.subscriptions.append(pubsub)


async def _drop(state: State) -> Any:
    """Of what is dropped the driver warns, as it should."""
    pipeline = state.client.pipeline()
    await settle(pipeline.watch("watched"))
    client = state.make()
    await settle(client.get("string"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        state.subscriptions.clear()
        del pipeline, client
        gc.collect()


async def _lock(state: State) -> Any:
    async with _entered(state.client.lock("lock", timeout=60)) as lock:
        return await settle(lock.owned()), await settle(lock.extend(60)), await settle(lock.locked())


@asynccontextmanager
async def _entered(manager: Any) -> AsyncIterator[Any]:
    if hasattr(manager, "__aenter__"):
        async with manager as entered:
            yield entered
    else:
        with manager as entered:
            yield entered


async def _two_locks(state: State) -> Any:
    async with _entered(state.client.lock("lock", timeout=60)):
        return await settle(state.client.lock("lock", sleep=0.001).acquire(blocking_timeout=0.01))


async def _lock_not_had(state: State) -> Any:
    async with (
        _entered(state.client.lock("lock", timeout=60)),
        _entered(state.client.lock("lock", sleep=0.001, blocking_timeout=0.01)),
    ):
        return "both were had"


async def _lock_lost(state: State) -> Any:
    async with _entered(state.client.lock("lock", timeout=60)):
        await settle(state.client.delete("lock"))


async def _lock_that_is_none(state: State) -> Any:
    await settle(state.client.lpush("list", 1))
    await settle(state.client.lock("list", timeout=60).release())


async def _close(state: State) -> Any:
    await close(state.client)


async def _disconnect(state: State) -> Any:
    await settle(state.client.connection_pool.disconnect())


async def _killed(state: State) -> Any:
    client = state.make(retries=1)
    number = await settle(client.client_id())
    killed = await settle(state.client.client_kill_filter(_id=number))
    try:
        return killed, await settle(client.echo("x"))
    finally:
        await close(client)


async def _single(state: State) -> Any:
    async with _entered(state.make(single_connection_client=True)) as client:
        return await settle(client.ping())


async def _refused(state: State) -> Any:
    package = state.errors.__name__
    client = type(state.client).from_url(f"{package}://:secret@127.0.0.1:1", retry=state.make().get_retry())
    try:
        return await settle(client.pipeline().get("a").execute())
    finally:
        await close(client)


async def _wrong_password(state: State) -> Any:
    client = state.make(username="nobody", password="wrong")
    try:
        return await settle(client.get("string"))
    finally:
        await close(client)


async def _never_awaited(state: State) -> Any:
    state.client.get("string").close()


async def _given_up(state: State) -> Any:
    await state.client.ping()  # so that it need not connect: the driver may lose a socket if that is given up
    return await given_up(state.client.blpop("empty", timeout=0))


async def _pipeline_given_up(state: State) -> Any:
    await state.client.ping()
    return await given_up(state.client.pipeline(transaction=False).get("string").blpop("empty", 0).execute(), 0.005)


async def _lock_given_up(state: State) -> Any:
    async with state.client.lock("lock", timeout=60):
        return await given_up(state.client.lock("lock", sleep=0.001).acquire())


async def _message_given_up(state: State) -> Any:
    async with state.client.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe("news")
        return await given_up(anext(aiter(pubsub.listen())), 0.005)


async def _wait_for_pool_given_up(state: State) -> Any:
    pool = state.half.BlockingConnectionPool.from_url(state.url, max_connections=1, timeout=60)
    async with type(state.client)(connection_pool=pool) as client:
        async with client.pipeline() as pipeline:
            await pipeline.watch("watched")
            found = await given_up(client.get("string"), 0.005)
        await client.set("string", 1)
    await pool.disconnect()
    return found


CONNECTIONS: dict[str, Callable[[State], Any]] = {
    "too late": _too_late,
    "exhausted": _exhausted("ConnectionPool"),
    "exhausted while waiting": _exhausted("BlockingConnectionPool", timeout=0.01),
    "messages": _messages,
    "no message": _no_message,
    "not subscribed": _not_subscribed,
    "keep a subscription": _keep_subscription,
    "drop": _drop,
    "lock": _lock,
    "two locks": _two_locks,
    "lock not had": _lock_not_had,
    "lock lost": _lock_lost,
    "lock that is none": _lock_that_is_none,
    "close": _close,
    "disconnect": _disconnect,
    "killed": _killed,
    "single connection": _single,
    "refused": _refused,
    "wrong password": _wrong_password,
}
ASYNCIO: dict[str, Callable[[State], Any]] = {
    "never awaited": _never_awaited,
    "given up": _given_up,
    "pipeline given up": _pipeline_given_up,
    "lock given up": _lock_given_up,
    "message given up": _message_given_up,
    "wait for a pool given up": _wait_for_pool_given_up,
}
"""What can be given up, besides: it is awaited."""
