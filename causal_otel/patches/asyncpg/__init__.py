"""asyncpg: queries on connections, pools, prepared statements and cursors, and COPY.

One CLIENT span for each call of ``execute``, ``executemany``, ``fetch``, ``fetchval``, ``fetchrow``, ``fetchmany`` and
the ``copy_*`` methods, and for each time that a cursor fetches rows. A pool's connections are connections, and
``pool.fetch()`` calls theirs.

What is done for that is a CLIENT span only if it fails or is cancelled, and only the innermost that does: connecting
(``CONNECT shop``), a pool's ``OPEN POOL``, ``ACQUIRE``, ``RELEASE`` and ``CLOSE POOL``, the ``BEGIN``, ``COMMIT``,
``ROLLBACK`` and savepoints of ``connection.transaction()``, preparing a statement (``PREPARE SELECT orders``) or a
cursor (``SELECT orders``), moving and closing a cursor, ``RESET``, ``CLOSE``, ``LISTEN`` and ``UNLISTEN``, looking up
types for codecs, and the empty query (``PING``) with which SQLAlchemy's ``pool_pre_ping`` tries a connection. A query
that fails inside one of them, as in a pool's ``init``, is a span and the other none.
Not traced: a cursor's rows one by one, what asyncpg runs to reset a connection, to know types and to choose a host,
connections that a pool restores in the background (0.32), and statements that are excluded.

Outside any span each query, and each failure of what is done for queries, is a trace of its own; a ``PING`` is not.

Span names are query summaries, ``SELECT orders``. Attributes: ``db.system.name``, ``db.namespace``,
``db.query.summary``, ``db.query.text`` (every literal as ``?``, parameters never), ``db.operation.batch.size``,
``db.collection.name`` (COPY only, where it is an argument), ``db.operation.name`` (COPY and the above; nothing is
parsed into it), ``server.address``, ``server.port`` (where connecting failed, those tried last), and on failure
``db.response.status_code`` and ``error.type`` (the SQLSTATE). The server's message is not recorded: it repeats values.

Metrics: ``db.client.operation.duration`` of each operation, and ``db.client.response.returned_rows`` of ``fetch``,
``fetchrow``, ``fetchmany`` and each time that a cursor fetches: what else returns does not tell.

Options: :class:`AsyncpgOptions`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key
from opentelemetry.trace import SpanKind

from causal_otel.engine import context
from causal_otel.instrument.calls import (
    Args,
    Describe,
    Inside,
    Kwargs,
    Wrapper,
    argument,
    client_call,
    suppressed,
    traced_call,
)
from causal_otel.instrument.declaration import Patch, Wrap
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.conventions import DATABASE_CLIENT
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_CANCELLED,
    DB_COLLECTION_NAME,
    DB_NAMESPACE,
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_QUERY_SUMMARY,
    DB_QUERY_TEXT,
    DB_RESPONSE_RETURNED_ROWS,
    DB_RESPONSE_STATUS_CODE,
    DB_SYSTEM_NAME,
    ERROR_TYPE,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.patches.asyncpg.plumbing import (
    ERRORS,
    TARGETS,
    connection_attributes,
    endpoint,
    if_failed,
    if_refused,
    on_statement,
    plumbing,
)
from causal_otel.statements import sql

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATCH", "AsyncpgOptions"]

_CACHED = 1024  # statements; a program has few, unless it builds them, and then remembering them is no use


@dataclass(frozen=True, kw_only=True)
class AsyncpgOptions(ClientOptions):
    """Options of the asyncpg patch; see :class:`~causal_otel.instrument.options.ClientOptions`.

    The hooks are called with the span, the connection or prepared statement, and the positional and keyword arguments
    of its method. Where a pool's method is called, that is the method of the connection which it takes. Where a cursor
    fetches, it is the cursor, and the arguments begin with how many rows are wanted (0: all); what it returns is a list
    of them.

    Args:
        excluded: names, such as ``SELECT heartbeats``, or texts, such as ``SELECT pg_sleep*``; both as a trace shows
            them, in any case.
    """


# -- attributes ---------------------------------------------------------------------------------------------------


@functools.lru_cache(_CACHED)
def _query_operation(address: Any, database: str, query: str) -> Operation:
    statement = sql.describe(query, sql.POSTGRESQL)
    attributes = connection_attributes(address, database)
    attributes[DB_QUERY_TEXT] = statement.text
    if statement.summary:
        attributes[DB_QUERY_SUMMARY] = statement.summary
    return Operation(statement.summary or "postgresql", attributes)


# What asyncpg.transaction.Transaction sends: one of these, with a semicolon at the end and nothing after it.
_TRANSACTION = re.compile(r"(BEGIN|COMMIT|SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO|ROLLBACK)\b[^;]*;")


@functools.lru_cache(_CACHED)
def _sent_operation(address: Any, database: str, query: str) -> Operation:
    """The same, for what may be the driver's own doing."""
    if len(query) > sql.MAX_TEXT:  # nobody knows how it goes on
        return _query_operation(address, database, query)
    sent = _TRANSACTION.fullmatch(query)
    if sent is not None:
        return plumbing(sent.group(1), address, database)
    operation = _query_operation(address, database, query)
    if not operation.attributes[DB_QUERY_TEXT].strip("; "):
        return plumbing("PING", address, database)  # an empty query, as SQLAlchemy's pool_pre_ping sends
    return operation


def _operation(connection: Any, query: Any, known: Any = _query_operation) -> Operation | None:
    if not isinstance(query, str):
        return None  # the driver is about to say so
    if len(query) > sql.MAX_TEXT:
        query = query[: sql.MAX_TEXT + 1]  # no more is read; the last character tells that there was more
    return known(*endpoint(connection), query)  # type: ignore[no-any-return]


def _batch(operation: Operation | None, args: Any) -> Operation | None:
    size = len(args) if isinstance(args, Sized) else 0
    if operation is None or size < 2:
        return operation
    return operation.of_this_call({DB_OPERATION_BATCH_SIZE: size})


# -- what a call is -----------------------------------------------------------------------------------------------


def _describe_query(tracing: Tracing[AsyncpgOptions], connection: Any, args: Args, kwargs: Kwargs) -> Operation | None:
    return _operation(connection, args[0] if args else kwargs.get("query"), _sent_operation)


def _describe_executemany(
    tracing: Tracing[AsyncpgOptions], connection: Any, args: Args, kwargs: Kwargs
) -> Operation | None:
    query = argument(0, "command", args, kwargs)
    return _batch(_operation(connection, query), argument(1, "args", args, kwargs))


def _describe_fetchmany(
    tracing: Tracing[AsyncpgOptions], connection: Any, args: Args, kwargs: Kwargs
) -> Operation | None:
    query = argument(0, "query", args, kwargs)
    return _batch(_operation(connection, query), argument(1, "args", args, kwargs))


def _describe_statement(
    tracing: Tracing[AsyncpgOptions], statement: Any, args: Args, kwargs: Kwargs
) -> Operation | None:
    """A prepared statement or a cursor: both know their connection and query."""
    return _operation(getattr(statement, "_connection", None), getattr(statement, "_query", None))


def _describe_statement_batch(
    tracing: Tracing[AsyncpgOptions], statement: Any, args: Args, kwargs: Kwargs
) -> Operation | None:
    return _batch(_describe_statement(tracing, statement, args, kwargs), argument(0, "args", args, kwargs))


_COPYING = create_key("causal-otel-asyncpg-copying")


def _describe_prepare(
    tracing: Tracing[AsyncpgOptions], connection: Any, args: Args, kwargs: Kwargs
) -> Operation | None:
    if context.current().get(_COPYING) is connection:
        return None  # 0.31 prepares a query of its own to know the columns; COPY says that it failed
    return _of_query("PREPARE", _operation(connection, argument(0, "query", args, kwargs)))


def _describe_copy_query(
    tracing: Tracing[AsyncpgOptions], connection: Any, args: Args, kwargs: Kwargs
) -> Operation | None:
    return _of_query("COPY", _operation(connection, argument(0, "query", args, kwargs)))


def _of_query(operation: str, query: Operation | None) -> Operation | None:
    """What is done with a query other than running it."""
    if query is None:
        return None
    summary = f"{operation} {query.name}"
    return Operation(summary, query.attributes, {DB_QUERY_SUMMARY: summary, DB_OPERATION_NAME: operation})


def _describe_copy_table(
    tracing: Tracing[AsyncpgOptions], connection: Any, args: Args, kwargs: Kwargs
) -> Operation | None:
    table = argument(0, "table_name", args, kwargs)
    if not isinstance(table, str):
        return None
    schema = kwargs.get("schema_name")
    return _copy_operation(*endpoint(connection), f"{schema}.{table}" if schema else table)


@functools.lru_cache(_CACHED)
def _copy_operation(address: Any, database: str, target: str) -> Operation:
    attributes = connection_attributes(address, database)
    summary = f"COPY {target}"
    attributes |= {DB_QUERY_SUMMARY: summary, DB_OPERATION_NAME: "COPY", DB_COLLECTION_NAME: target}
    return Operation(summary, attributes)


def _describe_first_step(tracing: Tracing[AsyncpgOptions], cursor: Any, args: Args, kwargs: Kwargs) -> Operation | None:
    """The first step of a cursor's iteration, until it has its statement: what follows is traced by itself."""
    return _describe_statement(tracing, cursor, args, kwargs) if getattr(cursor, "_state", None) is None else None


# -- wrappers -----------------------------------------------------------------------------------------------------


def _traced(describe: Describe, rows: Callable[[Any], int | None] | None = None) -> Wrapper:
    return client_call(describe, ERRORS, rows)


def _number(result: Any) -> int | None:
    """How many rows a list of them is."""
    return len(result) if isinstance(result, list) else None


def _one_or_none(result: Any) -> int:
    return 0 if result is None else 1


def _copy_records(tracing: Tracing[AsyncpgOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    def begin(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Inside:
        return Inside(Context({**context.current(), _COPYING: connection}))

    return _traced(_describe_copy_table)(tracing, traced_call(begin)(tracing, original))


def _first_step(tracing: Tracing[AsyncpgOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For a cursor's ``__anext__``, which is called for each row and prepares its statement when first called."""
    call = if_failed(_describe_first_step)(tracing, original)

    @functools.wraps(original)
    def __anext__(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        step = call if getattr(self, "_state", None) is None else original
        return step(self, *args, **kwargs)

    return __anext__


_CONNECTION, _STATEMENT, _CURSOR = "asyncpg.connection", "asyncpg.prepared_stmt", "asyncpg.cursor"

PATCH = Patch(
    name="asyncpg",
    versions={"asyncpg": ("0.29", "1")},
    options=AsyncpgOptions,
    targets=(
        Wrap(_CONNECTION, "Connection.execute", _traced(_describe_query)),
        Wrap(_CONNECTION, "Connection.fetch", _traced(_describe_query, _number)),
        Wrap(_CONNECTION, "Connection.fetchval", _traced(_describe_query)),
        Wrap(_CONNECTION, "Connection.fetchrow", _traced(_describe_query, _one_or_none)),
        Wrap(_CONNECTION, "Connection.executemany", _traced(_describe_executemany)),
        Wrap(_CONNECTION, "Connection.fetchmany", _traced(_describe_fetchmany, _number), optional=True),  # since 0.30
        Wrap(_CONNECTION, "Connection.copy_from_query", _traced(_describe_copy_query)),
        Wrap(_CONNECTION, "Connection.copy_from_table", _traced(_describe_copy_table)),
        Wrap(_CONNECTION, "Connection.copy_to_table", _traced(_describe_copy_table)),
        Wrap(_CONNECTION, "Connection.copy_records_to_table", _copy_records),
        Wrap(_CONNECTION, "Connection.prepare", if_failed(_describe_prepare)),
        Wrap(_CONNECTION, "Connection.cursor", if_refused(_describe_query)),
        Wrap(_STATEMENT, "PreparedStatement.cursor", if_refused(_describe_statement)),
        Wrap("asyncpg.utils", "_mogrify", suppressed, optional=True),  # quotes what copy_from_query is given
        Wrap(_STATEMENT, "PreparedStatement.fetch", _traced(_describe_statement, _number)),
        Wrap(_STATEMENT, "PreparedStatement.fetchval", _traced(_describe_statement)),
        Wrap(_STATEMENT, "PreparedStatement.fetchrow", _traced(_describe_statement, _one_or_none)),
        Wrap(
            _STATEMENT, "PreparedStatement.fetchmany", _traced(_describe_statement_batch, _number), optional=True
        ),  # since 0.30
        Wrap(_STATEMENT, "PreparedStatement.executemany", _traced(_describe_statement_batch)),
        Wrap(_CURSOR, "BaseCursor._bind_exec", _traced(_describe_statement, _number)),
        Wrap(_CURSOR, "BaseCursor._exec", _traced(_describe_statement, _number)),
        Wrap(_CURSOR, "BaseCursor._close_portal", if_failed(on_statement("CLOSE")), optional=True),
        Wrap(_CURSOR, "Cursor._init", if_failed(_describe_statement), optional=True),
        Wrap(_CURSOR, "Cursor.forward", if_failed(on_statement("MOVE"))),
        Wrap(_CURSOR, "CursorIterator.__anext__", _first_step),
        *TARGETS,
    ),
    records=(
        DB_SYSTEM_NAME,
        DB_NAMESPACE,
        DB_QUERY_SUMMARY,
        DB_QUERY_TEXT,
        DB_OPERATION_NAME,
        DB_OPERATION_BATCH_SIZE,
        DB_COLLECTION_NAME,
        DB_RESPONSE_RETURNED_ROWS,
        DB_RESPONSE_STATUS_CODE,
        SERVER_ADDRESS,
        SERVER_PORT,
        ERROR_TYPE,
        CAUSAL_CANCELLED,
        CAUSAL_ABANDONED,
    ),
    never=(
        "values in statements (each literal is `?`) and comments",
        "parameters",
        "rows",
        "the DSN, the user and the password",
        "the server's error message, which repeats values (its SQLSTATE is recorded)",
    ),
    metrics={SpanKind.CLIENT: DATABASE_CLIENT},
)
