"""neo4j: queries, managed transactions and ``execute_query``, of the synchronous and the asynchronous driver alike.

========================================  ===========================================================================
``Session.run``, ``Transaction.run``      A CLIENT span each, as long as the call and, added to that, each wait for
                                          records while you read the result. What you do between two records does not
                                          count, nor what the driver fetches or discards because you have not read it:
                                          before the session's next query, or when the session or transaction closes.
                                          It ends when it is known how the result went: all of it has arrived, it
                                          failed or was cancelled; or it died before that, marked ``causal.abandoned``.
                                          A result that nobody begins to read within a second ends then, and its span
                                          is as long as ``run``; with the synchronous driver, which has no event loop,
                                          that is when the next query is sent, if the session is not closed before.
``Driver.execute_query``                  One CLIENT span; session, transaction and query inside it have none.
``Session.execute_read``,                 An INTERNAL span, current while your function runs, with the queries of every
``Session.execute_write``                 attempt in it. It is an error if the call fails, not if a retry succeeds. Once
                                          an attempt has failed and is followed by another, each is an INTERNAL span
                                          ``neo4j.attempt`` with its outcome. The queries of the first lie beside its
                                          span, which nobody knew to be needed when they began; later ones lie inside.
``BEGIN``, ``COMMIT``, ``ROLLBACK``;      A CLIENT span only where they fail, are cancelled or are slow, with their
``CONNECT``, ``CLOSE``                    parts. ``CONNECT`` is ``verify_connectivity``, ``verify_authentication`` and
                                          ``get_server_info``, ``CLOSE`` that of a session, with what is left of its
                                          result and its transaction, and of a driver.
========================================  ===========================================================================

Outside any span each of these is a trace of its own, unless it is merely slow.

A failure in a transaction is the end of all its unfinished results, and their spans end with that same error. A
transaction that is rolled back is an event ``causal.transaction.rolled_back`` on the span that is current, or on that
of ``execute_query``: it was asked for, the server has refused to commit, or the connection was lost to a
cancellation. Not traced: pool, connections, ``HELLO``, ``LOGON``, ``RESET``, ``ROUTE``, bookmarks, whose failures and
time are those of the call that needs them, and statements that are excluded. A managed transaction that is excluded
is not recorded, nor is anything inside it. Sockets are opened in an empty context: what outlives a request does not
inherit it.

Parts of a span's time, in seconds, where they have a millisecond at least: ``causal.pool.wait``, with
``causal.pool.size`` and ``causal.pool.waiting``; ``causal.connect`` (name lookup, which is ``causal.connect.dns`` as
well, TCP, TLS, which version 6 tells as ``causal.connect.tls``, the Bolt handshake and the login);
``causal.discovery`` (a routing table, without connecting to who gives it);
``causal.server`` (``result_available_after`` and
``result_consumed_after`` as the server tells them, as far as they were waited for; until it has told them, and of
``BEGIN``, ``COMMIT`` and ``ROLLBACK``, what was waited for the server); ``causal.fetch`` (what was waited for records
beyond that). Of a managed transaction and ``execute_query``: ``causal.attempts``, and ``causal.retry.wait`` for the
pauses between them. What is left is the network's, the driver's and the event loop's.

Span names are query summaries, ``MATCH Person``; else ``neo4j.execute_write``, ``COMMIT orders``. Attributes:
``db.system.name``, ``db.namespace``, ``db.query.summary``, ``db.query.text`` (every string and number as ``?``,
parameters never; ``causal.query.truncated`` if it is cut), ``db.operation.name`` (of ``BEGIN`` and so on; nothing is
parsed into it), ``server.address`` and ``server.port`` (those the driver was given, in a cluster too),
``db.response.returned_rows`` (the records that have come; not where they came while another query of the transaction
was sent), and on failure ``db.response.status_code`` and ``error.type`` (the Neo4j code). The server's message is not
recorded: it repeats values. A database that the server chose is known, if at all, when the span ends. What the server
says at the end of a query: ``causal.neo4j.query_type``, the codes of its ``causal.neo4j.notifications``, and how much
of each kind it has changed, such as ``causal.neo4j.nodes_created``, if any.

Metrics: ``db.client.operation.duration`` and ``db.client.response.returned_rows`` of each query, in a managed
transaction too, and of ``execute_query``; ``db.client.connection.*`` of each driver's pool, which is called
``host:port``.

Options: :class:`Neo4jOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel import names
from causal_otel.instrument.declaration import Patch, Wrap
from causal_otel.instrument.options import DatabaseOptions
from causal_otel.metrics.conventions import DATABASE_CLIENT
from causal_otel.patches.neo4j import calls, connections, pools

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.calls import Wrapper
    from causal_otel.instrument.tracing import Tracing

__all__ = ["PATCH", "Neo4jOptions"]


@dataclass(frozen=True, kw_only=True)
class Neo4jOptions(DatabaseOptions):
    """Options of the neo4j patch; see :class:`~causal_otel.instrument.options.DatabaseOptions`.

    The hooks are called with the span, the session, transaction or driver, and the positional and keyword arguments of
    its ``run()``, ``execute_query()``, ``execute_read()`` or ``execute_write()``. For ``run()``, ``response_hook`` is
    called when all records have arrived, or nobody will read them, with the ``Result``, of which it should read nothing
    but ``keys()``: the records are the application's. For the others it is called when they return, with what they do.

    Args:
        excluded: names, such as ``MATCH Heartbeat`` or ``neo4j.execute_read`` (with all that is inside), or texts, such
            as ``CALL dbms.*``; both as a trace shows them, in any case.
        parameters: whether the parameters of queries are recorded, as ``db.query.parameter.<name>``, cut to 256
            characters each. They are values: redaction sees them before, and nothing else hides them.
        traceparent: whether the server is told the trace, as ``traceparent`` in the metadata of the transaction, beside
            yours: ``SHOW TRANSACTIONS`` and the query log show it. It names the query's span for ``Session.run`` and
            ``execute_query``, that of the managed transaction or its attempt, and for ``begin_transaction`` the one
            that is current.
    """


_POOLS = ("BoltPool", "IOPool", "RoutedBoltPool", "Neo4jPool")
"""The classes of pools: IOPool was the base before version 6, and Neo4jPool the one that knows routing tables."""


def _targets(prefix: str) -> tuple[Wrap, ...]:
    """The targets of one of the two drivers, whose classes are public under names that differ by a prefix."""
    folder = "neo4j._async.io" if prefix else "neo4j._sync.io"

    def wrap(attribute: str, wrapper: Wrapper, *, optional: bool = False) -> Wrap:
        return Wrap("neo4j", prefix + attribute, wrapper, optional)

    def inner(attribute: str, wrapper: Wrapper) -> Wrap:
        """What some supported versions have elsewhere."""
        owner = attribute.partition(".")[0]
        others = tuple(f"{prefix}{pool}." for pool in _POOLS if pool != owner)

        def once(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
            inherited = original.__qualname__.startswith(others)  # and wrapped where it is from
            return original if inherited else wrapper(tracing, original)

        return Wrap(f"{folder}._pool", prefix + attribute, once, optional=True)

    return (
        wrap("Driver.execute_query", calls.executing),
        wrap("Driver.verify_connectivity", calls.reaching_server),
        wrap("Driver.verify_authentication", calls.reaching_server),
        wrap("Driver.get_server_info", calls.reaching_server),
        wrap("Driver.close", calls.closing_driver),
        wrap("Session.run", calls.session_run(is_async=bool(prefix))),
        wrap("Session.begin_transaction", calls.leaving_session),
        wrap("Session.last_bookmarks", calls.leaving_session),
        wrap("Session.close", calls.closing_session),
        wrap("Session.execute_read", calls.managed("neo4j.execute_read")),
        wrap("Session.execute_write", calls.managed("neo4j.execute_write")),
        wrap("Session._open_transaction", calls.beginning),
        wrap("Transaction.run", calls.transaction_run(is_async=bool(prefix))),
        wrap("Transaction._commit", calls.ending("COMMIT")),
        wrap("Transaction._rollback", calls.ending("ROLLBACK")),
        wrap("ManagedTransaction.run", calls.transaction_run(is_async=bool(prefix))),
        wrap("ManagedTransaction._commit", calls.ending("COMMIT")),
        wrap("ManagedTransaction._rollback", calls.ending("ROLLBACK")),
        wrap("Result._tx_end", calls.leaving_transaction),
        wrap("Result._tx_failure", calls.result_failed),
        wrap("Session._connect", pools.acquiring, optional=True),
        wrap("Session._disconnect", pools.releasing, optional=True),
        inner("BoltPool._acquire_new_later", connections.new_connection),
        inner("IOPool._acquire_new_later", connections.new_connection),
        inner("RoutedBoltPool.ensure_routing_table_is_fresh", connections.discovering),
        inner("RoutedBoltPool.update_routing_table", connections.discovering),
        inner("Neo4jPool.ensure_routing_table_is_fresh", connections.discovering),
        inner("Neo4jPool.update_routing_table", connections.discovering),
    )


PATCH = Patch(
    name="neo4j",
    versions={"neo4j": ("5.20", "7")},
    options=Neo4jOptions,
    targets=(
        *_targets(""),
        *_targets("Async"),
        Wrap("neo4j", "AsyncSession._handle_cancellation", calls.session_killed),
        *connections.SOCKETS,
    ),
    records=(
        names.DB_SYSTEM_NAME,
        names.DB_NAMESPACE,
        names.DB_QUERY_SUMMARY,
        names.DB_QUERY_TEXT,
        names.DB_OPERATION_NAME,
        names.DB_QUERY_PARAMETER,
        names.DB_RESPONSE_RETURNED_ROWS,
        names.DB_RESPONSE_STATUS_CODE,
        names.SERVER_ADDRESS,
        names.SERVER_PORT,
        names.CAUSAL_ATTEMPTS,
        names.CAUSAL_CONNECT,
        names.CAUSAL_CONNECT_DNS,
        names.CAUSAL_CONNECT_TLS,
        names.CAUSAL_DISCOVERY,
        names.CAUSAL_FETCH,
        names.CAUSAL_NEO4J_CONSTRAINTS_ADDED,
        names.CAUSAL_NEO4J_CONSTRAINTS_REMOVED,
        names.CAUSAL_NEO4J_INDEXES_ADDED,
        names.CAUSAL_NEO4J_INDEXES_REMOVED,
        names.CAUSAL_NEO4J_LABELS_ADDED,
        names.CAUSAL_NEO4J_LABELS_REMOVED,
        names.CAUSAL_NEO4J_NODES_CREATED,
        names.CAUSAL_NEO4J_NODES_DELETED,
        names.CAUSAL_NEO4J_NOTIFICATIONS,
        names.CAUSAL_NEO4J_PROPERTIES_SET,
        names.CAUSAL_NEO4J_QUERY_TYPE,
        names.CAUSAL_NEO4J_RELATIONSHIPS_CREATED,
        names.CAUSAL_NEO4J_RELATIONSHIPS_DELETED,
        names.CAUSAL_NEO4J_SYSTEM_UPDATES,
        names.CAUSAL_POOL_SIZE,
        names.CAUSAL_POOL_WAIT,
        names.CAUSAL_POOL_WAITING,
        names.CAUSAL_QUERY_TRUNCATED,
        names.CAUSAL_RETRY_WAIT,
        names.CAUSAL_SERVER,
        names.ERROR_TYPE,
        names.CAUSAL_CANCELLED,
        names.CAUSAL_ABANDONED,
    ),
    never=(
        "values in statements (each string and number is `?`, in maps too) and comments",
        "parameters, unless the option `parameters` says so",
        "records",
        "the user, the password and tokens",
        "the server's error message (its code is recorded), and the texts of its notifications",
    ),
    metrics={SpanKind.CLIENT: DATABASE_CLIENT},
    pools=True,
)
