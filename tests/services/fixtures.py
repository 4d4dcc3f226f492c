"""Session fixtures: each server starts when the first test asks for it, or is the one an environment variable names.

CAUSAL_OTEL_TEST_POSTGRES, CAUSAL_OTEL_TEST_REDIS, CAUSAL_OTEL_TEST_NEO4J and CAUSAL_OTEL_TEST_RABBITMQ hold URLs of
servers to use instead; that of Neo4j takes user and password in the URL's userinfo and the database as its path.
CAUSAL_OTEL_TEST_KAFKA holds an address, ``host:port``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import pytest

from causal_otel.testing import servers
from tests.services import kafka as true_kafka
from tests.services import neo4j_server as true_neo4j
from tests.services import rabbitmq as debians_rabbitmq
from tests.services import received

__all__ = [
    "GraphServer",
    "kafka_address",
    "neo4j_server",
    "postgres_url",
    "rabbitmq_url",
    "receiver",
    "receiver_process",
    "redis_url",
]


@dataclass(frozen=True, kw_only=True)
class GraphServer:
    """A server for the neo4j driver. What only Neo4j does is asserted where ``is_neo4j``."""

    url: str
    auth: tuple[str, str]
    database: str
    name: str
    is_neo4j: bool

    @classmethod
    def from_url(cls, url: str) -> GraphServer:
        """The Neo4j that ``scheme://user:password@host:port/database`` names."""
        parts = urlsplit(url)
        return cls(
            url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
            auth=(unquote(parts.username or ""), unquote(parts.password or "")),
            database=parts.path.strip("/") or "neo4j",
            name="Neo4j",
            is_neo4j=True,
        )

    @classmethod
    def from_server(cls, server: servers.BoltServer) -> GraphServer:
        """One that we started."""
        return cls(
            url=server.url,
            auth=(server.user, server.password),
            database=server.database,
            name=server.name,
            is_neo4j=server.name == "Neo4j",
        )


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL database."""
    given = os.environ.get("CAUSAL_OTEL_TEST_POSTGRES")
    if given:
        yield given
        return
    with servers.postgres() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis or Valkey database."""
    given = os.environ.get("CAUSAL_OTEL_TEST_REDIS")
    if given:
        yield given
        return
    with servers.valkey() as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """The URL of a RabbitMQ. It starts in four idle seconds, so tests that use it are marked ``long``."""
    given = os.environ.get("CAUSAL_OTEL_TEST_RABBITMQ")
    if given:
        yield given
        return
    missing = debians_rabbitmq.missing()
    if missing:
        reason = f"no test against RabbitMQ: {missing}, and CAUSAL_OTEL_TEST_RABBITMQ names no server"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with debians_rabbitmq.rabbitmq() as url:
        yield url


@pytest.fixture(scope="session")
def kafka_address() -> Iterator[str]:
    """The address of an Apache Kafka. It starts in three idle seconds: most tests of it are marked ``long``."""
    given = os.environ.get("CAUSAL_OTEL_TEST_KAFKA")
    if given:
        yield given
        return
    missing = true_kafka.JARS.missing()
    if missing:
        reason = f"no test against Kafka: {missing}, and CAUSAL_OTEL_TEST_KAFKA names no broker"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with true_kafka.kafka() as address:
        yield address


@pytest.fixture(scope="session", params=["arcadedb", pytest.param("neo4j", marks=pytest.mark.long)])
def neo4j_server(request: pytest.FixtureRequest) -> Iterator[GraphServer]:
    """A graph database that speaks Bolt: ArcadeDB, then Neo4j, whose start takes long and which only CI insists on."""
    if request.param == "arcadedb":
        with servers.bolt() as server:
            yield GraphServer.from_server(server)
        return
    given = os.environ.get("CAUSAL_OTEL_TEST_NEO4J")
    if given:
        yield GraphServer.from_url(given)
        return
    missing = true_neo4j.missing()
    if missing:
        reason = f"no test against Neo4j itself: {missing}, and CAUSAL_OTEL_TEST_NEO4J names no server"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with true_neo4j.neo4j() as server:
        yield GraphServer.from_server(server)


@pytest.fixture(scope="session")
def receiver_process() -> Iterator[received.ReceivedSpans]:
    """An OTLP receiver in a process of its own, with what earlier tests sent: use ``receiver``."""
    with received.receiver() as spans:
        yield spans


@pytest.fixture
def receiver(receiver_process: received.ReceivedSpans) -> received.ReceivedSpans:
    """An OTLP receiver in a process of its own, empty when the test begins."""
    receiver_process.clear()
    return receiver_process
