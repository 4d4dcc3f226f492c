"""neo4j, both of its drivers, on real servers: a query is one span, however it is given, in ``execute_query`` too."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import neo4j
import pytest
from neo4j.exceptions import Neo4jError, ServiceUnavailable
from opentelemetry.trace import SpanKind

from causal_otel.patches.neo4j import Neo4jOptions
from tests.patches.either import settle
from tests.patches.graphs import PARTS, Graph, children, inside, neo4j_only
from tests.recording import recording
from tests.span_relations import assert_span, attributes, seconds

if TYPE_CHECKING:
    from tests.recording import Recording

PATCHES = {"neo4j": Neo4jOptions(require_parent=True)}


SECRET = "p4ssw0rd-planted"


@pytest.mark.asyncio
async def test_attributes(recorded: Recording, graph: Graph, session: Any) -> None:
    """A query's span has the database attributes, what the server says of it, parts of its time, and nothing else."""
    with inside(recorded) as root:
        result = await settle(session.run("MATCH (p:Person {name: $name, x: 'lit'}) RETURN p LIMIT 5", name="Ann"))
        await settle(result.consume())
        (span,) = children(recorded, root)
    found = assert_span(span, root)
    host, _, port = graph.server.url.partition("://")[2].partition(":")
    assert sum(found.get(key, 0) for key in ("causal.fetch", "causal.server", "causal.pool.wait")) <= seconds(span)
    found = {key: value for key, value in found.items() if key not in (*PARTS, "causal.neo4j.notifications")}
    assert found == {
        "causal.neo4j.query_type": "r",
        "db.response.returned_rows": 0,
        "db.system.name": "neo4j",
        "db.namespace": graph.server.database,
        "db.query.text": "MATCH (p:Person {name: $name, x: ?}) RETURN p LIMIT ?",
        "db.query.summary": "MATCH Person",
        "server.address": host,
        "server.port": int(port),
    }
    assert (span.name, span.kind) == ("MATCH Person", SpanKind.CLIENT)


def test_constant_attributes() -> None:
    """The default port is left out, IPv6 addresses are read as well, and a database that nobody has named."""

    def told(url: str, database: str | None = None) -> dict[str, Any]:
        """The attributes of a query that does not reach its server."""
        with recording(["neo4j"]) as recorded, inside(recorded) as root:
            with (
                neo4j.GraphDatabase.driver(url, auth=("a", "b")) as driver,
                driver.session(database=database) as session,
                pytest.raises(ServiceUnavailable),
            ):
                session.run("RETURN 1")
            found = assert_span(recorded.only("RETURN"), root, error="neo4j.exceptions.ServiceUnavailable")
        return {key: found[key] for key in ("db.namespace", "server.address", "server.port") if key in found}

    assert told("bolt://127.0.0.2", "shop") == {"db.namespace": "shop", "server.address": "127.0.0.2"}
    assert told("bolt://[::1]:1") == {"server.address": "::1", "server.port": 1}


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["single", "peek"])
async def test_one_record(recorded: Recording, graph: Graph, session: Any, method: str) -> None:
    """A single record ends the span; a glimpse of it does not, before the session closes."""
    with inside(recorded) as root:
        result = await settle(session.run("RETURN 1 AS n"))
        record = await settle(getattr(result, method)())
        assert record["n"] == 1
        assert recorded.names() == (["RETURN"] if method == "single" else [])
        await settle(session.close())
        assert_span(recorded.only("RETURN"), root)


@pytest.mark.asyncio
async def test_ways_to_give_a_query(recorded: Recording, graph: Graph, session: Any) -> None:
    """A query is known by position or by name, and as a Query object."""
    query = neo4j.Query("RETURN $x AS x", timeout=30, metadata={"a": "b"})
    with inside(recorded) as root:
        results = [
            await settle(session.run("RETURN $x AS x", {"x": 7})),
            await settle(session.run("RETURN $x AS x", x=7)),
            await settle(session.run(query="RETURN $x AS x", parameters={"x": 7})),
            await settle(session.run(query, x=7)),
        ]
        assert [await settle(result.value()) for result in results] == [[7]] * 4
        eager = [
            await settle(graph.driver.execute_query("RETURN $query AS x", query=7, database_=graph.server.database)),
            await settle(graph.driver.execute_query(query_=query, parameters_={"x": 7}, database_="neo4j")),
            await settle(graph.driver.execute_query("RETURN $x AS x", {"x": 7}, "r", graph.server.database)),
        ]
        assert [result.records[0]["x"] for result in eager] == [7] * 3
    texts = {assert_span(span, root)["db.query.text"] for span in recorded.spans[:-1]}
    assert texts == {"RETURN $x AS x", "RETURN $query AS x"}
    assert len(recorded.spans) == 8


@pytest.mark.asyncio
@pytest.mark.parametrize("query", [5, "", None])
async def test_no_query_at_all(recorded: Recording, session: Any, query: Any) -> None:
    """What the driver refuses, it refuses as without us."""
    with inside(recorded), pytest.raises((TypeError, ValueError)):
        await settle(session.run(query))


@pytest.mark.asyncio
async def test_execute_query(recorded: Recording, graph: Graph) -> None:
    """``execute_query`` is one span, from the session it opens to the last record."""
    with inside(recorded) as root:
        eager = await settle(graph.driver.execute_query("MATCH (p:Person) RETURN p", database_=graph.server.database))
        (span,) = children(recorded, root)
    assert eager.records
    assert recorded.names() == ["MATCH Person", "root"]
    assert span.kind is SpanKind.CLIENT
    found = assert_span(span, root)
    assert found["db.namespace"] == graph.server.database
    assert found["db.query.text"] == "MATCH (p:Person) RETURN p"
    assert found["causal.attempts"] == 1


@pytest.mark.asyncio
@neo4j_only
async def test_home_database(recorded: Recording, graph: Graph) -> None:
    """The database that the server chooses is in the span all the same."""
    session = graph.session(database=None)
    with inside(recorded) as root:
        await settle(graph.driver.execute_query("RETURN 1"))
        await settle((await settle(session.run("RETURN 2"))).consume())
    await settle(session.close())
    *queries, _ = recorded.spans
    assert [assert_span(span, root)["db.namespace"] for span in queries] == ["neo4j", "neo4j"]


@pytest.mark.asyncio
@pytest.mark.parametrize(("query", "database"), [("MATCH", None), ("RETURN 1", "missing")])
async def test_execute_query_that_fails(recorded: Recording, graph: Graph, query: str, database: str | None) -> None:
    """Whatever fails inside ``execute_query``, its span is the one that says so."""
    with inside(recorded) as root, pytest.raises(Neo4jError) as caught:
        await settle(graph.driver.execute_query(query, database_=database or graph.server.database))
    span, _ = recorded.spans
    assert_span(span, root, error=caught.value.code)


@pytest.mark.asyncio
async def test_queries_of_a_transformer(recorded: Recording, graph: Graph) -> None:
    """What a result transformer asks on its own, in whatever way, has spans of its own."""

    async def transform(result: Any) -> Any:
        session = graph.session()
        await settle((await settle(session.run("RETURN 1 AS autocommit"))).consume())
        transaction = await settle(session.begin_transaction())
        await settle((await settle(transaction.run("RETURN 1 AS transaction"))).consume())
        await settle(transaction.commit())
        await settle(session.execute_read(graph.work(query)))
        await settle(graph.driver.execute_query("RETURN 1 AS nested", database_=graph.server.database))
        await settle(session.close())
        return await settle(result.value())

    async def query(transaction: Any) -> None:
        await settle((await settle(transaction.run("RETURN 1 AS managed"))).consume())

    with inside(recorded) as root:
        values = await settle(
            graph.driver.execute_query(
                "RETURN 1 AS outer", database_=graph.server.database, result_transformer_=graph.work(transform)
            )
        )
    assert values == [1]
    *spans, _ = recorded.spans
    texts = [attributes(span).get("db.query.text", span.name).removeprefix("RETURN ? AS ") for span in spans]
    assert texts == ["autocommit", "transaction", "managed", "neo4j.execute_read", "nested", "outer"]
    outer = spans[-1]
    assert_span(outer, root)
    for span, text in zip(spans[:-1], texts[:-1], strict=True):
        assert_span(span, spans[3] if text == "managed" else root)


@pytest.mark.asyncio
async def test_no_secrets(recorded: Recording, graph: Graph, session: Any) -> None:
    """Neither literals nor parameters, metadata, passwords or messages of errors are in any span."""
    queries = [
        f"RETURN '{SECRET}' AS x // {SECRET}",
        f'MATCH (n {{x: "{SECRET}"}}) RETURN n',
        f"MATCH (n:Person) WHERE n.x = '{SECRET}' SET n.y = $y",
        f"RETURN '{SECRET}' / 2",
        f"RETURN toInteger('{SECRET}') + AS",
    ]
    with inside(recorded) as root:
        for query in queries:
            with contextlib.suppress(Neo4jError):
                await settle((await settle(session.run(query, y=SECRET))).consume())
            with contextlib.suppress(Neo4jError):
                await settle(
                    graph.driver.execute_query(
                        neo4j.Query(query, metadata={"x": SECRET}), y=SECRET, database_=graph.server.database
                    )
                )
    assert len(recorded.spans) == 11
    for span in recorded.spans[:-1]:
        assert_span(span, root, error=attributes(span).get("error.type"))
    for span in recorded.spans:
        assert SECRET not in span.to_json()
        assert graph.server.auth[1] not in span.to_json()
