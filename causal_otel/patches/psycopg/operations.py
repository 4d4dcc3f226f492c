"""What is done in PostgreSQL by psycopg, in the words of the conventions: from the driver's objects."""

from __future__ import annotations

import asyncio
import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.above import orm_origin, with_origin
from causal_otel.patches import _postgresql
from causal_otel.patches._postgresql import CACHED, is_empty, plumbing
from causal_otel.patches.psycopg.query_text import query_text
from causal_otel.statements.comment import to_describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.operation import Operation

__all__ = [
    "BATCHING",
    "Place",
    "as_seen",
    "described",
    "on_connection",
    "pipeline_of",
    "place",
    "place_of",
    "plumbing",
    "queries",
]

Place = tuple[Any, str]
"""An address, which is host and port or the path of a Unix socket, and a database."""

BATCHING = "_causal_otel_batching"
"""The attribute of a connection on which ``executemany()`` is under way, for which it makes a pipeline of its own."""

_ATTRIBUTE = "_causal_otel_place"
_QUERY_CANCELED = "57014"


def place(connection: Any) -> Place:
    """Where a connection leads, asked once; unknown of one that has gone before anybody has asked."""
    try:
        found: Place = connection.__dict__[_ATTRIBUTE]
    except (AttributeError, KeyError):
        found = place_of(getattr(connection, "pgconn", None))
        if found[0] is not None:
            with suppress(AttributeError):  # of a class of the user's
                setattr(connection, _ATTRIBUTE, found)
    return found


def place_of(pgconn: Any) -> Place:
    """Where a connection of libpq leads, open or in vain."""
    try:
        host, port, database = pgconn.host.decode(), pgconn.port.decode() or "5432", pgconn.db.decode()
    except Exception:  # None, or the driver's own error: it has been closed
        return None, ""
    if host.startswith("/"):
        return f"{host}/.s.PGSQL.{port}", database
    return (host, int(port)) if host else None, database


def pipeline_of(connection: Any) -> Any:
    """The program's own pipeline, in which statements of a connection wait; None: each is sent at once."""
    pipeline = getattr(connection, "_pipeline", None)
    return None if pipeline is None or BATCHING in connection.__dict__ else pipeline


def as_seen(error: BaseException) -> BaseException:
    """How a failed statement ends for its caller.

    If a task is cancelled, psycopg has the server cancel the statement and waits for that before it raises
    CancelledError. Inside of that wait the statement fails with the server's error.
    """
    if getattr(error, "sqlstate", None) == _QUERY_CANCELED:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop runs here
            return error
        if task is not None and task.cancelling():
            return asyncio.CancelledError()
    return error


@functools.cache
def queries(*, text: bool) -> Callable[[Any, str, str], Operation]:
    """What a statement is, by address, database and text, remembered. An empty one is how pools try connections.

    Args:
        text: whether ``db.query.text`` is recorded.
    """
    query = _postgresql.queries(text=text)

    @functools.lru_cache(CACHED)
    def operation(address: Any, database: str, statement: str) -> Operation:
        if len(statement) < 16 and is_empty(statement):
            return plumbing("PING", address, database)
        return query(address, database, statement)

    return operation


def described(known: Callable[[Any, str, str], Operation], connection: Any, query: Any) -> Operation | None:
    """What running ``query`` there is."""
    text = query if type(query) is str else query_text(query)
    if text is None:
        return None  # the driver is about to say so
    operation = known(*place(connection), to_describe(text))
    origin = orm_origin.get()
    return operation if origin is None else with_origin(operation, origin)


def on_connection(operation: str) -> Callable[..., Operation]:
    """Describes plumbing that a connection is asked for."""
    return lambda tracing, connection, args, kwargs: plumbing(operation, *place(connection))
