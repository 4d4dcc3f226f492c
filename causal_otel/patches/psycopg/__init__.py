"""psycopg 3: statements of connections and cursors, sync and async, pipelines, COPY; and the pools of psycopg_pool.

One CLIENT span for each ``execute`` and ``executemany`` of connections and cursors, which client-side and raw cursors
have as well; for each ``stream()``, each COPY, and each server-side cursor from ``execute()`` to its last row, its end,
or, marked ``causal.abandoned``, to when nobody has it any more. The latter three last as long as the driver was waited
for. In a pipeline the statements between two synchronisations are one span, a batch: ``BATCH INSERT orders``, or
``BATCH`` if they differ. Statements may be text, bytes, of ``psycopg.sql`` or template strings; a literal in them is
``?``. The ``BEGIN`` that psycopg sends with the first statement of a transaction, and preparing, are part of its span.

Where the time went, in seconds, if it is a millisecond or more: ``causal.server`` (server and network, which psycopg
does not tell apart), and of streams, server-side cursors and COPY ``causal.fetch`` (rows that were read); of getting a
connection ``causal.pool.wait`` (with ``causal.pool.size`` and ``causal.pool.waiting``), ``causal.pool.setup`` (trying
it), ``causal.connect`` with ``causal.connect.dns`` (where a ``NullConnectionPool`` connects).

What is done for that is a CLIENT span only if it fails, is cancelled or, inside a span, takes longer than
``slow_plumbing``, with its parts: connecting (``CONNECT shop``), a pool's ``ACQUIRE``, ``RELEASE``, ``OPEN POOL``
(``wait()``) and ``CLOSE POOL``, ``BEGIN``, ``COMMIT``, ``ROLLBACK`` and savepoints of transactions, those of two
phases, ``FETCH`` and ``MOVE`` of a cursor without a span, and the empty statement (``PING``) by which a connection is
tried. A transaction that was rolled back, also by a ``COMMIT`` to which the server answers so, is the event
``causal.transaction.rolled_back`` of the current span.
Not traced: rows one by one, ``notifies()``, what a pool's workers do (connecting, ``configure``, ``reset``), which
psycopg_pool logs if it fails, and a pool's ``check``; statements that are excluded.

Outside any span each statement, and each failure of what is done for statements, is a trace of its own; a ``PING`` is
not. SQLAlchemy's patch adds ``causal.orm.origin`` to its statements.

Span names are query summaries, ``SELECT orders``, or where there is none the database's name. Attributes:
``db.system.name``, ``db.namespace``, ``db.query.summary``, ``db.query.text`` (every literal as ``?``;
``causal.query.truncated`` where it was longer), ``db.operation.batch.size``, ``db.operation.name`` (``BATCH``, and of
what is no statement), ``db.response.returned_rows`` (of those that return rows; not of batches and COPY),
``causal.round_trips`` (server-side cursors and streams), ``server.address``, ``server.port``, and on failure
``db.response.status_code`` and ``error.type`` (the SQLSTATE). The server's message is not recorded: it repeats values.

Metrics: ``db.client.operation.duration`` and ``db.client.response.returned_rows`` of each operation, and
``db.client.connection.*`` of pools, by their names.

Options: :class:`PsycopgOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from causal_otel.instrument.declaration import Patch
from causal_otel.instrument.options import DatabaseOptions
from causal_otel.metrics.conventions import DATABASE_CLIENT
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_CANCELLED,
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_FETCH,
    CAUSAL_ORM_ORIGIN,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_QUERY_TRUNCATED,
    CAUSAL_ROUND_TRIPS,
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
from causal_otel.patches.psycopg import connecting, cursors, pipelines, pools, statements, streams, transactions

__all__ = ["PATCH", "PsycopgOptions"]


@dataclass(frozen=True, kw_only=True)
class PsycopgOptions(DatabaseOptions):
    """Options of the psycopg patch; see :class:`~causal_otel.instrument.options.DatabaseOptions`.

    The hooks are called with the span, the cursor, and the positional and keyword arguments of its method: of
    ``execute()`` of a connection those of the cursor that it makes, of a pipeline those of the first statement, and at
    the end of a server-side cursor the cursor, or None where nobody has it any more.

    ``parameters`` are those of ``execute()`` and ``stream()``; of a batch none.

    With ``traceparent``, ``execute()`` appends the comment ``/*traceparent='...'*/`` to a statement that is text, as
    sqlcommenter does, unless there is a comment in it. The server's log shows it. Not to statements that psycopg may
    prepare, which it knows by their text: only where the connection's ``prepare_threshold`` is None, with
    ``prepare=False``, and with client-side cursors.

    Args:
        excluded: names, such as ``SELECT heartbeats``, or texts, such as ``SELECT pg_sleep*``; both as a trace shows
            them, in any case.
    """


PATCH = Patch(
    name="psycopg",
    versions={"psycopg": ("3.2", "4"), "psycopg-pool": ("3.2", "4")},
    distributions={"psycopg_pool": "psycopg-pool"},
    options=PsycopgOptions,
    independent=True,
    targets=(
        *statements.TARGETS,
        *pipelines.TARGETS,
        *streams.TARGETS,
        *cursors.TARGETS,
        *transactions.TARGETS,
        *connecting.TARGETS,
        *pools.TARGETS,
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
        CAUSAL_CANCELLED,
        CAUSAL_ABANDONED,
        CAUSAL_CONNECT,
        CAUSAL_CONNECT_DNS,
        CAUSAL_FETCH,
        CAUSAL_POOL_SETUP,
        CAUSAL_POOL_SIZE,
        CAUSAL_POOL_WAIT,
        CAUSAL_POOL_WAITING,
        CAUSAL_QUERY_TRUNCATED,
        CAUSAL_ROUND_TRIPS,
        CAUSAL_SERVER,
    ),
    never=(
        "values in statements (each literal is `?`) and comments",
        "parameters, unless the option `parameters` says so",
        "rows",
        "the connection string, the user and the password",
        "the server's error message, which repeats values (its SQLSTATE is recorded)",
    ),
    metrics={SpanKind.CLIENT: DATABASE_CLIENT},
    pools=True,
)
