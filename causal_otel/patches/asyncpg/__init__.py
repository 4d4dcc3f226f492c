"""asyncpg: queries on connections, pools, prepared statements and cursors, and COPY.

One CLIENT span for each call of ``execute``, ``executemany``, ``fetch``, ``fetchval``, ``fetchrow``, ``fetchmany`` and
the ``copy_*`` methods of connections, prepared statements and pools, and one for each cursor, however it is read and
left: ``async for``, ``fetch``, ``fetchrow``, ``forward``. A cursor's span ends with its last row, with its transaction
or, marked ``causal.abandoned``, when nobody has the cursor any more, as after ``break``; it lasts as long as the driver
was waited for. A pool's method is one span from the call on, with getting and giving back the connection inside it.

Where the time went, in seconds, if it is a millisecond or more: ``causal.pool.wait`` (with ``causal.pool.size`` and
``causal.pool.waiting``), ``causal.connect`` (with ``causal.connect.dns`` on asyncio's own loops and
``causal.connect.tls``, except where TLS is direct), ``causal.pool.setup`` (the pool's ``init``, ``setup`` and ``reset``
or the reset that asyncpg does itself), ``causal.server`` (what else was waited for: server and network, which asyncpg
does not tell apart; not of COPY, which waits for what it reads and writes as well), and of a cursor ``causal.server``
(preparing and binding) and ``causal.fetch`` (rows).

What is done for that is a CLIENT span only if it fails, is cancelled or, inside a span, takes longer than
``slow_plumbing``, with its parts. Of those that fail it is only the innermost, of those that are slow the outermost:
connecting (``CONNECT shop``), a pool's ``OPEN POOL``, ``ACQUIRE``, ``RELEASE`` and ``CLOSE POOL``, the ``BEGIN``,
``COMMIT``, ``ROLLBACK`` and savepoints of ``connection.transaction()``, preparing a statement (``PREPARE SELECT
orders``), moving a cursor that is over, ``RESET``, ``CLOSE``, looking up types for codecs, and the empty query
(``PING``) with which SQLAlchemy's ``pool_pre_ping`` tries a connection; ``LISTEN`` and ``UNLISTEN`` only if they fail
before their query, which is a span. The queries of a pool's hooks are such plumbing, too.
A transaction that was rolled back, also by a ``COMMIT`` to which the server answers so, is the event
``causal.transaction.rolled_back`` of the current span.
Not traced: rows one by one, what asyncpg runs to reset a connection, to know types and to choose a host, connections
that a pool restores in the background (0.32), and statements that are excluded.

Outside any span each query, and each failure of what is done for queries, is a trace of its own; a ``PING`` is not.
Listeners of notifications, of the server's messages and of a connection's end, and query loggers, are called in
nobody's context: what they query is a trace of its own, not part of the request that opened the connection.

Span names are query summaries, ``SELECT orders``, or where there is none the database's name: ``shop``,
``PREPARE shop``. Attributes: ``db.system.name``, ``db.namespace``, ``db.query.summary``, ``db.query.text`` (every
literal as ``?``; ``causal.query.truncated`` where it was longer),
``db.operation.batch.size``, ``db.response.returned_rows`` and ``causal.round_trips`` (cursors), ``db.collection.name``
(COPY only, where it is an argument), ``db.operation.name`` (COPY and the above; nothing is parsed into it),
``server.address``, ``server.port`` (where connecting failed, those tried last), and on failure
``db.response.status_code`` and ``error.type`` (the SQLSTATE). The server's message is not recorded: it repeats values.

Metrics: ``db.client.operation.duration`` of each operation, ``db.client.response.returned_rows`` of ``fetch``,
``fetchrow``, ``fetchmany`` and cursors (what else returns does not tell), and ``db.client.connection.*`` of pools.

Options: :class:`AsyncpgOptions`.
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
    CAUSAL_CONNECT_TLS,
    CAUSAL_FETCH,
    CAUSAL_ORM_ORIGIN,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_QUERY_TRUNCATED,
    CAUSAL_ROUND_TRIPS,
    CAUSAL_SERVER,
    DB_COLLECTION_NAME,
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
from causal_otel.patches.asyncpg import connecting, connections, cursors, pools, statements, transactions

__all__ = ["PATCH", "AsyncpgOptions"]


@dataclass(frozen=True, kw_only=True)
class AsyncpgOptions(DatabaseOptions):
    """Options of the asyncpg patch; see :class:`~causal_otel.instrument.options.DatabaseOptions`.

    The hooks are called with the span, the connection, prepared statement or pool, and the positional and keyword
    arguments of its method. Of a cursor it is the cursor, and the arguments are those of its statement; what it returns
    is how many rows were read. At the end it is None instead of a cursor that was left before its last row.

    ``parameters`` are those that are given by position; of a batch, and of COPY, none.

    With ``traceparent``, ``execute()`` without arguments, of connections and pools, appends the comment
    ``/*traceparent='...'*/`` to the statement, as sqlcommenter does, unless there is a comment in it. The server's log
    and query loggers show it. Other statements are prepared, and asyncpg remembers them by their text: a comment would
    have each prepared anew. ``application_name`` is left alone, as a connection serves many requests.

    Args:
        excluded: names, such as ``SELECT heartbeats``, or texts, such as ``SELECT pg_sleep*``; both as a trace shows
            them, in any case.
    """


PATCH = Patch(
    name="asyncpg",
    versions={"asyncpg": ("0.29", "1")},
    options=AsyncpgOptions,
    targets=(
        *statements.TARGETS,
        *cursors.TARGETS,
        *transactions.TARGETS,
        *connections.TARGETS,
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
        DB_COLLECTION_NAME,
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
        CAUSAL_CONNECT_TLS,
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
        "the DSN, the user and the password",
        "the server's error message, which repeats values (its SQLSTATE is recorded)",
    ),
    metrics={SpanKind.CLIENT: DATABASE_CLIENT},
    pools=True,
)
