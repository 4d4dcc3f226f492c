"""Transactions of asyncpg that cannot begin, commit or roll back are one failed span each."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tests.patches.asyncpg_failing import fails, via
from tests.span_relations import assert_span, untimed
from tests.waiting import cancelled_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.recording import Recording
    from tests.services.slow import SlowServer

PATCHES = ["asyncpg"]

pytestmark = pytest.mark.usefixtures("pairs")


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["block", "methods", "own"])
async def test_commit_that_is_refused(recorded: Recording, connection: asyncpg.Connection[Any], way: str) -> None:
    """A deferred constraint that fails at COMMIT is a span of that, however the transaction is ended."""

    async def work() -> None:
        twice = "INSERT INTO pairs VALUES (1, 1), (1, 2)"
        if way == "block":
            async with connection.transaction():
                await connection.execute(twice)
        elif way == "methods":
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(twice)
            await transaction.commit()
        else:
            await connection.execute("BEGIN;")
            await connection.execute(twice)
            await connection.execute("COMMIT;")

    failure = await fails(recorded, work, "INSERT pairs")
    host, port = connection._addr  # type: ignore[attr-defined]
    assert isinstance(failure.error, asyncpg.UniqueViolationError)
    assert failure.span.name == "COMMIT postgres"
    assert untimed(failure.attributes) == {
        "db.system.name": "postgresql",
        "db.namespace": "postgres",
        "db.operation.name": "COMMIT",
        "server.address": host,
        "server.port": port,
        "error.type": "23505",
        "db.response.status_code": "23505",
    }


@pytest.mark.asyncio
async def test_commit_that_cannot_be_serialized(
    recorded: Recording, connection: asyncpg.Connection[Any], postgres_url: str
) -> None:
    """A serialization failure at COMMIT is a span of that, which a caller who retries wants to count."""
    await connection.execute("INSERT INTO pairs VALUES (1, 1), (2, 2)")
    other = await asyncpg.connect(postgres_url)

    async def work() -> None:
        async with connection.transaction(isolation="serializable"):
            total = await connection.fetchval("SELECT sum(n) FROM pairs")
            async with other.transaction(isolation="serializable"):
                await other.fetchval("SELECT sum(n) FROM pairs")
                await connection.execute("INSERT INTO pairs VALUES (3, $1)", total)
                await other.execute("INSERT INTO pairs VALUES (4, $1)", total)

    failure = await fails(recorded, work, *["SELECT pairs", "INSERT pairs"] * 2)
    await other.close()
    assert (failure.span.name, failure.attributes["error.type"]) == ("COMMIT postgres", "40001")


@pytest.mark.asyncio
async def test_savepoint_that_cannot_be_set(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """A savepoint in a transaction that has failed meanwhile is a failure of its own."""

    async def work() -> None:
        async with connection.transaction():
            with contextlib.suppress(asyncpg.PostgresError):
                await connection.execute("SELECT * FROM missing")
            async with connection.transaction():
                pass

    recorded.clear()
    with (
        recorded.tracer.start_as_current_span("root") as root,
        pytest.raises(asyncpg.InFailedSQLTransactionError),
    ):
        await work()
    *found, _ = recorded.spans
    assert [span.name for span in found] == ["SELECT missing", "SAVEPOINT postgres"]
    for span, error in zip(found, ("42P01", "25P02"), strict=True):
        assert_span(span, root, error=error)


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["start", "commit", "rollback"])
async def test_what_the_driver_itself_refuses(
    recorded: Recording, connection: asyncpg.Connection[Any], method: str
) -> None:
    """A transaction that is used in the wrong order fails without the server, and has a span by the error's class."""
    transaction = connection.transaction()
    await transaction.start()
    await transaction.rollback()
    failure = await fails(recorded, getattr(transaction, method))
    assert failure.span.name == f"{ {'start': 'BEGIN'}.get(method, method.upper()) } postgres"
    assert failure.attributes["error.type"] == "asyncpg.exceptions._base.InterfaceError"


@pytest.mark.asyncio
async def test_block_whose_connection_has_gone(
    recorded: Recording, connection: asyncpg.Connection[Any], postgres_url: str
) -> None:
    """Where the connection breaks inside a transaction, the query that noticed and the block's end are a span each."""
    victim = await asyncpg.connect(postgres_url)

    async def work() -> None:
        async with victim.transaction():
            await connection.execute("SELECT pg_terminate_backend($1)", victim.get_server_pid())
            await victim.fetchval("SELECT 1")

    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root, pytest.raises(asyncpg.InterfaceError):
        await work()
    *found, _ = recorded.spans
    assert [span.name for span in found] == ["SELECT pg_terminate_backend", "SELECT", "ROLLBACK postgres"]
    for span, error in zip(found, (None, "*", "*"), strict=True):
        assert_span(span, root, error=error)
    failure = await fails(recorded, lambda: victim.add_listener("news", print))
    assert failure.span.name == "LISTEN postgres"
    failure = await fails(recorded, victim.reset)
    assert failure.span.name == "RESET postgres"


@pytest.mark.asyncio
async def test_begin_on_a_connection_that_has_gone(
    recorded: Recording, connection: asyncpg.Connection[Any], postgres_url: str
) -> None:
    """A transaction that cannot begin has a span, and so has a listener that cannot be added.

    The listener's is its query, or its own where the connection knew by then that it had gone.
    """
    for number, expected in enumerate((["BEGIN postgres"], ["LISTEN", "LISTEN postgres"])):
        victim = await asyncpg.connect(postgres_url)
        transaction = victim.transaction()
        await connection.execute("SELECT pg_terminate_backend($1)", victim.get_server_pid())
        call = transaction.start if number == 0 else lambda victim=victim: victim.add_listener("news", print)
        failure = await fails(recorded, call)
        assert failure.span.name in expected
        await victim.close()


@pytest.mark.asyncio
async def test_cancelled_commit(recorded: Recording, postgres_url: str, late_postgres: SlowServer) -> None:
    """A COMMIT that is cancelled while the server is slow has a span from its call on, unset and marked."""
    connection = await asyncpg.connect(via(postgres_url, late_postgres.port))
    transaction = connection.transaction()
    await transaction.start()
    with recorded.tracer.start_as_current_span("root") as root:
        late_postgres.delay = 0.5
        await cancelled_after(0.1, transaction.commit())
    late_postgres.delay = 0
    connection.terminate()
    assert_span(recorded.only("COMMIT postgres"), root, cancelled=True, lasts=0.1)


def _rolled_back(span: Any) -> list[str]:
    """What a span tells of transactions that were rolled back in it."""
    return [
        event.attributes["db.operation.name"] for event in span.events if event.name == "causal.transaction.rolled_back"
    ]


@pytest.mark.asyncio
async def test_transactions_that_are_rolled_back(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """That is an event of the current span, also where nobody is told: COMMIT after an error that was caught."""

    async def left(inner: bool) -> None:
        with contextlib.suppress(KeyError):
            async with connection.transaction(), contextlib.AsyncExitStack() as stack:
                if inner:
                    stack.push(lambda kind, error, trace: kind is KeyError)
                    await stack.enter_async_context(connection.transaction())
                raise KeyError

    async def by_hand() -> None:
        transaction = connection.transaction()
        await transaction.start()
        await transaction.rollback()

    async def by_statement() -> None:
        await connection.execute("BEGIN;")
        await connection.execute("ROLLBACK;")

    async def caught() -> None:
        async with connection.transaction():
            with contextlib.suppress(asyncpg.PostgresError):
                await connection.execute("SELECT * FROM missing")

    async def refused() -> None:
        with contextlib.suppress(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute("INSERT INTO pairs VALUES (1, 1), (1, 2)")

    async def well() -> None:
        async with connection.transaction(), connection.transaction():
            pass

    ways: dict[str, tuple[Callable[[], Awaitable[None]], list[str]]] = {
        "left": (lambda: left(False), ["ROLLBACK"]),
        "savepoint": (lambda: left(True), ["ROLLBACK TO"]),
        "by hand": (by_hand, ["ROLLBACK"]),
        "by statement": (by_statement, ["ROLLBACK"]),
        "caught": (caught, ["COMMIT"]),
        "refused": (refused, ["COMMIT"]),
        "well": (well, []),
    }
    for name, (way, expected) in ways.items():
        recorded.clear()
        with recorded.tracer.start_as_current_span("root"):
            await way()
        assert _rolled_back(recorded.spans[-1]) == expected, name
