"""What is done in PostgreSQL by asyncpg, in the words of the conventions: from the driver's objects."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel.instrument.operation import Operation
from causal_otel.names import DB_COLLECTION_NAME, DB_NAMESPACE, DB_OPERATION_NAME, DB_QUERY_SUMMARY
from causal_otel.patches import _postgresql
from causal_otel.patches._postgresql import CACHED, ERRORS, connection_attributes, is_empty, plumbing
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


def endpoint(connection: Any) -> tuple[Any, str]:
    """Address and database of a connection, from private attributes; unknown if a version has others."""
    try:
        return connection._addr, connection._params.database or ""
    except AttributeError:
        return None, ""


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
    query_operation = _postgresql.queries(text=text)

    @functools.lru_cache(CACHED)
    def sent_operation(address: Any, database: str, query: str) -> Operation:
        if len(query) > sql.MAX_TEXT:  # nobody knows how it goes on
            return query_operation(address, database, query)
        sent = _TRANSACTION.fullmatch(query)
        if sent is not None:
            return plumbing(sent.group(1), address, database)
        operation = query_operation(address, database, query)
        if DB_QUERY_SUMMARY in operation.attributes or not is_empty(query):
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


@functools.lru_cache(CACHED)
def copy_operation(address: Any, database: str, target: str) -> Operation:
    """COPY from or to a table."""
    attributes = connection_attributes(address, database)
    summary = f"COPY {target}"
    attributes |= {DB_QUERY_SUMMARY: summary, DB_OPERATION_NAME: "COPY", DB_COLLECTION_NAME: target}
    return Operation(summary, attributes)
