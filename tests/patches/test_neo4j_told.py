"""What the server says of a query is on its span, and what the options say is told to the server or recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import neo4j
import pytest

from causal_otel.patches.neo4j import Neo4jOptions
from tests.patches.either import settle
from tests.patches.graphs import ROWS, Graph, inside, neo4j_only
from tests.patches.stubs import query, warm
from tests.recording import recording
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from tests.recording import Recording
    from tests.services.bolt_stub import BoltStub

PATCHES = {"neo4j": Neo4jOptions(require_parent=True)}
SECRET = "p4ssw0rd-planted"
TOLD = "SHOW TRANSACTIONS YIELD metaData AS m WHERE m.mark = 'told' RETURN m"


def told_by_server(span: Any) -> dict[str, Any]:
    """What is on a span of ours alone, but for parts of its time."""
    return {
        key.removeprefix("causal.neo4j."): value
        for key, value in attributes(span).items()
        if key.startswith("causal.neo4j.")
    }


@pytest.mark.asyncio
@neo4j_only
async def test_counters(recorded: Recording, graph: Graph, session: Any) -> None:
    """What a query has changed is on its span, as is of what type it was, and nothing that is zero."""
    with inside(recorded) as root:
        await query(session, "CREATE (:A {x: 1})-[:R]->(:A:B {y: 2})")
        await query(session, "MATCH (a:A) DETACH DELETE a")
        await settle(graph.driver.execute_query("RETURN 1", database_=graph.server.database))
    created, deleted, read, _ = recorded.spans
    for span in (created, deleted, read):
        assert_span(span, root)
    assert told_by_server(created) == {
        "query_type": "w",
        "nodes_created": 2,
        "relationships_created": 1,
        "properties_set": 2,
        "labels_added": 3,
    }
    assert told_by_server(deleted) == {"query_type": "w", "nodes_deleted": 2, "relationships_deleted": 1}
    assert told_by_server(read) == {"query_type": "r"}
    assert attributes(read)["db.response.returned_rows"] == 1


@pytest.mark.asyncio
@neo4j_only
async def test_notifications(recorded: Recording, graph: Graph) -> None:
    """The codes of what the server finds odd are on the span, without its words, which repeat the query's."""
    factory: Any = neo4j.AsyncGraphDatabase if graph.is_async else neo4j.GraphDatabase
    driver = factory.driver(graph.server.url, auth=graph.server.auth)
    session = driver.session(database=graph.server.database)
    with inside(recorded) as root:
        await query(session, f"MATCH (n:Unknown{SECRET.replace('-', '')}) RETURN n.unknown")
    await settle(session.close())
    await settle(driver.close())
    span = recorded.spans[0]
    assert_span(span, root)
    codes = told_by_server(span)["notifications"]
    assert "Neo.ClientNotification.Statement.UnknownLabelWarning" in codes
    assert all(code.startswith("Neo.ClientNotification.") for code in codes)


@pytest.mark.asyncio
async def test_statuses_and_what_is_none(recorded: Recording, stub: BoltStub, is_async: bool) -> None:
    """Statuses that are no notifications are none, and what a server says amiss is left out."""
    answers: list[dict[str, Any]] = [
        {"statuses": [{"gql_status": "00000"}]},
        {"statuses": [{"gql_status": "01N50", "neo4j_code": "Neo.A"}, {"gql_status": "02000"}]},
        {"notifications": [{"code": "Neo.A"}, {"code": "Neo.A"}, {"code": "Neo.B"}]},
        {"stats": {"nodes-created": 0, "contains-updates": 1}, "t_first": "soon"},
    ]
    async with warm(is_async, stub, notifications_min_severity="OFF") as driver:
        session = driver.session()
        with inside(recorded) as root:
            for answer in answers:
                stub.answers["PULL"] = answer
                await query(session)
        await settle(session.close())
    *spans, _ = recorded.spans
    for span in spans:
        assert_span(span, root)
    told = [told_by_server(span).get("notifications") for span in spans]
    assert told == [None, ("Neo.A",), ("Neo.A", "Neo.B"), None]
    assert told_by_server(spans[-1]) == {"query_type": "r"}


@pytest.mark.asyncio
async def test_rows(recorded: Recording, graph: Graph, session: Any) -> None:
    """The records that have come are counted, but for those that come while another query is sent."""
    with inside(recorded) as root:
        await graph.records(await settle(session.run(ROWS)))
        await settle((await settle(session.run("RETURN 1 AS n"))).single())
        transaction = await settle(session.begin_transaction())
        first = await settle(transaction.run(ROWS))
        await graph.records(await settle(transaction.run(ROWS)))
        await graph.records(first)
        await settle(transaction.commit())
    *spans, _ = recorded.spans
    for span in spans:
        assert_span(span, root)
    rows = sorted(attributes(span).get("db.response.returned_rows", -1) for span in spans)
    assert rows == [-1, 1, 50, 50]


@pytest.mark.asyncio
@neo4j_only
async def test_traceparent(graph: Graph) -> None:
    """The server is told the trace in the metadata of each transaction, beside yours, which goes first."""
    told: list[str | None] = []

    async def work(transaction: Any) -> None:
        (metadata,) = await settle((await settle(transaction.run(TOLD))).value())
        told.append(metadata.get("traceparent"))

    mine = {"mark": "told"}
    with recording({"neo4j": Neo4jOptions(traceparent=True)}) as recorded:
        session = graph.session()
        with inside(recorded) as root:
            for metadata in (mine, {**mine, "traceparent": "mine"}):
                result = await settle(session.run(neo4j.Query(TOLD, metadata=metadata)))
                told += [found.get("traceparent") for found in await settle(result.value())]
            result = await settle(session.run(query=neo4j.Query(TOLD, metadata=mine)))
            told += [found.get("traceparent") for found in await settle(result.value())]
            transaction = await settle(session.begin_transaction(metadata=mine))
            await work(transaction)
            await settle(transaction.commit())
            await settle(session.execute_read(neo4j.unit_of_work(metadata=mine)(graph.work(work))))
            eager = await settle(
                graph.driver.execute_query(neo4j.Query(TOLD, metadata=mine), database_=graph.server.database)
            )
            told += [found["m"].get("traceparent") for found in eager.records]
        await settle(session.close())
        first, _, named, _, _, managed, executed, _ = recorded.spans
        expected = [first, None, named, root, managed, executed]
    for found, span in zip(told, expected, strict=True):
        if span is None:
            assert found == "mine"
        else:
            context = span.get_span_context()
            assert found is not None
            assert found.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-0")


@pytest.mark.asyncio
async def test_parameters(stub: BoltStub, is_async: bool) -> None:
    """Parameters are recorded where the option says so, cut, however they are given; and never else."""
    with recording({"neo4j": Neo4jOptions(parameters=True)}) as recorded, inside(recorded):
        async with warm(is_async, stub) as driver:
            session = driver.session()
            await query(session, "RETURN $name", name="Ann")
            await settle((await settle(session.run("RETURN $name", {"name": "Bo"}, size=[1, 2]))).consume())
            transaction = await settle(session.begin_transaction())
            await query(transaction, "RETURN $name", name="x" * 300)
            await settle(transaction.commit())
            await settle(driver.execute_query("RETURN $name", {"name": "Cy"}, size=3, database_="neo4j"))
            await settle(session.close())
        told = [
            {key: value for key, value in attributes(span).items() if key.startswith("db.query.parameter.")}
            for span in recorded.spans
            if span.name == "RETURN"
        ]
    name, size = "db.query.parameter.name", "db.query.parameter.size"
    assert told == [{name: "Ann"}, {name: "Bo", size: "[1, 2]"}, {name: "x" * 256}, {name: "Cy", size: "3"}]


@pytest.mark.asyncio
async def test_texts(stub: BoltStub, is_async: bool) -> None:
    """Texts are left out where the option says so, and one that is cut says so."""
    long = "RETURN 1 AS " + "n" * 9000
    for option in (True, False):
        with recording({"neo4j": Neo4jOptions(query_text=option)}) as recorded, inside(recorded):
            async with warm(is_async, stub) as driver:
                session = driver.session()
                await query(session, "MATCH (n:Person) RETURN n")
                await query(session, long)
                await settle(session.close())
            short, cut = (attributes(span) for span in recorded.spans)
        assert short["db.query.summary"] == "MATCH Person"
        assert ("db.query.text" in short) is ("db.query.text" in cut) is option
        assert cut.get("causal.query.truncated", False) is option
        assert "causal.query.truncated" not in short
