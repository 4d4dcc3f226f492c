"""redis-py: commands and pipelines of the synchronous and asyncio clients, alone, behind Sentinel and in a cluster.

One CLIENT span for each command, for each pipeline that holds any, and for each lock that is taken
(``Lock.acquire()``), retries and redirections included. Not traced: what sets a connection up (``HELLO``, ``AUTH``,
``SELECT``, health checks), what finds servers (Sentinel's and a cluster's discovery), checking a pipeline's scripts,
the commands by which a lock is asked for, and what a cluster's transaction sends between ``WATCH`` and ``MULTI``; and
commands that are excluded. Where one of these fails, so does the command that needs it.

What belongs to no command is a CLIENT span only if it fails or, inside a span, is slow: ``SUBSCRIBE`` and the like,
``MONITOR``, ``DISCOVER`` (``sentinel.discover_master()``), ``CONNECT`` (a client with a single connection, and a
cluster's nodes), and ``CLOSE`` (the connections of a pool, as closing a client does, and of a cluster); and ``RECEIVE``
(waiting for a message of pub/sub) only if it fails, not if it is cancelled.

Outside any span an operation is a trace of its own. These are recorded inside a span only, whether they fail or not:
what concerns the connection (``PING``, ``ECHO``, ``HELLO``, ``AUTH``, ``SELECT``, ``CLIENT *`` and the like), waits for
work (blocking pops, ``XREAD`` and ``XREADGROUP`` with ``BLOCK``, ``WAIT``), pub/sub's ``SUBSCRIBE`` and ``RECEIVE``,
``MONITOR``, pipelines of nothing else, and whatever Celery's broker and its result backend do through the connections
that they have made since ``install()``. With the patch of Celery these two are not recorded inside a span either, the
result backend unless its ``result_backend`` is set.

What listens is no part of the request in which it began: handlers under ``run_in_thread()`` and asyncio's ``run()``,
and push handlers, begin traces of their own. With ``consumer_spans`` each message of pub/sub is a CONSUMER span.

Span names are ``db.operation.name``, with no target: the convention keeps the database's number out of names, and a
host says little. That is a command of Redis as documented, two words where it has two (``CLIENT LIST``), whatever its
spelling, and ``OTHER`` where the word is none: what a caller passes as a command may be anything. A pipeline is
``PIPELINE SET`` or ``MULTI SET`` where all of it is ``SET``, else ``PIPELINE`` or ``MULTI``; taking a lock is ``LOCK``.

Attributes: ``db.system.name``, ``db.namespace`` (the database's number), ``db.operation.name``, ``db.query.text`` (each
argument as ``?``, keys too unless ``keys`` is set), ``db.operation.batch.size``, ``db.stored_procedure.name`` (a
script's SHA-1, a function's name), ``server.address`` and ``server.port`` (behind Sentinel and in a cluster those of
the node that answered, the last one if there were redirections; none if several nodes carried the operation out), and
on failure ``error.type`` and ``db.response.status_code`` (the prefix of the server's error). The server's message is
not recorded: it repeats arguments. Nor is how many rows a reply has: replies are no rows, says the convention.

Where the time went, in seconds, from a millisecond on: ``causal.pool.wait`` (a ``BlockingConnectionPool`` without a
free connection, with ``causal.pool.size`` and ``causal.pool.waiting``), ``causal.connect`` (name lookup, TCP, TLS,
``HELLO``, ``AUTH`` and ``SELECT`` together; in the synchronous half ``causal.connect.dns`` and ``.tls`` of it as well),
``causal.discovery``, ``causal.retry.wait`` with ``causal.attempts`` (connecting counted too), ``causal.lock.wait`` of a
lock that was somebody else's, with ``causal.lock.acquired``, and ``causal.server``: all the rest, which is the server
and the way there. The pauses of a cluster that is down or moves what is asked for are ``causal.retry.wait``, too.

Not errors: a changed watched key (``WatchError``; it is the event ``causal.transaction.rolled_back`` of the span that
is current), a lock that was not had in time, a blocking pop that found nothing, and the ``NOSCRIPT`` that makes a
script object or a lock load its script. A failed command in a pipeline is one, raised or returned.

Metrics: ``db.client.operation.duration`` of each operation, but not of those that are recorded inside a span only; and
``db.client.connection.*`` of each pool, but not of the nodes of asyncio's clusters, which have none.

Options: :class:`RedisOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from causal_otel.instrument.options import DatabaseOptions
from causal_otel.patches.redis.declaration import patch

__all__ = ["PATCH", "RedisOptions"]


@dataclass(frozen=True, kw_only=True)
class RedisOptions(DatabaseOptions):
    """Options of the redis patch; see :class:`~causal_otel.instrument.options.DatabaseOptions`.

    The hooks are called with the span, the client, the words of the command (``("SET", "key", 1)``) and the options
    that redis-py has for it. For a pipeline it is the pipeline, and the arguments of its ``execute()``: its commands
    are still in it when ``request_hook`` is called, and ``response_hook`` is given the list of replies, errors among
    them where ``execute()`` was told not to raise. For a lock it is the lock, and the arguments of its ``acquire()``;
    for a message the subscription, and the response as it was read. Commands in a pipeline, and what a cluster's
    operation or a lock consists of, have no calls of their own.

    Args:
        excluded: names, such as ``PING``, ``CLIENT *``, ``PIPELINE*``, or texts, such as ``INFO ?``; both as a trace
            shows them, in any case. A pipeline is one operation: none of its commands is looked at.
        keys: whether ``db.query.text`` shows keys, each cut to 64 characters. Every other argument is ``?`` in any
            case, and keys are too for commands of modules. It costs 3 µs a command, because each has a text of its own.
        consumer_spans: whether a message of pub/sub is a CONSUMER span, named after the channel or the pattern of the
            subscription: ``process …`` around its handler, whose work is inside; ``receive …``, which takes no time,
            where there is none.
        parameters: must be False. A command of Redis has no parameters beside its text: ``keys`` shows keys, and
            values are never recorded.
        traceparent: must be False. Redis logs nothing of a client that it would understand as one.
    """

    keys: bool = False
    consumer_spans: bool = False

    def __post_init__(self) -> None:
        """Refuse what Redis has no place for.

        Raises:
            ValueError: ``parameters`` or ``traceparent`` is true.
        """
        if self.parameters:
            raise ValueError("parameters: a command of Redis has none; keys=True shows keys, values are never recorded")
        if self.traceparent:
            raise ValueError("traceparent: Redis has no place for it")


PATCH = patch("redis", ("5", "9"), RedisOptions)
