"""Whatever is done with asyncpg in whatever order, the user sees what the bare driver does, and the spans are right."""

from __future__ import annotations

import contextlib
import io
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_otel.patches.asyncpg import AsyncpgOptions
from tests.patches.sequences import AS_LONG_AS_IT_TAKES, assert_unnoticed, given_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@dataclass
class State:
    """What a sequence uses.

    Attributes:
        url: the server's.
        connection: a connection of its own.
        pool: a pool of two.
        taken: those of its connections that were taken and not given back.
        cursors: cursors that were not read to their end.
    """

    url: str
    connection: asyncpg.Connection[Any]
    pool: asyncpg.Pool[Any]
    taken: list[Any]
    cursors: list[Any]


def _late(step: Callable[[State], Awaitable[Any]]) -> Callable[[State], Awaitable[Any]]:
    """A step that is given up, and with it the connection.

    The server may be told so late, in the middle of what is next (``ROLLBACK``, or another step), and cancel that.
    """

    async def late(state: State) -> Any:
        with contextlib.suppress(TimeoutError, asyncpg.QueryCanceledError):
            assert await step(state) != "had ended"
        with contextlib.suppress(Exception):
            await state.connection.close(timeout=60)  # waits until the server has been told
        state.connection = await asyncpg.connect(state.url)

    return late


async def _query(state: State) -> Any:
    return await state.connection.fetch("SELECT n FROM generate_series(1, 3) AS n")


async def _error(state: State) -> Any:
    return await state.connection.fetchval("SELECT 1 / $1::int", 0)


async def _wrong_argument(state: State) -> Any:
    return await state.connection.fetchrow("SELECT $1::int", "x")


async def _timeout(state: State) -> Any:
    return await state.connection.execute("SELECT pg_sleep(3)", timeout=0.01)


async def _cancelled(state: State) -> Any:
    return await given_up(state.connection.fetchval("SELECT pg_sleep(3)"))


async def _batch(state: State) -> Any:
    return await state.connection.executemany("SELECT $1::int", [(1,), (2,)])


async def _copy(state: State) -> Any:
    output = io.BytesIO()
    return await state.connection.copy_from_query("SELECT 1", output=output), output.getvalue()


async def _prepared(state: State) -> Any:
    statement = await state.connection.prepare("SELECT $1::int + 1")
    return await statement.fetchval(1), await statement.fetchrow(2), len(await statement.fetch(3))


async def _not_prepared(state: State) -> Any:
    await state.connection.prepare("SELECT * FROM missing")


def _in_transaction(step: Callable[[State], Awaitable[Any]]) -> Callable[[State], Awaitable[Any]]:
    async def inside(state: State) -> Any:
        async with state.connection.transaction():
            return await step(state)

    return inside


async def _read(state: State) -> Any:
    return [row[0] async for row in state.connection.cursor("SELECT generate_series(1, 7)", prefetch=3)]


async def _break(state: State) -> Any:
    async for row in state.connection.cursor("SELECT generate_series(1, 7)", prefetch=3):
        return row[0]
    return None


async def _keep(state: State) -> Any:
    cursor = await state.connection.cursor("SELECT generate_series(1, 7)")
    state.cursors.append(cursor)
    return await cursor.fetch(2), await cursor.forward(2), await cursor.fetchrow()


async def _read_on(state: State) -> Any:
    return await state.cursors.pop().fetch(1) if state.cursors else None


async def _drop(state: State) -> Any:
    state.cursors.clear()


async def _rows_that_fail(state: State) -> Any:
    return [
        row async for row in state.connection.cursor("SELECT 1 / (4 - n) FROM generate_series(1, 7) AS n", prefetch=2)
    ]


async def _rows_that_are_late(state: State) -> Any:
    late = "SELECT pg_sleep(CASE n WHEN 3 THEN 3 ELSE 0 END) FROM generate_series(1, 7) AS n"
    return [row async for row in state.connection.cursor(late, prefetch=1, timeout=0.02)]


async def _rows_given_up(state: State) -> Any:
    return await given_up(_in_transaction(_rows_that_are_late)(state), 0.005)


async def _rolled_back(state: State) -> Any:
    with contextlib.suppress(KeyError):
        async with state.connection.transaction(), state.connection.transaction():
            raise KeyError


async def _commit_that_fails(state: State) -> Any:
    async with state.connection.transaction():
        with contextlib.suppress(asyncpg.PostgresError):
            await _error(state)


async def _pooled(state: State) -> Any:
    return await state.pool.fetchval("SELECT $1::int", 5)


async def _pooled_error(state: State) -> Any:
    return await state.pool.execute("SELECT * FROM missing")


async def _take(state: State) -> Any:
    if len(state.taken) < 1:
        state.taken.append(await state.pool.acquire(timeout=60))


async def _give_back(state: State) -> Any:
    for each in state.taken:
        await state.pool.release(each)
    state.taken.clear()


async def _use_after_release(state: State) -> Any:
    async with state.pool.acquire() as connection:
        statement = await connection.prepare("SELECT 1")
    await statement.fetchval()


async def _empty_pool(state: State) -> Any:
    async with state.pool.acquire(), contextlib.AsyncExitStack() as stack:
        if not state.taken:
            await stack.enter_async_context(state.pool.acquire())
        await state.pool.acquire(timeout=0.01)


async def _expire(state: State) -> Any:
    await state.pool.expire_connections()


async def _listen(state: State) -> Any:
    await state.connection.add_listener("news", print)
    await state.connection.remove_listener("news", print)


async def _break_connection(state: State) -> Any:
    state.connection.terminate()


async def _reset(state: State) -> Any:
    await state.connection.reset()


STEPS: dict[str, Callable[[State], Awaitable[Any]]] = {
    "query": _query,
    "error": _error,
    "wrong argument": _wrong_argument,
    "timeout": _late(_timeout),
    "cancelled": _late(_cancelled),
    "batch": _batch,
    "copy": _copy,
    "prepared": _prepared,
    "not prepared": _not_prepared,
    "cursor": _in_transaction(_read),
    "cursor outside a transaction": _read,
    "cursor left": _in_transaction(_break),
    "cursor kept": _in_transaction(_keep),
    "cursor read on": _read_on,
    "cursor dropped": _drop,
    "cursor that fails": _in_transaction(_rows_that_fail),
    "cursor that is late": _late(_in_transaction(_rows_that_are_late)),
    "cursor given up": _late(_rows_given_up),
    "rolled back": _rolled_back,
    "commit that fails": _commit_that_fails,
    "pool": _pooled,
    "pool error": _pooled_error,
    "take": _take,
    "give back": _give_back,
    "use after release": _use_after_release,
    "empty pool": _empty_pool,
    "expire": _expire,
    "listen": _listen,
    "break": _break_connection,
    "reset": _reset,
}

AT_LEAST = {"pool": 1, "pool error": 1, "use after release": 1, "empty pool": 1, "error": 1, "timeout": 1}
"""How many spans a step makes in any case."""


def _sequence(postgres_url: str, sequence: list[str]) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[State]:
        async with asyncpg.create_pool(postgres_url, min_size=0, max_size=2) as pool:
            state = State(postgres_url, await asyncpg.connect(postgres_url), pool, [], [])
            try:
                yield state
            finally:
                await _give_back(state)
                state.cursors.clear()
                await state.connection.close()

    options = AsyncpgOptions(slow_plumbing=3600)
    assert_unnoticed({"asyncpg": options}, opened, STEPS, sequence, AT_LEAST)


sequences = given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=10))


def test_each_step(postgres_url: str) -> None:
    """All that the sequences are made of, once and in order."""
    _sequence(postgres_url, [name for name in STEPS if name != "break"])


@settings(max_examples=4, derandomize=True, **AS_LONG_AS_IT_TAKES)
@sequences
def test_a_few_sequences(postgres_url: str, sequence: list[str]) -> None:
    """Random sequences, as many as there is time for."""
    _sequence(postgres_url, sequence)


@pytest.mark.long
@settings(max_examples=60, **AS_LONG_AS_IT_TAKES)
@sequences
def test_many_sequences(postgres_url: str, sequence: list[str]) -> None:
    """More of them."""
    _sequence(postgres_url, sequence)
