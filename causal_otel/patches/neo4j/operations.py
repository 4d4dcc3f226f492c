"""What an operation of Neo4j is, in the words of the conventions: where it goes, and the statement without values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from causal_otel.instrument.operation import Operation
from causal_otel.names import (
    DB_NAMESPACE,
    DB_OPERATION_NAME,
    DB_QUERY_SUMMARY,
    DB_QUERY_TEXT,
    DB_SYSTEM_NAME,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.patches.neo4j.results import private
from causal_otel.statements import cypher

__all__ = [
    "Endpoint",
    "connection_attributes",
    "endpoint_of_driver",
    "endpoint_of_session",
    "endpoint_of_transaction",
    "plumbing",
    "query_operation",
]

_DEFAULT_PORT = 7687
_CACHED = 1024  # statements; a program has few, unless it builds them, and then remembering them is no use

Endpoint = tuple[Any, Any]
"""Address and database, either None where unknown."""


def endpoint_of_driver(driver: Any) -> Endpoint:
    return private(driver, "_pool", "address"), None


def endpoint_of_session(session: Any) -> Endpoint:
    return private(session, "_pool", "address"), private(session, "_config", "database")


def endpoint_of_transaction(transaction: Any) -> Endpoint:
    # Transactions have no attribute for their session; it is the object of the bound method in ``_on_closed``.
    return private(transaction, "_on_closed", "__self__", "_pool", "address"), private(transaction, "_database")


def connection_attributes(address: Any, database: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = {DB_SYSTEM_NAME: "neo4j"}
    if isinstance(database, str):
        attributes[DB_NAMESPACE] = database
    if isinstance(address, tuple):  # host and port, and two numbers more if IPv6
        attributes[SERVER_ADDRESS] = address[0]
        if address[1] != _DEFAULT_PORT:
            attributes[SERVER_PORT] = address[1]
    return attributes


@functools.lru_cache(_CACHED)
def query_operation(address: Any, database: Any, query: str) -> Operation:
    statement = cypher.describe(query)
    attributes = connection_attributes(address, database)
    if statement.text:
        attributes[DB_QUERY_TEXT] = statement.text
    if statement.summary:
        attributes[DB_QUERY_SUMMARY] = statement.summary
    return Operation(statement.summary or attributes.get(DB_NAMESPACE) or "neo4j", attributes)


def plumbing(operation: str, endpoint: Callable[[Any], Endpoint], instance: Any) -> Operation:
    """What is a span only if it fails."""
    attributes = {**connection_attributes(*endpoint(instance)), DB_OPERATION_NAME: operation}
    return Operation(" ".join(filter(None, (operation, attributes.get(DB_NAMESPACE)))), attributes, plumbing=True)
