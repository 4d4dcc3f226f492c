"""What fails in neo4j is one failed span, with the server's code where a server has said it."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import neo4j
import pytest
from neo4j.exceptions import ClientError, Neo4jError, ServiceUnavailable, TransactionError
from opentelemetry.trace import SpanKind

from causal_otel.patches.neo4j import Neo4jOptions
from tests.faults.scripted import refused_port
from tests.patches.either import settle
from tests.patches.graphs import PARTS, ROWS, Graph, children, inside, neo4j_only
from tests.span_relations import assert_span, seconds

if TYPE_CHECKING:
    from tests.recording import Recording

PATCHES = {"neo4j": Neo4jOptions(require_parent=True)}
SECRET = "p4ssw0rd-planted"


@pytest.mark.asyncio
async def test_refused_query(recorded: Recording, graph: Graph, session: Any) -> None:
    """A query that the server refuses is an error with the Neo4j code, and without its message."""
    with inside(recorded) as root, pytest.raises(ClientError) as caught:
        await settle(session.run(f"RETURN '{SECRET}' +"))
    span = recorded.spans[0]
    found = assert_span(span, root, error="Neo.ClientError.Statement.SyntaxError")
    assert found["db.response.status_code"] == found["error.type"] == caught.value.code
    assert SECRET not in span.to_json()


@pytest.mark.asyncio
@neo4j_only
@pytest.mark.parametrize("transaction", [False, True], ids=["autocommit", "transaction"])
async def test_failure_in_mid_stream(recorded: Recording, graph: Graph, session: Any, transaction: bool) -> None:
    """A result that fails half-way ends its span then, as an error with the Neo4j code."""
    with inside(recorded) as root:
        runner = await settle(session.begin_transaction()) if transaction else session
        result = await settle(runner.run("UNWIND range(1, 100) AS n RETURN 1 / (50 - n) AS x"))
        assert len(await settle(result.fetch(20))) == 20
        assert not recorded.spans
        with pytest.raises(ClientError) as caught:
            await settle(result.value())
        found = assert_span(recorded.only("UNWIND"), root, error="Neo.ClientError.Statement.ArithmeticError")
    assert found["error.type"] == caught.value.code


@pytest.mark.asyncio
async def test_failure_ends_the_other_results(recorded: Recording, graph: Graph, session: Any) -> None:
    """A failure in a transaction ends its other unfinished results, as the same error, and those only."""
    with inside(recorded) as root:
        transaction = await settle(session.begin_transaction())
        whole = await settle(transaction.run("RETURN 1 AS n"))
        await settle(whole.consume())
        rest = await settle(transaction.run(ROWS))
        with pytest.raises(Neo4jError) as caught:
            await settle(transaction.run("MATCH"))
        await settle(transaction.close())
        with pytest.raises(neo4j.exceptions.ResultFailedError):
            await settle(rest.value())
    *queries, _ = recorded.spans
    for span, error in zip(queries, (None, caught.value.code, caught.value.code), strict=True):
        assert_span(span, root, error=error)


@pytest.mark.asyncio
async def test_no_server(recorded: Recording, graph: Graph) -> None:
    """Without a code from a server the error is named by its class."""
    factory: Any = neo4j.AsyncGraphDatabase if graph.is_async else neo4j.GraphDatabase
    driver = factory.driver("bolt://127.0.0.1:1", auth=("a", "b"))
    session = driver.session()
    with inside(recorded) as root, pytest.raises(ServiceUnavailable):
        await settle(session.run("RETURN 1"))
    await settle(session.close())
    await settle(driver.close())
    found = assert_span(recorded.spans[0], root, error="neo4j.exceptions.ServiceUnavailable")
    assert "db.response.status_code" not in found


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["verify_connectivity", "get_server_info"])
async def test_driver_that_finds_no_server(recorded: Recording, graph: Graph, method: str) -> None:
    """A driver that is asked whether its server is there, and cannot reach it, has one span from the call on."""
    factory: Any = neo4j.AsyncGraphDatabase if graph.is_async else neo4j.GraphDatabase
    with refused_port() as port, inside(recorded) as root:
        driver = factory.driver(f"bolt://127.0.0.1:{port}", auth=("a", SECRET))
        began = perf_counter()
        with pytest.raises(ServiceUnavailable):
            await settle(getattr(driver, method)())
        elapsed = perf_counter() - began
        await settle(driver.close())
        (span,) = children(recorded, root)
    assert (span.name, span.kind) == ("CONNECT", SpanKind.CLIENT)
    found = assert_span(span, root, error="neo4j.exceptions.ServiceUnavailable", within=elapsed)
    assert {key: value for key, value in found.items() if key not in PARTS} == {
        "db.system.name": "neo4j",
        "db.operation.name": "CONNECT",
        "server.address": "127.0.0.1",
        "server.port": port,
        "error.type": "neo4j.exceptions.ServiceUnavailable",
    }
    assert seconds(span) > 0


@pytest.mark.asyncio
async def test_commit_that_fails(recorded: Recording, graph: Graph, session: Any) -> None:
    """A commit or rollback that fails has a span."""
    with inside(recorded) as root:
        transaction = await settle(session.begin_transaction())
        with pytest.raises(Neo4jError):
            await settle(transaction.run("MATCH"))
        recorded.clear()
        with pytest.raises(TransactionError):
            await settle(transaction.commit())
        await settle(transaction.close())
        with pytest.raises(TransactionError):
            await settle(transaction.rollback())
        commit, rollback = recorded.spans
    assert (commit.name, rollback.name) == (f"COMMIT {graph.server.database}", f"ROLLBACK {graph.server.database}")
    for span, operation in ((commit, "COMMIT"), (rollback, "ROLLBACK")):
        found = assert_span(span, root, error="neo4j.exceptions.TransactionError")
        assert found["db.operation.name"] == operation
        assert span.kind is SpanKind.CLIENT


@pytest.mark.asyncio
@neo4j_only
async def test_commit_that_the_server_refuses(recorded: Recording, graph: Graph, session: Any) -> None:
    """A transaction that the server has ended shows at its commit, with the server's code."""
    with inside(recorded) as root:
        transaction = await settle(session.begin_transaction(metadata={"mark": "doomed"}))
        await settle((await settle(transaction.run("CREATE (:Doomed)"))).consume())
        other = graph.session()
        ended = await settle(
            other.run(
                "SHOW TRANSACTIONS YIELD transactionId AS id, metaData AS m WHERE m.mark = 'doomed' "
                "TERMINATE TRANSACTIONS id YIELD message RETURN message"
            )
        )
        await settle(ended.consume())
        await settle(other.close())
        recorded.clear()
        with pytest.raises(Neo4jError) as caught:
            await settle(transaction.commit())
        span = recorded.only()
    assert_span(span, root, error=caught.value.code)
    assert span.name == "COMMIT neo4j"


@pytest.mark.asyncio
async def test_begin_that_fails(recorded: Recording, graph: Graph) -> None:
    """A transaction that cannot begin has a span, from the call on."""
    session = graph.session(database="missing")

    async def begin() -> None:
        transaction = await settle(session.begin_transaction())
        await settle(transaction.run("RETURN 1"))  # where the server says it only now

    with inside(recorded) as root, pytest.raises(Neo4jError) as caught:
        await begin()
    await settle(session.close())
    span = recorded.spans[0]
    found = assert_span(span, root, error=caught.value.code)
    assert found["db.namespace"] == "missing"
    if graph.server.is_neo4j:
        assert (span.name, found["db.operation.name"]) == ("BEGIN missing", "BEGIN")
