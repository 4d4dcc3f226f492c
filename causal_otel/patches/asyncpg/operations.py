"""What is done in PostgreSQL, in the words of the conventions: names and attributes, from the driver's objects."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel.instrument.errors import Errors, error_name
from causal_otel.instrument.operation import Operation
from causal_otel.names import (
    CAUSAL_QUERY_TRUNCATED,
    DB_COLLECTION_NAME,
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

__all__ = [
    "ERRORS",
    "Queries",
    "connection_attributes",
    "copy_operation",
    "endpoint",
    "of_query",
    "plumbing",
    "queries",
]

_DEFAULT_PORT = 5432
_CACHED = 1024  # statements; a program has few, unless it builds them, and then remembering them is no use


def _sqlstate(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or error_name(error)


ERRORS = Errors(_sqlstate, DB_RESPONSE_STATUS_CODE)
"""How errors are told: by the server's code, or the class."""


def endpoint(connection: Any) -> tuple[Any, str]:
    """Address and database of a connection, from private attributes; unknown if a version has others."""
    try:
        return connection._addr, connection._params.database or ""
    except AttributeError:
        return None, ""


def connection_attributes(address: Any, database: str) -> dict[str, Any]:
    """The attributes of all that is done there."""
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


# What asyncpg.transaction.Transaction sends: one of these, with a semicolon at the end and nothing after it.
_TRANSACTION = re.compile(r"(BEGIN|COMMIT|SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO|ROLLBACK)\b[^;]*;")


class Queries(NamedTuple):
    """What queries are, by address, database and text, remembered.

    Attributes:
        query: of one that the user has written.
        sent: of one that may be the driver's own doing.
    """

    query: Callable[[Any, str, str], Operation]
    sent: Callable[[Any, str, str], Operation]


@functools.cache
def queries(*, text: bool) -> Queries:
    """See :class:`Queries`.

    Args:
        text: whether ``db.query.text`` is recorded.
    """

    @functools.lru_cache(_CACHED)
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

    @functools.lru_cache(_CACHED)
    def sent_operation(address: Any, database: str, query: str) -> Operation:
        if len(query) > sql.MAX_TEXT:  # nobody knows how it goes on
            return query_operation(address, database, query)
        sent = _TRANSACTION.fullmatch(query)
        if sent is not None:
            return plumbing(sent.group(1), address, database)
        operation = query_operation(address, database, query)
        if DB_QUERY_SUMMARY in operation.attributes or sql.describe(query, sql.POSTGRESQL).text.strip("; "):
            return operation
        return plumbing("PING", address, database)  # an empty query, as SQLAlchemy's pool_pre_ping sends

    return Queries(query_operation, sent_operation)


def of_query(operation: str, query: Operation | None) -> Operation | None:
    """What is done with a query other than running it."""
    if query is None:
        return None
    attributes = query.attributes
    summary = attributes.get(DB_QUERY_SUMMARY)
    name = " ".join(filter(None, (operation, summary or attributes.get(DB_NAMESPACE))))
    own = {DB_OPERATION_NAME: operation}
    if summary is not None:  # a database alone summarises nothing
        own[DB_QUERY_SUMMARY] = name
    return Operation(name, attributes, own)


@functools.lru_cache(_CACHED)
def copy_operation(address: Any, database: str, target: str) -> Operation:
    """COPY from or to a table."""
    attributes = connection_attributes(address, database)
    summary = f"COPY {target}"
    attributes |= {DB_QUERY_SUMMARY: summary, DB_OPERATION_NAME: "COPY", DB_COLLECTION_NAME: target}
    return Operation(summary, attributes)
