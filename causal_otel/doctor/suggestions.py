"""What to do about a library that nothing traces."""

from __future__ import annotations

__all__ = ["suggestion"]

_CONTRIB = {
    "aio_pika": "aio-pika",
    "aiohttp": "aiohttp-client",
    "aiokafka": "aiokafka",
    "aiomysql": "aiomysql",
    "aiosqlite": "sqlite3",
    "boto3": "botocore",
    "botocore": "botocore",
    "cassandra": "cassandra",
    "confluent_kafka": "confluent-kafka",
    "kafka": "kafka-python",
    "MySQLdb": "mysqlclient",
    "pika": "pika",
    "psycopg": "psycopg",
    "psycopg2": "psycopg2",
    "pymongo": "pymongo",
    "pymysql": "pymysql",
    "tornado": "tornado",
}
"""Modules, and the ends of the names of OpenTelemetry's distributions that trace them."""


def suggestion(module: str) -> str:
    """Lines to paste: what to install, and what to call; or a span around the calls, where nothing else is to be had.

    Args:
        module: the name by which the library is imported.
    """
    name = _CONTRIB.get(module)
    if name is None:
        return f'with causal_otel.span("{module}"):  # around its calls\n    ...'
    return f"pip install opentelemetry-instrumentation-{name}\nopentelemetry-instrument COMMAND"
