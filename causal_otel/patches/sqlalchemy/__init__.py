"""SQLAlchemy: statements, getting connections and transactions, of sync and async engines with any driver.

A statement is one CLIENT span. Where a patch of the driver is at work (asyncpg's, psycopg's), it is that patch's, and
this one adds to it what made the ORM issue it: ``causal.orm.origin`` is ``Order.items``, the relationship that was
loaded, or ``select Order``, the entity that was queried; so the many statements of an N+1 name themselves. With any
other driver (aiosqlite, sqlite3, MySQL's …) the span is this patch's: one for each statement, batch of parameters
(``executemany``, INSERT of many values) and server-side cursor (``stream()``, ``yield_per``), however many times rows
are fetched from it.

A CLIENT span only if it fails, is cancelled or is slow: getting a connection from the pool (``ACQUIRE shop``), which is
a span before that of the statement that needs it, also where a session gets it for its first statement; preparing a
connection to be given back (``RESET``); and, with drivers that have no patch, ``COMMIT``, ``ROLLBACK``, savepoints,
closing a connection (``CLOSE``) and ``PING``, by which ``pool_pre_ping`` finds that a connection has gone. Of those
inside each other the innermost that fails, and the outermost that is slow.
Not supported is SQLAlchemy before 2.0.7, whose pings cannot be seen.
Not traced: what SQLAlchemy asks a server when it connects and what the program's ``connect`` listeners do then (their
time is ``causal.pool.setup``), ``pool_pre_ping`` as long as the connection works, and statements that are excluded.

A transaction that is rolled back by the program or an exception, or that its ``COMMIT`` has undone, is the event
``causal.transaction.rolled_back`` of the current span. One that is closed without a commit, as after reading only, is
not, nor what the pool pings or resets.

Span names are query summaries, ``SELECT orders``, or where there is none the database's name. Attributes:
``db.system.name``, ``db.namespace``, ``db.query.summary``, ``db.query.text`` (every literal as ``?``),
``db.operation.batch.size``, ``db.operation.name`` (of what is no statement), ``db.response.returned_rows`` (where the
driver knows), ``causal.query.truncated``, ``causal.orm.origin``, ``server.address``, ``server.port`` (as the engine's
URL has them), and on failure
``db.response.status_code`` and ``error.type`` (the server's code, or the driver's class). Parts of the time:
``causal.pool.wait`` with ``causal.pool.size`` (overflow included) and ``causal.pool.waiting``, ``causal.connect`` (with
asyncpg ``.dns`` and ``.tls`` of it) and ``causal.pool.setup`` of getting a connection; ``causal.server`` and
``causal.fetch`` of a statement. Drivers that read rows from the database as they are fetched, such as sqlite3, do that
after the span; all others have them before.

Metrics: ``db.client.operation.duration`` and ``db.client.response.returned_rows``, of the spans that are this patch's;
and ``db.client.connection.*`` of every engine whose pool is a ``QueuePool``, with asyncpg as well.

Options: :class:`SqlalchemyOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from causal_otel.instrument.declaration import Connect, Patch, Wrap
from causal_otel.instrument.options import DatabaseOptions
from causal_otel.metrics.conventions import DATABASE_CLIENT
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_CANCELLED,
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_TLS,
    CAUSAL_FETCH,
    CAUSAL_ORM_ORIGIN,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_QUERY_TRUNCATED,
    CAUSAL_SERVER,
    DB_NAMESPACE,
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_QUERY_PARAMETER,
    DB_QUERY_SUMMARY,
    DB_QUERY_TEXT,
    DB_RESPONSE_RETURNED_ROWS,
    DB_RESPONSE_STATUS_CODE,
    DB_SYSTEM_NAME,
    ERROR_TYPE,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.patches.sqlalchemy.metrics import listen_to_checkins
from causal_otel.patches.sqlalchemy.pools import checkout, close, connect, listen, ping, reset, wait
from causal_otel.patches.sqlalchemy.statements import default, statement
from causal_otel.patches.sqlalchemy.transactions import rollback, told, transition

__all__ = ["PATCH", "SqlalchemyOptions"]


@dataclass(frozen=True, kw_only=True)
class SqlalchemyOptions(DatabaseOptions):
    """Options of the SQLAlchemy patch; see :class:`~causal_otel.instrument.options.DatabaseOptions`.

    They are about the spans that are this patch's. Where a driver's patch makes the spans, its options hold for them.
    ``traceparent`` appends a comment to each statement, as sqlcommenter does, except with drivers that prepare
    statements and know them by their text: aiosqlite and sqlite3, Oracle's, pg8000, and psycopg unless its
    ``prepare_threshold`` is None.

    The hooks are called with the span, the ``Connection``, a tuple of the dialect, the ``ExecutionContext`` and more,
    and a dict; ``response_hook`` with the ``CursorResult`` too, or the exception.

    Args:
        excluded: names, such as ``SELECT heartbeats``, or texts, such as ``SELECT pg_sleep*``; both as a trace shows
            them, in any case.
    """


_CLOSING = (
    Wrap("sqlalchemy.engine.default", "DefaultDialect.do_close", close, optional=True),
    *(
        Wrap(f"sqlalchemy.dialects.{module}", f"{dialect}.do_terminate", close, optional=True)
        for module, dialect in (
            ("sqlite.aiosqlite", "SQLiteDialect_aiosqlite"),
            ("mysql.aiomysql", "MySQLDialect_aiomysql"),
            ("mysql.asyncmy", "MySQLDialect_asyncmy"),
            ("oracle.oracledb", "OracleDialectAsync_oracledb"),
        )
    ),
)
"""``do_terminate`` of all others is ``do_close``; asyncpg's patch sees its own."""

_ENGINE, _POOL = "sqlalchemy.engine.base", "sqlalchemy.pool.base"

PATCH = Patch(
    name="sqlalchemy",
    versions={"sqlalchemy": ("2.0.7", "2.2")},
    options=SqlalchemyOptions,
    targets=(
        # Private, and the same in 2.0 and 2.1: where all of a statement's execution meets.
        Wrap(_ENGINE, "Connection._exec_single_context", statement),
        Wrap(_ENGINE, "Connection._exec_insertmany_context", statement),
        Wrap(_ENGINE, "Connection._cursor_execute", default, optional=True),
        Wrap(_ENGINE, "Connection._commit_impl", transition("COMMIT"), optional=True),
        Wrap(_ENGINE, "Connection._rollback_impl", transition("ROLLBACK"), optional=True),
        Wrap(_ENGINE, "Transaction.rollback", rollback),
        Wrap(_ENGINE, "Engine.raw_connection", checkout),
        Wrap("sqlalchemy.pool.impl", "QueuePool._do_get", wait, optional=True),
        Wrap(_POOL, "_ConnectionRecord._ConnectionRecord__connect", connect, optional=True),
        Wrap(_POOL, "_ConnectionFairy._reset", reset, optional=True),
        *_CLOSING,
        Connect("sqlalchemy.pool", listen),
        Connect("sqlalchemy.pool", listen_to_checkins),
        Wrap("sqlalchemy.engine.default", "DefaultDialect._do_ping_w_event", ping, optional=True),
        Wrap("sqlalchemy.engine.default", "DefaultDialect.do_rollback", told, optional=True),
        Wrap("sqlalchemy.dialects.postgresql.asyncpg", "AsyncAdapt_asyncpg_connection.rollback", told, optional=True),
    ),
    records=(
        DB_SYSTEM_NAME,
        DB_NAMESPACE,
        DB_QUERY_SUMMARY,
        DB_QUERY_TEXT,
        DB_QUERY_PARAMETER,
        DB_OPERATION_NAME,
        DB_OPERATION_BATCH_SIZE,
        DB_RESPONSE_RETURNED_ROWS,
        DB_RESPONSE_STATUS_CODE,
        SERVER_ADDRESS,
        SERVER_PORT,
        ERROR_TYPE,
        CAUSAL_ORM_ORIGIN,
        CAUSAL_QUERY_TRUNCATED,
        CAUSAL_POOL_WAIT,
        CAUSAL_POOL_SIZE,
        CAUSAL_POOL_WAITING,
        CAUSAL_POOL_SETUP,
        CAUSAL_CONNECT,
        CAUSAL_CONNECT_DNS,
        CAUSAL_CONNECT_TLS,
        CAUSAL_SERVER,
        CAUSAL_FETCH,
        CAUSAL_CANCELLED,
        CAUSAL_ABANDONED,
    ),
    never=(
        "values in statements (each literal is `?`) and comments",
        "parameters, unless the option `parameters` asks for them",
        "rows",
        "the URL, the user and the password",
        "the server's error message, which repeats values (its code is recorded)",
    ),
    metrics={SpanKind.CLIENT: DATABASE_CLIENT},
    pools=True,
)
