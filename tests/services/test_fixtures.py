"""The fixtures of the shared servers answer, and one from the environment is understood."""

from __future__ import annotations

import kombu
import neo4j
import pytest

from tests.services.asking import ask_postgres, ask_valkey
from tests.services.fixtures import GraphServer


@pytest.mark.asyncio
async def test_shared_fixtures_answer(postgres_url: str, redis_url: str, neo4j_server: GraphServer) -> None:
    """The session's servers answer, and the graph server is what it says it is."""
    await ask_postgres(postgres_url)
    await ask_valkey(redis_url)
    async with neo4j.AsyncGraphDatabase.driver(neo4j_server.url, auth=neo4j_server.auth) as driver:
        result = await driver.execute_query("RETURN 42", database_=neo4j_server.database)
        assert result.records[0].value() == 42
        assert (await driver.get_server_info()).agent.startswith("Neo4j/5.")
        assert (result.summary.database == neo4j_server.database) is neo4j_server.is_neo4j


@pytest.mark.long
def test_rabbitmq_answers(rabbitmq_url: str) -> None:
    """RabbitMQ takes a message and gives it back."""
    with kombu.Connection(rabbitmq_url) as connection, connection.SimpleQueue("tests.services") as queue:
        queue.put("42")
        message = queue.get(timeout=60)
        message.ack()
        assert message.payload == "42"


def test_graph_server_url_carries_credentials_and_database() -> None:
    """A URL from the environment gives up its percent-encoded credentials and its database."""
    server = GraphServer.from_url("neo4j://some%40one:p%2Fw@graph.test:7687/movies")
    assert server.url == "neo4j://graph.test:7687"
    assert server.auth == ("some@one", "p/w")
    assert (server.database, server.is_neo4j) == ("movies", True)
    assert GraphServer.from_url("bolt://neo4j:secret@localhost:7687").database == "neo4j"
