"""Steps of the sequences for neo4j, of either driver."""

from __future__ import annotations

import asyncio
import gc
import warnings
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import neo4j
from neo4j.exceptions import TransientError

from tests.patches.either import close, settle
from tests.patches.graphs import LONG, READERS, ROWS, Graph
from tests.patches.sequences import given_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.services.fixtures import GraphServer

__all__ = ["ASYNC", "BOTH", "State", "driver_of"]


@dataclass
class State:
    """What a sequence uses.

    Attributes:
        graph: a driver.
        session: a session.
        results: results that were not read to their end.
        transactions: transactions that were not ended.
    """

    graph: Graph
    session: Any
    results: list[Any]
    transactions: list[Any]

    def work(self, function: Callable[..., Awaitable[Any]]) -> Any:
        """A unit of work for the driver."""
        return self.graph.work(function)


def driver_of(server: GraphServer, is_async: bool, **options: Any) -> Any:
    factory: Any = neo4j.AsyncGraphDatabase if is_async else neo4j.GraphDatabase
    options = {"auth": server.auth, "notifications_min_severity": "OFF", **options}
    return factory.driver(options.pop("url", server.url), **options)


async def _run(runs: Any, text: str = "RETURN 1 AS n", **parameters: Any) -> Any:
    result = await settle(runs.run(text, **parameters))
    return await settle(result.value())


async def _query(state: State) -> Any:
    return await _run(state.session, "UNWIND $list AS n RETURN n", list=[1, 2, 3])


def _read_by(reader: str) -> Callable[[State], Any]:
    async def read(state: State) -> Any:
        found = await settle(READERS[reader](state.graph, await settle(state.session.run(ROWS))))
        return type(found).__name__

    return read


async def _single(state: State) -> Any:
    result = await settle(state.session.run(ROWS))
    return await settle(result.single(strict=True))


async def _peek(state: State) -> Any:
    result = await settle(state.session.run(ROWS))
    state.results.append(result)
    return result.keys(), await settle(result.peek()), await settle(result.fetch(2))


async def _break(state: State) -> Any:
    result = await settle(state.session.run(ROWS))
    if state.graph.is_async:
        async for record in result:
            return record
    for record in result:
        return record
    return None


async def _unread(state: State) -> Any:
    state.results.append(await settle(state.session.run("RETURN 1 AS n")))


async def _read_on(state: State) -> Any:
    return await settle(state.results.pop().value()) if state.results else None


async def _consume(state: State) -> Any:
    return type(await settle(state.results.pop().consume())).__name__ if state.results else None


async def _drop(state: State) -> Any:
    state.results.clear()
    gc.collect()


async def _drop_session(state: State) -> Any:
    """The driver warns of it, as it should."""
    session = state.graph.session()
    await _run(session, ROWS)
    await settle(session.begin_transaction())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del session
        gc.collect()


async def _error(state: State) -> Any:
    return await _run(state.session, "MATCH")


async def _late_error(state: State) -> Any:
    return await _run(state.session, "UNWIND [1, 'x'] AS n RETURN toInteger([n])")


async def _wrong_parameter(state: State) -> Any:
    return await _run(state.session, "RETURN $x", x=object())


def _managed(method: str) -> Callable[[State], Any]:
    async def managed(state: State) -> Any:
        async def work(transaction: Any, number: int) -> Any:
            first = await _run(transaction, "RETURN $n AS n", n=number)
            return first, await _run(transaction, ROWS)

        return await settle(getattr(state.session, method)(state.work(work), 7))

    return managed


async def _managed_error(state: State) -> Any:
    async def work(transaction: Any) -> Any:
        return await _run(transaction, "MATCH")

    return await settle(state.session.execute_read(state.work(work)))


async def _own_error(state: State) -> Any:
    async def work(transaction: Any) -> Any:
        await settle(transaction.run(ROWS))
        raise KeyError("mine")

    return await settle(state.session.execute_write(state.work(work)))


async def _tried_again(state: State) -> Any:
    attempts = 0

    async def work(transaction: Any) -> Any:
        nonlocal attempts
        attempts += 1
        found = await _run(transaction)
        if attempts < 3:
            raise TransientError("not yet")
        return found

    return await settle(state.session.execute_write(state.work(work))), attempts


async def _tried_in_vain(state: State) -> Any:
    async def work(transaction: Any) -> Any:
        await _run(transaction)
        raise TransientError("never")

    session = state.graph.session(initial_retry_delay=0.001, max_transaction_retry_time=0)
    try:
        return await settle(session.execute_read(state.work(work)))
    finally:
        await close(session)


def _explicit(end: str, text: str = "RETURN 1 AS n") -> Callable[[State], Any]:
    async def explicit(state: State) -> Any:
        transaction = await settle(state.session.begin_transaction())
        try:
            return await _run(transaction, text)
        finally:
            await settle(getattr(transaction, end)())

    return explicit


async def _commit_unread(state: State) -> Any:
    transaction = await settle(state.session.begin_transaction())
    state.results += [await settle(transaction.run(ROWS)), await settle(transaction.run("RETURN 2 AS two"))]
    await settle(transaction.commit())


async def _after_commit(state: State) -> Any:
    transaction = await settle(state.session.begin_transaction())
    await settle(transaction.commit())
    return await _run(transaction)


async def _begin(state: State) -> Any:
    state.transactions.append(await settle(state.session.begin_transaction()))
    state.results.append(await settle(state.transactions[-1].run(ROWS)))


async def _end(state: State) -> Any:
    return await settle(state.transactions.pop().commit()) if state.transactions else None


async def _leave(state: State) -> Any:
    state.transactions.clear()
    gc.collect()


async def _execute_query(state: State) -> Any:
    found = await settle(state.graph.driver.execute_query("RETURN $n AS n", n=1, database_=state.graph.server.database))
    return found.records, found.keys


async def _execute_query_error(state: State) -> Any:
    return await settle(state.graph.driver.execute_query("MATCH", database_=state.graph.server.database))


async def _transform(state: State) -> Any:
    async def transform(result: Any) -> Any:
        return await settle(result.fetch(2))

    return await settle(
        state.graph.driver.execute_query(
            ROWS, database_=state.graph.server.database, result_transformer_=state.work(transform)
        )
    )


async def _transform_error(state: State) -> Any:
    async def transform(result: Any) -> Any:
        raise KeyError("mine")

    return await settle(
        state.graph.driver.execute_query(
            ROWS, database_=state.graph.server.database, result_transformer_=state.work(transform)
        )
    )


async def _connectivity(state: State) -> Any:
    return await settle(state.graph.driver.verify_connectivity())


async def _close(state: State) -> Any:
    await close(state.session)


async def _renew(state: State) -> Any:
    await close(state.session)
    state.session = state.graph.session(initial_retry_delay=0.001)


async def _refused(state: State) -> Any:
    driver = driver_of(state.graph.server, state.graph.is_async, url="bolt://127.0.0.1:1")
    session = driver.session()
    try:
        return await _run(session)
    finally:
        await close(session)
        await close(driver)


@asynccontextmanager
async def _connected(state: State) -> AsyncIterator[Any]:
    """A session that need not connect: the driver may lose a socket if that is given up."""
    async with state.graph.session() as session:
        await _run(session)
        yield session


async def _given_up(state: State) -> Any:
    async with _connected(state) as session:
        return await given_up(_run(session, LONG))


async def _managed_given_up(state: State) -> Any:
    async def work(transaction: Any) -> Any:
        await _run(transaction)
        await asyncio.Event().wait()

    async with _connected(state) as session:
        return await given_up(session.execute_write(work))


async def _too_late(state: State) -> Any:
    async with _connected(state) as session, asyncio.timeout(0.02):
        await _run(session, LONG)


async def _pool_given_up(state: State) -> Any:
    server = state.graph.server
    async with (
        driver_of(server, True, max_connection_pool_size=1) as driver,
        driver.session(database=server.database) as first,
        driver.session(database=server.database) as second,
    ):
        transaction = await first.begin_transaction()
        found = await given_up(second.run("RETURN 1 AS n"), 0.01)
        await transaction.close()
        return found, await _run(second)


async def _never_awaited(state: State) -> Any:
    state.session.run("RETURN 1").close()


BOTH: dict[str, Callable[[State], Any]] = {
    "query": _query,
    **{f"read by {reader}": _read_by(reader) for reader in READERS},
    "single": _single,
    "peek": _peek,
    "break": _break,
    "unread": _unread,
    "read on": _read_on,
    "consume": _consume,
    "drop": _drop,
    "drop a session": _drop_session,
    "error": _error,
    "late error": _late_error,
    "wrong parameter": _wrong_parameter,
    "managed read": _managed("execute_read"),
    "managed write": _managed("execute_write"),
    "managed error": _managed_error,
    "own error": _own_error,
    "tried again": _tried_again,
    "tried in vain": _tried_in_vain,
    "committed": _explicit("commit"),
    "rolled back": _explicit("rollback"),
    "closed": _explicit("close"),
    "closed after an error": _explicit("close", "MATCH"),
    "committed after an error": _explicit("commit", "MATCH"),
    "commit with unread results": _commit_unread,
    "after commit": _after_commit,
    "begin": _begin,
    "end": _end,
    "leave": _leave,
    "execute_query": _execute_query,
    "failing execute_query": _execute_query_error,
    "transform": _transform,
    "failing transform": _transform_error,
    "connectivity": _connectivity,
    "close": _close,
    "renew": _renew,
    "refused": _refused,
}
ASYNC: dict[str, Callable[[State], Any]] = {
    "given up": _given_up,
    "managed given up": _managed_given_up,
    "too late": _too_late,
    "wait for a pool given up": _pool_given_up,
    "never awaited": _never_awaited,
}
"""What can be given up, besides: it is awaited."""
