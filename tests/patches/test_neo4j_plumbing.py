"""What neo4j's driver does around queries: transactions that are undone, connections and whose context they are in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from neo4j._async_compat.network import _bolt_socket
from neo4j.exceptions import DriverError, Neo4jError
from opentelemetry import context, trace

from causal_otel.patches.neo4j import Neo4jOptions
from tests.metrics.measuring import measured
from tests.patches.either import settle
from tests.patches.graphs import Graph, async_only, inside
from tests.patches.held import held
from tests.patches.stubs import connected, query, warm
from tests.recording import recording
from tests.slow_machine import assert_at_least
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.recording import Recording
    from tests.services.bolt_stub import BoltStub

PATCHES = {"neo4j": Neo4jOptions(require_parent=True)}
ROLLED_BACK = "causal.transaction.rolled_back"


def events(span: Any) -> list[str]:
    """The names of a span's events."""
    return [event.name for event in span.events]


async def in_block(session: Any, is_async: bool) -> None:
    """A transaction whose block raises."""
    if is_async:
        async with await session.begin_transaction():
            raise ValueError
    with session.begin_transaction():
        raise ValueError


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["rollback", "close", "commit", "exception", "managed", "refused"])
async def test_a_transaction_that_is_rolled_back(recorded: Recording, stub: BoltStub, is_async: bool, way: str) -> None:
    """It is an event on the span that is current, once; one that is committed is none."""

    async def work(transaction: Any) -> None:
        raise ValueError

    def sync_work(transaction: Any) -> None:
        raise ValueError

    if way == "refused":
        stub.failures["COMMIT"] = "Neo.ClientError.Schema.ConstraintValidationFailed"
    async with warm(is_async, stub) as driver:
        session = driver.session()
        with inside(recorded) as root:
            if way == "managed":
                with pytest.raises(ValueError):
                    await settle(session.execute_write(work if is_async else sync_work))
            elif way == "exception":
                with pytest.raises(ValueError):
                    await in_block(session, is_async)
            elif way == "refused":
                transaction = await settle(session.begin_transaction())
                with pytest.raises(Neo4jError):
                    await settle(transaction.commit())
            else:
                transaction = await settle(session.begin_transaction())
                await settle(getattr(transaction, way)())
        await settle(session.close())
    span = recorded.only("neo4j.execute_write" if way == "managed" else "root")
    assert events(span) == ([] if way == "commit" else [ROLLED_BACK])
    if way == "managed":
        assert_span(span, root, error="ValueError")


@pytest.mark.asyncio
@async_only
@pytest.mark.parametrize("way", ["explicit", "managed"])
async def test_a_transaction_that_is_cancelled(recorded: Recording, graph: Graph, session: Any, way: str) -> None:
    """Losing its connection undoes it as well."""
    begun = asyncio.Event()

    async def work(transaction: Any) -> None:
        begun.set()
        await asyncio.sleep(60)

    async def run() -> None:
        if way == "managed":
            await session.execute_write(work)
        async with await session.begin_transaction() as transaction:
            await work(transaction)

    with inside(recorded) as root:
        task = asyncio.create_task(run())
        await asyncio.wait_for(begun.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    if way == "managed":
        managed = recorded.only("neo4j.execute_write")
        assert_span(managed, root, cancelled=True)
        assert events(managed) == [ROLLED_BACK]
    else:
        assert events(recorded.only("root")) == [ROLLED_BACK]


@pytest.mark.asyncio
async def test_sockets_are_opened_in_an_empty_context(
    recorded: Recording, stub: BoltStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What outlives a request does not inherit it; what the driver asks of you in the meantime does."""
    old: Any = vars(_bolt_socket).get("AsyncBoltSocket")  # of versions before 5.28
    kind: Any = vars(_bolt_socket).get("AsyncBoltSocketBase", old)
    opened: list[Any] = []
    resolved: list[Any] = []
    initialised: Callable[..., None] = kind.__init__

    def init(self: Any, *args: Any) -> None:
        opened.append(dict(context.get_current()))
        initialised(self, *args)

    monkeypatch.setattr(kind, "__init__", init)

    def resolver(address: Any) -> list[Any]:
        resolved.append(trace.get_current_span())
        return [address]

    async with connected(True, f"bolt://127.0.0.1:{stub.port}", resolver=resolver) as driver:
        session = driver.session()
        with inside(recorded) as root:
            await query(session)
            assert trace.get_current_span() is root
        await session.close()
    assert opened == [{}]
    assert resolved == [root]
    assert_span(recorded.only("RETURN"), root)


@pytest.mark.asyncio
async def test_pool_metrics(stub: BoltStub, is_async: bool) -> None:
    """How many connections a pool has, how long they are made, waited for and used, and who waits in vain."""
    with measured(["neo4j"]) as found:
        async with warm(is_async, stub, max_connection_pool_size=1) as driver:
            holder, waiter = driver.session(), driver.session(connection_acquisition_timeout=0.15)
            transaction = await settle(holder.begin_transaction())
            with pytest.raises((DriverError, Neo4jError)):
                await query(waiter)
            counts = found.points("db.client.connection.count")
            await settle(transaction.commit())
            await settle(holder.close())
            await settle(waiter.close())
            points = {
                name: found.points(f"db.client.connection.{name}")
                for name in ("create_time", "wait_time", "use_time", "timeouts", "pending_requests")
            }
    pool = f"127.0.0.1:{stub.port}"
    assert all(each.attributes["db.client.connection.pool.name"] == pool for each in counts)
    assert {each.attributes["db.client.connection.state"]: each.value for each in counts} == {"idle": 0, "used": 1}
    for name in points:
        (point,) = points[name]
        assert point.attributes == {"db.client.connection.pool.name": pool}
    assert points["create_time"][0].count == 1
    assert points["wait_time"][0].count == points["use_time"][0].count == 2, "to look whether it is there, and BEGIN"
    assert points["timeouts"][0].value == 1
    assert points["pending_requests"][0].value == 0


@pytest.mark.asyncio
async def test_waiting_in_vain(recorded: Recording, stub: BoltStub, is_async: bool) -> None:
    """A query that gets no connection says what it has waited for, and how many waited before it."""
    async with warm(is_async, stub, max_connection_pool_size=1) as driver:
        holder, waiter = driver.session(), driver.session(connection_acquisition_timeout=0.15)
        transaction = await settle(holder.begin_transaction())
        with inside(recorded) as root:
            with pytest.raises((DriverError, Neo4jError)):
                await query(waiter)
            with pytest.raises((DriverError, Neo4jError)):
                await settle(waiter.begin_transaction())
        await settle(transaction.commit())
        await settle(holder.close())
        await settle(waiter.close())
    for name in ("RETURN", "BEGIN"):
        span = recorded.only(name)
        found = assert_span(span, root, error="neo4j.exceptions.*", lasts=0.15)
        assert_at_least(0.075, found["causal.pool.wait"])  # the deadline began before the wait
        assert (found["causal.pool.size"], found["causal.pool.waiting"]) == (1, 0)
        assert attributes(span).get("causal.server", 0) <= found["causal.pool.wait"]


@pytest.mark.asyncio
async def test_a_pool_that_outlives_an_installation(stub: BoltStub, is_async: bool) -> None:
    """The next installation is told of its waits, as the first was."""
    async with warm(is_async, stub, max_connection_pool_size=1) as driver:
        holder, waiter = driver.session(), driver.session(connection_acquisition_timeout=0.15)
        transaction = await settle(holder.begin_transaction())
        for _ in range(2):
            with recording(PATCHES) as recorded:
                with inside(recorded) as root, pytest.raises((DriverError, Neo4jError)):
                    await query(waiter)
                span = recorded.only("RETURN")
            found = assert_span(span, root, error="neo4j.exceptions.*", lasts=0.15)
            assert_at_least(0.075, found["causal.pool.wait"])  # the deadline began before the wait
        await settle(transaction.commit())
        await settle(holder.close())
        await settle(waiter.close())


@pytest.mark.asyncio
@pytest.mark.parametrize("slow", [0.1, None])
async def test_closing_a_session(stub: BoltStub, is_async: bool, slow: float | None) -> None:
    """A session that lingers at its end is a span with what that was for: a transaction that it rolls back."""
    with recording({"neo4j": Neo4jOptions(slow_plumbing=60 if slow is None else slow)}) as recorded:
        async with warm(is_async, stub) as driver:
            session = driver.session()
            await settle(session.begin_transaction())
            stub.delays["ROLLBACK"] = 0.2
            with inside(recorded) as root:
                await settle(session.close())
    if slow is None:
        assert recorded.names() == ["root"]
        return
    told = assert_span(recorded.only("CLOSE"), root, lasts=0.2)
    assert told["db.operation.name"] == "CLOSE"
    assert told["server.port"] == stub.port
    assert_at_least(0.16, told["causal.server"])
    assert recorded.names() == ["CLOSE", "root"]


@pytest.mark.asyncio
async def test_closing_a_session_that_fails(stub: BoltStub, is_async: bool) -> None:
    """Of what fails while a session is closed the innermost is the one span; what is quick and well is none."""
    with recording(["neo4j"]) as recorded:
        async with warm(is_async, stub) as driver:
            session = driver.session()
            await settle(session.begin_transaction())
            stub.failures["ROLLBACK"] = "Neo.TransientError.General.DatabaseUnavailable"
            with inside(recorded) as root, pytest.raises(Neo4jError):
                await settle(session.close())
            assert_span(recorded.only("ROLLBACK"), root, error="Neo.TransientError.General.DatabaseUnavailable")
            assert recorded.names() == ["ROLLBACK", "root"]
            del stub.failures["ROLLBACK"]
            await settle(session.close())


@pytest.mark.asyncio
async def test_closing_a_driver_that_lingers(stub: BoltStub) -> None:
    """A driver whose closing waits for another thread is a span, as long as it waited."""
    with recording({"neo4j": Neo4jOptions(slow_plumbing=0.05)}) as recorded:
        async with warm(False, stub) as driver:
            with held(driver._pool.lock, "close", 0.05), inside(recorded) as root:
                driver.close()
    told = assert_span(recorded.only("CLOSE"), root, lasts=0.05)
    assert (told["db.operation.name"], told["server.port"]) == ("CLOSE", stub.port)
    assert recorded.names() == ["CLOSE", "root"]


@pytest.mark.asyncio
async def test_closing_a_session_that_is_cancelled(stub: BoltStub) -> None:
    """What the closing of a session waited for when it was cancelled is the one span, marked so."""
    with recording(["neo4j"]) as recorded:
        async with warm(True, stub) as driver:
            session = driver.session()
            await session.begin_transaction()
            stub.delays["ROLLBACK"] = 1.0
            with inside(recorded) as root, pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await session.close()
            await session.close()  # the driver would complain of one that is not
    assert_span(recorded.only("ROLLBACK"), root, cancelled=True, lasts=0.08)
    assert recorded.names() == ["ROLLBACK", "root"]
