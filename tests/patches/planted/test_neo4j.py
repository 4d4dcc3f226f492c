"""Waits that are planted in neo4j's calls are in the part that they belong to, and in no other."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from neo4j.exceptions import TransientError

from causal_otel.patches.neo4j import Neo4jOptions
from tests.patches.either import settle
from tests.patches.graphs import Graph, busy, inside, neo4j_only
from tests.patches.planted.waits import WAIT, assert_no_part, assert_part
from tests.patches.stubs import connected, query, warm
from tests.services.slow import SlowServer, slow
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.recording import Recording
    from tests.services.bolt_stub import BoltStub

PATCHES = {"neo4j": Neo4jOptions(require_parent=True, slow_plumbing=0.1)}
POOL_WAIT = "causal.pool.wait"
HELD = WAIT * 1.5  # something is held for longer than it is waited for: the waiter may come late


async def after_a_wait(is_async: bool, function: Callable[[], Any]) -> Callable[[], Any]:
    """Call ``function`` when the wait is over, while the test waits for something else; returns what joins it."""
    if is_async:

        async def call() -> None:
            await asyncio.sleep(HELD)
            await function()

        task = asyncio.create_task(call())
        await asyncio.sleep(0)  # the loop's clock of the sleep begins before the test's wait
        return lambda: task
    thread = threading.Timer(HELD, function)
    thread.start()
    return thread.join


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["run", "execute_query", "begin"])
async def test_pool(recorded: Recording, stub: BoltStub, is_async: bool, way: str) -> None:
    """Waiting for the only connection of a pool is its part of a query, of ``execute_query``, and of ``BEGIN``."""
    async with warm(is_async, stub, max_connection_pool_size=1) as driver:
        holder, waiter = driver.session(), driver.session()
        held = await settle(holder.begin_transaction())
        with inside(recorded) as root:
            joined = await after_a_wait(is_async, held.commit)
            if way == "run":
                await query(waiter)
            elif way == "execute_query":
                await settle(driver.execute_query("RETURN 1"))
            else:
                await settle((await settle(waiter.begin_transaction())).commit())
            await settle(joined())
        await settle(holder.close())
        await settle(waiter.close())
    span = recorded.only("BEGIN" if way == "begin" else "RETURN")
    found = assert_span(span, root)
    assert_part(span, POOL_WAIT)
    assert (found["causal.pool.size"], found["causal.pool.waiting"]) == (1, 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["run", "begin", "verify_connectivity"])
async def test_connect(recorded: Recording, stub: BoltStub, is_async: bool, way: str) -> None:
    """A listener that accepts late makes connecting long."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started: list[SlowServer] = []
        timer = threading.Timer(HELD, lambda: started.append(SlowServer(listener, ("127.0.0.1", stub.port))))
        url = f"bolt://127.0.0.1:{listener.getsockname()[1]}"
        async with connected(is_async, url) as driver:
            session = driver.session()
            with inside(recorded) as root:
                timer.start()
                if way == "run":
                    await query(session)
                elif way == "begin":
                    await settle((await settle(session.begin_transaction())).commit())
                else:
                    await settle(driver.verify_connectivity())
            await settle(session.close())
        timer.join()
        started[0].close()
    span = recorded.only({"run": "RETURN", "begin": "BEGIN", "verify_connectivity": "CONNECT"}[way])
    assert_span(span, root)
    assert_part(span, "causal.connect")


async def _first_query(recorded: Recording, is_async: bool, part: str, url: str, **config: Any) -> None:
    """The first query of a driver connects, and that part of it is what took long."""
    async with connected(is_async, url, **config) as driver:
        session = driver.session()
        with inside(recorded) as root:
            await query(session)
        await settle(session.close())
    span = recorded.only("RETURN")
    assert_span(span, root)
    assert_part(span, part)


@pytest.mark.asyncio
async def test_dns(recorded: Recording, stub: BoltStub, is_async: bool) -> None:
    """A resolver that is slow is the part of connecting in which a name is looked up."""

    async def resolve_late(address: Any) -> list[tuple[str, int]]:
        await asyncio.sleep(WAIT)
        return [("127.0.0.1", stub.port)]

    def resolve(address: Any) -> Any:
        time.sleep(WAIT)
        return [("127.0.0.1", stub.port)]

    resolver = resolve_late if is_async else resolve
    await _first_query(recorded, is_async, "causal.connect.dns", "bolt://graph.test:1", resolver=resolver)


@pytest.mark.asyncio
async def test_tls(recorded: Recording, stub: BoltStub, is_async: bool) -> None:
    """A handshake of TLS that is slow is a part of connecting, beside TCP and the login."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with slow("127.0.0.1", stub.port, context, WAIT) as secured:
        await _first_query(recorded, is_async, "causal.connect.tls", f"bolt+ssc://127.0.0.1:{secured.port}")


@pytest.mark.asyncio
async def test_discovery(recorded: Recording, stub: BoltStub, is_async: bool) -> None:
    """A routing table that is late is a part of its own, without connecting to who gives it."""
    stub.delays["ROUTE"] = WAIT
    async with connected(is_async, f"neo4j://127.0.0.1:{stub.port}") as driver:
        session = driver.session(database="neo4j")
        with inside(recorded) as root:
            await query(session)
        await settle(session.close())
    span = recorded.only("RETURN")
    assert_span(span, root)
    assert_part(span, "causal.discovery")


@pytest.mark.asyncio
@neo4j_only
async def test_lock(recorded: Recording, graph: Graph) -> None:
    """A lock that another transaction holds is the server's time: it says itself how long it took."""
    holder, waiter = graph.session(), graph.session()
    await query(holder, "MERGE (:Planted {name: 'lock'})")
    text = "MATCH (n:Planted {name: 'lock'}) SET n.held = true"
    held = await settle(holder.begin_transaction())
    await query(held, text)
    await query(waiter)  # so that it has a connection
    with inside(recorded) as root:
        joined = await after_a_wait(graph.is_async, held.commit)
        await query(waiter, text)
        await settle(joined())
    await settle(holder.close())
    await settle(waiter.close())
    span = recorded.only("MATCH Planted SET")
    assert_span(span, root)
    assert_part(span, "causal.server")


@pytest.mark.asyncio
async def test_slow_rows(recorded: Recording, stub: BoltStub, is_async: bool) -> None:
    """Records that are late are fetched long, and what the server says that it took for them is the server's."""
    stub.records = 3
    stub.delays["RECORD"] = WAIT / 3
    async with warm(is_async, stub) as driver:
        session = driver.session()
        with inside(recorded) as root:
            await query(session)
            stub.answers["PULL"] = {"t_last": int(WAIT * 1000)}
            await query(session, "RETURN 2 AS two")
        await settle(session.close())
    first, second = [span for span in recorded.spans if span.name == "RETURN"]
    assert assert_span(first, root)["db.response.returned_rows"] == 3
    assert_part(first, "causal.fetch")
    assert_span(second, root)
    assert_part(second, "causal.server")


@pytest.mark.asyncio
async def test_slow_consumer(recorded: Recording, stub: BoltStub, is_async: bool) -> None:
    """An application that takes its time with the records is in no part, though the server counts that too."""
    stub.records = 3
    stub.answers["PULL"] = {"t_last": int(WAIT * 1000)}
    async with warm(is_async, stub) as driver:
        session = driver.session()
        with inside(recorded) as root:
            result = await settle(session.run("RETURN 1"))
            for _ in range(3):
                await settle(anext(result) if is_async else next(result))
                busy(WAIT / 3)
            await settle(result.consume())
        await settle(session.close())
    span = recorded.only("RETURN")
    assert assert_span(span, root)["db.response.returned_rows"] == 3
    assert_no_part(span)


@pytest.mark.asyncio
@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("way", ["explicit", "managed"])
async def test_ending_that_lingers(recorded: Recording, stub: BoltStub, is_async: bool, ending: str, way: str) -> None:
    """A ``COMMIT`` or ``ROLLBACK`` that lingers is a span, whose time is the server's."""
    stub.delays[ending] = WAIT

    async def work(transaction: Any) -> None:
        if ending == "ROLLBACK":
            raise ValueError

    def sync_work(transaction: Any) -> None:
        if ending == "ROLLBACK":
            raise ValueError

    async with warm(is_async, stub) as driver:
        session = driver.session()
        with inside(recorded) as root:
            if way == "explicit":
                transaction = await settle(session.begin_transaction())
                await settle(getattr(transaction, ending.lower())())
            else:
                try:
                    await settle(session.execute_write(work if is_async else sync_work))
                except ValueError:
                    assert ending == "ROLLBACK"
        await settle(session.close())
    span = recorded.only(ending)
    assert_span(span, root if way == "explicit" else recorded.only("neo4j.execute_write"))
    assert_part(span, "causal.server")


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["execute_write", "execute_query"])
async def test_retry(recorded: Recording, stub: BoltStub, is_async: bool, way: str) -> None:
    """The pause between two attempts is a part of the whole."""
    attempts = 0

    def fail_once() -> None:
        nonlocal attempts
        attempts += 1
        stub.failures.clear()
        if attempts == 1:
            raise TransientError("not yet")

    async def work(transaction: Any) -> None:
        fail_once()

    config = {"initial_retry_delay": WAIT, "retry_delay_jitter_factor": 0.0}
    async with warm(is_async, stub) as driver:
        session = driver.session(**config)
        with inside(recorded) as root:
            if way == "execute_write":
                await settle(session.execute_write(work if is_async else lambda transaction: fail_once()))
            else:
                transformer = work if is_async else lambda result: fail_once()
                await settle(driver.execute_query("RETURN 1", result_transformer_=transformer))
        await settle(session.close())
    span = recorded.only("neo4j.execute_write" if way == "execute_write" else "RETURN")
    assert assert_span(span, root)["causal.attempts"] == 2
    assert_part(span, "causal.retry.wait")
