"""asyncpg: queries on connections, pools, prepared statements and cursors, and COPY.

One CLIENT span for each call of ``execute``, ``executemany``, ``fetch``, ``fetchval``, ``fetchrow``, ``fetchmany`` and
the ``copy_*`` methods, and for each round trip of a cursor. A pool's connections are connections, and ``pool.fetch()``
calls theirs. Not traced: ``BEGIN``, ``COMMIT``, ``ROLLBACK`` and savepoints of ``connection.transaction()``, what a
pool runs to reset a connection, type introspection, a cursor's rows one by one, and statements that are excluded.

Span names are query summaries, ``SELECT orders``. Attributes: ``db.system.name``, ``db.namespace``,
``db.query.summary``, ``db.query.text`` (every literal as ``?``, parameters never), ``db.operation.batch.size``,
``db.collection.name`` (COPY only, where it is an argument), ``server.address``, ``server.port``, and on failure
``db.response.status_code`` and ``error.type`` (the SQLSTATE). The server's message is not recorded: it repeats values.

Options: :class:`AsyncpgOptions`.
"""

from __future__ import annotations

import functools
from collections.abc import Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causal_otel.engine.outcome import CANCELLED
from causal_otel.patches import _sql
from causal_otel.patches._layer import Patch, Wrap
from causal_otel.patches._tracing import ClientOptions, Describe, Operation, Tracing, client_call, error_name, silent
from causal_otel.semconv import (
    ABANDONED,
    DB_COLLECTION_NAME,
    DB_NAMESPACE,
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_QUERY_SUMMARY,
    DB_QUERY_TEXT,
    DB_RESPONSE_STATUS_CODE,
    DB_SYSTEM_NAME,
    ERROR_TYPE,
    SERVER_ADDRESS,
    SERVER_PORT,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATCH", "AsyncpgOptions"]

_DEFAULT_PORT = 5432
_CACHED = 1024  # statements; a program has few, unless it builds them, and then remembering them is no use


@dataclass(frozen=True, kw_only=True)
class AsyncpgOptions(ClientOptions):
    """Options of the asyncpg patch; see :class:`~causal_otel.patches._tracing.ClientOptions`.

    Args:
        excluded: names, such as ``SELECT heartbeats``, or texts, such as ``SELECT pg_sleep*``; both as a trace shows
            them, in any case.
    """


# -- attributes ---------------------------------------------------------------------------------------------------


def _place(connection: Any) -> tuple[Any, str]:
    """Address and database of a connection, which it keeps to itself; unknown where a version hides them elsewhere."""
    return getattr(connection, "_addr", None), getattr(getattr(connection, "_params", None), "database", None) or ""


def _constants(address: Any, database: str) -> dict[str, Any]:
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


@functools.lru_cache(_CACHED)
def _query_operation(address: Any, database: str, query: str) -> Operation:
    statement = _sql.describe(query)
    attributes = _constants(address, database)
    attributes[DB_QUERY_TEXT] = statement.text
    if statement.summary:
        attributes[DB_QUERY_SUMMARY] = statement.summary
    return Operation(statement.summary or "postgresql", attributes)


# What asyncpg.transaction.Transaction sends: one of these, with a semicolon at the end and nothing after it.
_TRANSACTION = ("BEGIN", "COMMIT;", "ROLLBACK;", "SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO ")


@functools.lru_cache(_CACHED)
def _sent_operation(address: Any, database: str, query: str) -> Operation | None:
    """The same, for what may be the driver's own doing."""
    if query.startswith(_TRANSACTION) and query.find(";") == len(query) - 1:
        return None
    return _query_operation.__wrapped__(address, database, query)


def _operation(connection: Any, query: Any, known: Any = _query_operation) -> Operation | None:
    if not isinstance(query, str):
        return None  # the driver is about to say so
    if len(query) > _sql.MAX_TEXT:
        known = known.__wrapped__
    return known(*_place(connection), query)  # type: ignore[no-any-return]


def _batch(operation: Operation | None, args: Any) -> Operation | None:
    size = len(args) if isinstance(args, Sized) else 0
    if operation is None or size < 2:
        return operation
    return Operation(operation.name, {**operation.attributes, DB_OPERATION_BATCH_SIZE: size})


# -- what a call is -----------------------------------------------------------------------------------------------

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


def _argument(position: int, name: str, args: _Args, kwargs: _Kwargs) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


def _of_connection(tracing: Tracing[AsyncpgOptions], connection: Any, args: _Args, kwargs: _Kwargs) -> Operation | None:
    return _operation(connection, args[0] if args else kwargs.get("query"), _sent_operation)


def _executemany(tracing: Tracing[AsyncpgOptions], connection: Any, args: _Args, kwargs: _Kwargs) -> Operation | None:
    query = _argument(0, "command", args, kwargs)
    return _batch(_operation(connection, query), _argument(1, "args", args, kwargs))


def _fetchmany(tracing: Tracing[AsyncpgOptions], connection: Any, args: _Args, kwargs: _Kwargs) -> Operation | None:
    query = _argument(0, "query", args, kwargs)
    return _batch(_operation(connection, query), _argument(1, "args", args, kwargs))


def _of_statement(tracing: Tracing[AsyncpgOptions], statement: Any, args: _Args, kwargs: _Kwargs) -> Operation | None:
    """A prepared statement or a cursor: both know their connection and query."""
    return _operation(getattr(statement, "_connection", None), getattr(statement, "_query", None))


def _many_of_statement(
    tracing: Tracing[AsyncpgOptions], statement: Any, args: _Args, kwargs: _Kwargs
) -> Operation | None:
    return _batch(_of_statement(tracing, statement, args, kwargs), _argument(0, "args", args, kwargs))


def _copy_query(tracing: Tracing[AsyncpgOptions], connection: Any, args: _Args, kwargs: _Kwargs) -> Operation | None:
    query = _operation(connection, _argument(0, "query", args, kwargs))
    if query is None:
        return None
    summary = f"COPY {query.name}"
    return Operation(summary, {**query.attributes, DB_QUERY_SUMMARY: summary, DB_OPERATION_NAME: "COPY"})


def _copy_table(tracing: Tracing[AsyncpgOptions], connection: Any, args: _Args, kwargs: _Kwargs) -> Operation | None:
    table = _argument(0, "table_name", args, kwargs)
    if not isinstance(table, str):
        return None
    schema = kwargs.get("schema_name")
    target = f"{schema}.{table}" if schema else table
    attributes = _constants(*_place(connection))
    summary = f"COPY {target}"
    attributes |= {DB_QUERY_SUMMARY: summary, DB_OPERATION_NAME: "COPY", DB_COLLECTION_NAME: target}
    return Operation(summary, attributes)


def _sqlstate(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or error_name(error)


# -- wrappers -----------------------------------------------------------------------------------------------------


def _traced(describe: Describe) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """A call whose errors are told by their SQLSTATE."""
    return client_call(describe, _sqlstate, DB_RESPONSE_STATUS_CODE)


_CONNECTION, _STATEMENT, _CURSOR = "asyncpg.connection", "asyncpg.prepared_stmt", "asyncpg.cursor"

PATCH = Patch(
    name="asyncpg",
    versions={"asyncpg": ("0.29", "1")},
    options=AsyncpgOptions,
    targets=(
        Wrap(_CONNECTION, "Connection.execute", _traced(_of_connection)),
        Wrap(_CONNECTION, "Connection.fetch", _traced(_of_connection)),
        Wrap(_CONNECTION, "Connection.fetchval", _traced(_of_connection)),
        Wrap(_CONNECTION, "Connection.fetchrow", _traced(_of_connection)),
        Wrap(_CONNECTION, "Connection.executemany", _traced(_executemany)),
        Wrap(_CONNECTION, "Connection.fetchmany", _traced(_fetchmany), optional=True),  # since 0.30
        Wrap(_CONNECTION, "Connection.copy_from_query", _traced(_copy_query)),
        Wrap(_CONNECTION, "Connection.copy_from_table", _traced(_copy_table)),
        Wrap(_CONNECTION, "Connection.copy_to_table", _traced(_copy_table)),
        Wrap(_CONNECTION, "Connection.copy_records_to_table", _traced(_copy_table)),
        Wrap(_CONNECTION, "Connection.reset", silent),
        Wrap("asyncpg.utils", "_mogrify", silent, optional=True),  # has the server quote copy_from_query's arguments
        Wrap(_STATEMENT, "PreparedStatement.fetch", _traced(_of_statement)),
        Wrap(_STATEMENT, "PreparedStatement.fetchval", _traced(_of_statement)),
        Wrap(_STATEMENT, "PreparedStatement.fetchrow", _traced(_of_statement)),
        Wrap(_STATEMENT, "PreparedStatement.fetchmany", _traced(_many_of_statement), optional=True),  # since 0.30
        Wrap(_STATEMENT, "PreparedStatement.executemany", _traced(_many_of_statement)),
        Wrap(_CURSOR, "BaseCursor._bind_exec", _traced(_of_statement)),
        Wrap(_CURSOR, "BaseCursor._exec", _traced(_of_statement)),
    ),
    records=(
        DB_SYSTEM_NAME,
        DB_NAMESPACE,
        DB_QUERY_SUMMARY,
        DB_QUERY_TEXT,
        DB_OPERATION_NAME,
        DB_OPERATION_BATCH_SIZE,
        DB_COLLECTION_NAME,
        DB_RESPONSE_STATUS_CODE,
        SERVER_ADDRESS,
        SERVER_PORT,
        ERROR_TYPE,
        CANCELLED,
        ABANDONED,
    ),
    never=(
        "values in statements (each literal is `?`) and comments",
        "parameters",
        "rows",
        "the DSN, the user and the password",
        "the server's error message, which repeats values (its SQLSTATE is recorded)",
    ),
)
