"""What the patches of PostgreSQL's drivers have in common: names, attributes and errors, and the span of a cursor."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

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
from causal_otel.statements import sql

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CACHED", "ERRORS", "connection_attributes", "is_empty", "plumbing", "queries"]

_DEFAULT_PORT = 5432
CACHED = 1024
"""Statements; a program has few, unless it builds them, and then remembering them is no use."""


def _sqlstate(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or error_name(error)


ERRORS = Errors(_sqlstate, DB_RESPONSE_STATUS_CODE)
"""How errors are told: by the server's code, or the class."""


def connection_attributes(address: Any, database: str) -> dict[str, Any]:
    """The attributes of all that is done there.

    Args:
        address: host and port, or the path of a Unix socket; None: it is not known.
        database: its name; empty: it is not known.
    """
    attributes: dict[str, Any] = {DB_SYSTEM_NAME: "postgresql"}
    if database:
        attributes[DB_NAMESPACE] = database
    if isinstance(address, str):  # a Unix socket
        attributes[SERVER_ADDRESS] = address
    elif address is not None:
        attributes[SERVER_ADDRESS] = address[0]
        if address[1] != _DEFAULT_PORT:
            attributes[SERVER_PORT] = address[1]
    return attributes


def plumbing(operation: str, address: Any, database: str) -> Operation:
    """An operation that is no query: its name has the database in it, as the conventions ask if there is no summary."""
    attributes = {**connection_attributes(address, database), DB_OPERATION_NAME: operation}
    return Operation(f"{operation} {database}".rstrip(), attributes, plumbing=True, background=operation == "PING")


@functools.cache
def queries(*, text: bool) -> Callable[[Any, str, str], Operation]:
    """What a query is, by address, database and text, remembered.

    Args:
        text: whether ``db.query.text`` is recorded.
    """

    @functools.lru_cache(CACHED)
    def query_operation(address: Any, database: str, query: str) -> Operation:
        statement = sql.describe(query, sql.POSTGRESQL)
        attributes = connection_attributes(address, database)
        if text:
            attributes[DB_QUERY_TEXT] = statement.text
            if statement.truncated:
                attributes[CAUSAL_QUERY_TRUNCATED] = True
        if statement.summary:
            attributes[DB_QUERY_SUMMARY] = statement.summary
        return Operation(statement.summary or database or "postgresql", attributes)

    return query_operation


def is_empty(query: str) -> bool:
    """Whether there is nothing in a query, as in those by which pools try connections."""
    return not sql.describe(query, sql.POSTGRESQL).text.strip("; ")
