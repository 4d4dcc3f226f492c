"""What a span talks to, in the words of people: ``PostgreSQL``, ``api.example.com``, ``the queue celery``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.names import (
    CELERY_TASK_NAME,
    DB_OPERATION_NAME,
    DB_SYSTEM_NAME,
    MESSAGING_DESTINATION_NAME,
    SERVER_ADDRESS,
    TASKIQ_TASK_NAME,
)

if TYPE_CHECKING:
    from causal_otel.causality.spans import CallSpan, Span

__all__ = [
    "a_connection_to",
    "is_database",
    "is_http",
    "named",
    "queue",
    "system_name",
    "target",
    "task_name",
]

_LONGEST, _MOST_BYTES = 60, 120
"""Characters, and bytes in UTF-8, of a name in a text: what is longer is cut."""

_HTTP = "http"
_NAMES = {
    "cassandra": "Cassandra",
    "clickhouse": "ClickHouse",
    "cockroachdb": "CockroachDB",
    "dynamodb": "DynamoDB",
    "elasticsearch": "Elasticsearch",
    "kafka": "Kafka",
    "mariadb": "MariaDB",
    "memcached": "Memcached",
    "microsoft.sql_server": "SQL Server",
    "mongodb": "MongoDB",
    "mssql": "SQL Server",
    "mysql": "MySQL",
    "neo4j": "Neo4j",
    "opensearch": "OpenSearch",
    "oracle": "Oracle",
    "oracle.db": "Oracle",
    "postgresql": "PostgreSQL",
    "rabbitmq": "RabbitMQ",
    "redis": "Redis",
    "sqlite": "SQLite",
    "valkey": "Valkey",
}
"""Systems as they call themselves."""


def target(span: Span) -> str:
    """What a client's span talks to: a database, a host, or else whatever the span is called."""
    if is_http(span):
        return system_name(span.system) or "an HTTP server"
    return system_name(span.system) or named(str(span.attributes.get(SERVER_ADDRESS) or span.name))


def system_name(system: str) -> str:
    """What a span's system is called: ``PostgreSQL``, or of an HTTP client's the host; empty for HTTP itself."""
    name, _, host = system.partition(" ")
    return named(host) if name == _HTTP else _NAMES.get(system) or named(system)


def is_http(span: Span) -> bool:
    """Whether it speaks HTTP to somebody."""
    return span.system.partition(" ")[0] == _HTTP


def is_database(span: CallSpan) -> bool:
    """Whether it talks to a database."""
    attributes = span.attributes
    return DB_SYSTEM_NAME in attributes or DB_OPERATION_NAME in attributes or span.system in _NAMES


def a_connection_to(span: Span) -> str:
    """Such as ``a PostgreSQL connection``; where the target has the name of a host, ``a connection to it``."""
    name = target(span)
    if not is_database(span):
        return f"a connection to {name}"
    return f"{'an' if name[:1] in 'AEIO' else 'a'} {name} connection"


def queue(span: Span) -> str:
    """Such as ``the queue celery``; without a name it is just ``the queue``."""
    name = span.attributes.get(MESSAGING_DESTINATION_NAME)
    return f"the queue {named(str(name))}" if name else "the queue"


def task_name(span: Span) -> str:
    """The name of the task of Celery or taskiq that it sends or executes; else the span's."""
    return named(str(span.attributes.get(CELERY_TASK_NAME) or span.attributes.get(TASKIQ_TASK_NAME) or span.name))


def named(text: str) -> str:
    """A name for a text: harmless, and not too long."""
    name = printable(text, _LONGEST)
    if len(name) * 4 <= _MOST_BYTES or len(encoded := name.encode()) <= _MOST_BYTES:
        return name
    return encoded[: _MOST_BYTES - 3].decode(errors="ignore") + "…"
