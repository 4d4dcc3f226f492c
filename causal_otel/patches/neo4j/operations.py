"""What an operation of Neo4j is, in the words of the conventions: where it goes, and the statement without values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from causal_otel.instrument.errors import Errors, error_name
from causal_otel.instrument.operation import Operation
from causal_otel.names import (
    CAUSAL_QUERY_TRUNCATED,
    DB_NAMESPACE,
    DB_OPERATION_NAME,
    DB_QUERY_SUMMARY,
    DB_QUERY_TEXT,
    DB_RESPONSE_STATUS_CODE,
    DB_SYSTEM_NAME,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.patches.neo4j.internals import Endpoint
from causal_otel.statements import cypher

__all__ = [
    "ERRORS",
    "connection_attributes",
    "plumbing",
    "query_operation",
]

_DEFAULT_PORT = 7687
_CACHED = 1024  # statements; a program has few, unless it builds them, and then remembering them is no use


def _code(error: BaseException) -> str:
    from neo4j.exceptions import Neo4jError

    found = error.code if isinstance(error, Neo4jError) else None
    return found if isinstance(found, str) else error_name(error)


ERRORS = Errors(_code, DB_RESPONSE_STATUS_CODE)
"""How errors are told: by the Neo4j code, or the class."""


def connection_attributes(address: Any, database: Any) -> dict[str, Any]:
    """The attributes of everything that goes there."""
    attributes: dict[str, Any] = {DB_SYSTEM_NAME: "neo4j"}
    if isinstance(database, str):
        attributes[DB_NAMESPACE] = database
    if isinstance(address, tuple):  # host and port, and two numbers more if IPv6
        attributes[SERVER_ADDRESS] = address[0]
        if address[1] != _DEFAULT_PORT:
            attributes[SERVER_PORT] = address[1]
    return attributes


@functools.lru_cache(_CACHED)
def query_operation(address: Any, database: Any, query: str, truncated: bool = False, text: bool = True) -> Operation:
    """What a query is.

    Args:
        address: see :data:`~causal_otel.patches.neo4j.internals.Endpoint`.
        database: likewise.
        query: the statement, or the beginning of one.
        truncated: whether it is the beginning of a longer one.
        text: whether its text is recorded.
    """
    statement = cypher.describe(query)
    attributes = connection_attributes(address, database)
    if statement.text and text:
        attributes[DB_QUERY_TEXT] = statement.text
        if truncated:
            attributes[CAUSAL_QUERY_TRUNCATED] = True
    if statement.summary:
        attributes[DB_QUERY_SUMMARY] = statement.summary
    return Operation(statement.summary or attributes.get(DB_NAMESPACE) or "neo4j", attributes)


def plumbing(operation: str, endpoint: Callable[[Any], Endpoint], instance: Any) -> Operation:
    """What is a span only if it fails or is slow."""
    attributes = {**connection_attributes(*endpoint(instance)), DB_OPERATION_NAME: operation}
    return Operation(" ".join(filter(None, (operation, attributes.get(DB_NAMESPACE)))), attributes, plumbing=True)
