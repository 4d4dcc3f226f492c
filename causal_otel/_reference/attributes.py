"""``docs/reference/attributes.md``: the attributes that no convention names, and the options that every patch has."""

from __future__ import annotations

from causal_otel._reference.patches import link, options_table
from causal_otel.causality.recorded import RECORDED
from causal_otel.instrument.options import ClientOptions, DatabaseOptions, Options
from causal_otel.instrument.registry import BUILT_IN
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_ATTEMPTS,
    CAUSAL_BLOCK_CALLBACKS,
    CAUSAL_BLOCK_CPU,
    CAUSAL_BLOCK_FRAME,
    CAUSAL_BLOCK_GC,
    CAUSAL_BLOCK_GIL,
    CAUSAL_BLOCK_LEFT_OUT,
    CAUSAL_BLOCK_STARVED,
    CAUSAL_BLOCK_THREAD,
    CAUSAL_BLOCK_WAIT,
    CAUSAL_BYTES_RECEIVED,
    CAUSAL_BYTES_SENT,
    CAUSAL_CANCELLED,
    CAUSAL_CODE_ORIGIN,
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_PROXY,
    CAUSAL_CONNECT_TLS,
    CAUSAL_CPU,
    CAUSAL_DISCOVERY,
    CAUSAL_FETCH,
    CAUSAL_FIRST_BYTE,
    CAUSAL_GC,
    CAUSAL_LOCK_ACQUIRED,
    CAUSAL_LOCK_HOLDER,
    CAUSAL_LOCK_KIND,
    CAUSAL_LOCK_SIZE,
    CAUSAL_LOCK_WAIT,
    CAUSAL_LOCK_WAITING,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_LOOP_READY_WAIT,
    CAUSAL_MESSAGES_RECEIVED,
    CAUSAL_MESSAGES_SENT,
    CAUSAL_NEO4J_CONSTRAINTS_ADDED,
    CAUSAL_NEO4J_CONSTRAINTS_REMOVED,
    CAUSAL_NEO4J_INDEXES_ADDED,
    CAUSAL_NEO4J_INDEXES_REMOVED,
    CAUSAL_NEO4J_LABELS_ADDED,
    CAUSAL_NEO4J_LABELS_REMOVED,
    CAUSAL_NEO4J_NODES_CREATED,
    CAUSAL_NEO4J_NODES_DELETED,
    CAUSAL_NEO4J_NOTIFICATIONS,
    CAUSAL_NEO4J_PROPERTIES_SET,
    CAUSAL_NEO4J_QUERY_TYPE,
    CAUSAL_NEO4J_RELATIONSHIPS_CREATED,
    CAUSAL_NEO4J_RELATIONSHIPS_DELETED,
    CAUSAL_NEO4J_SYSTEM_UPDATES,
    CAUSAL_OPEN,
    CAUSAL_ORM_ORIGIN,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_PREFETCH_WAIT,
    CAUSAL_PROFILE,
    CAUSAL_PROFILE_PERIOD,
    CAUSAL_PROFILE_SAMPLES,
    CAUSAL_QUERY_TRUNCATED,
    CAUSAL_QUEUE_WAIT,
    CAUSAL_RECEIVE,
    CAUSAL_RETRY_WAIT,
    CAUSAL_ROUND_TRIPS,
    CAUSAL_SEND,
    CAUSAL_SERVER,
    CAUSAL_TASK,
    CAUSAL_TASK_NAME,
    CAUSAL_TASK_UNAWAITED,
    CAUSAL_TASK_WAITER,
    CAUSAL_THREADPOOL_WAIT,
    CAUSAL_WEBSOCKET_CLOSE_CODE,
    CAUSAL_WEBSOCKET_CLOSED_BY,
)

__all__ = ["OURS", "reference"]

_INTRODUCTION = """\
# Spans and attributes

Written by `make docs`; do not edit.

Which spans a patch makes, and which attributes they have, is on its page: {patches}. Names are those of OpenTelemetry's
[semantic conventions](https://opentelemetry.io/docs/specs/semconv/), whose pages explain them. Where there is no
convention, names begin with `causal.`, for tasks of Celery with `celery.`, and of taskiq with
`taskiq.`.

[Privacy](privacy.md) lists what is never recorded.

## Attributes of ours

| attribute | type | set by | what it says |
|---|---|---|---|
"""

_NOT_YET = """
The parts of a span's time (`causal.pool.wait`, `causal.connect`, `causal.server` and the like) are in seconds. They are
recorded from one millisecond on, lie inside the span, and never add up to more than it. What is left is the driver's
own work and the event loop's. `causal.connect.dns` and `causal.connect.tls` are parts of `causal.connect`, and
`causal.queue.wait` and `causal.threadpool.wait` lie before the span; the latter is on spans of any patch, and of yours.
On those of `asgi` it lies inside: they wait for the thread themselves. `causal.lock.wait` is on any span as well.
The collector, its pages and `causal-otel trace` show them, and `causal.loop.blocked`, which no patch of ours sets, on
spans that have it.

A span that was started inside `causal_otel.detached()` has a link to the trace that was left. The link's attribute
`causal.link` is `detached`. On a link to what had the lock that was waited for it is `holder`. On links between tasks
of Celery it is their role: see [Follow tasks](../how-to/celery.md).

## Options of every patch

`install(patches={"asyncpg": AsyncpgOptions(...)})` takes them. Each patch's page says what it adds. Patches for
clients have `require_parent` and `slow_plumbing` as well, those for databases the three after it.

"""

_SECONDS = "double, seconds"

OURS = {
    CAUSAL_ABANDONED: ("bool", "Nobody waited for the end: a stream or a result was dropped before it was read."),
    CAUSAL_ATTEMPTS: ("int", "How many times the driver tried."),
    CAUSAL_BLOCK_CALLBACKS: ("int", "How many callbacks blocked the loop together, none of which took long alone."),
    CAUSAL_BLOCK_CPU: (_SECONDS, "Of a stall: the loop's thread computed."),
    CAUSAL_BLOCK_FRAME: ("string", "What blocked the loop: the user's deepest own frame."),
    CAUSAL_BLOCK_GC: (_SECONDS, "Of `causal.block.cpu`: the loop's thread collected garbage."),
    CAUSAL_BLOCK_GIL: (_SECONDS, "Of a stall: the loop's thread waited for the GIL; an estimate."),
    CAUSAL_BLOCK_LEFT_OUT: ("int", "How many stalls before this one were not recorded, because there were too many."),
    CAUSAL_BLOCK_STARVED: (_SECONDS, "Of a stall: the loop's thread was ready to run, and no CPU was free."),
    CAUSAL_BLOCK_THREAD: ("string", "The thread that held the GIL, where that is what blocked the loop."),
    CAUSAL_BLOCK_WAIT: (_SECONDS, "Of a stall: the loop's thread waited in a call that blocks."),
    CAUSAL_BYTES_RECEIVED: ("int", "Bytes of the messages that came over a websocket."),
    CAUSAL_BYTES_SENT: ("int", "Bytes of the messages that were sent over a websocket, or chunks of a stream."),
    CAUSAL_CANCELLED: ("bool", "The operation was cancelled. The status stays unset: that is no error."),
    CAUSAL_CODE_ORIGIN: (
        "string",
        "The line of the application's own code that issued the operation, with `code_origin` only.",
    ),
    CAUSAL_CONNECT: (_SECONDS, "Making a connection: name lookup, TCP, TLS and the login together."),
    CAUSAL_CONNECT_DNS: (_SECONDS, "Of `causal.connect`: looking up a name."),
    CAUSAL_CONNECT_PROXY: (_SECONDS, "Of `causal.connect`: asking a proxy for a tunnel."),
    CAUSAL_CONNECT_TLS: (_SECONDS, "Of `causal.connect`: negotiating TLS."),
    CAUSAL_CPU: (
        _SECONDS,
        "The threads that worked for it computed: its own steps, and functions that it ran in threads.",
    ),
    CAUSAL_DISCOVERY: (_SECONDS, "Asking which server to talk to: a cluster, Sentinel, a routing table."),
    CAUSAL_FETCH: (_SECONDS, "How long the program waited for records or chunks after the call had returned."),
    CAUSAL_FIRST_BYTE: (
        _SECONDS,
        "Until the application began to answer, if its response took a millisecond or more: a moment, and no part.",
    ),
    CAUSAL_GC: (_SECONDS, "The process collected garbage, on local roots: nothing else of it ran meanwhile."),
    CAUSAL_LOCK_ACQUIRED: (
        "bool",
        "Whether a lock in Redis, or one that a thread waited for, was had; false: waiting for it was given up.",
    ),
    CAUSAL_LOCK_HOLDER: ("string", "The name of the task that held the lock when the wait began."),
    CAUSAL_LOCK_KIND: ("string", "What was waited for, such as `asyncio.Lock`, `asyncio.Queue.get`, `threading.Lock`."),
    CAUSAL_LOCK_SIZE: ("int", "How many may hold it at a time, or how many items the queue takes."),
    CAUSAL_LOCK_WAIT: (_SECONDS, "Until a lock, an item or room in a queue was had, or waiting for it was given up."),
    CAUSAL_LOCK_WAITING: ("int", "How many others waited for it when this wait began."),
    CAUSAL_LOOP_BLOCKED: (_SECONDS, "The event loop that it ran on was stuck, whoever blocked it."),
    CAUSAL_LOOP_READY_WAIT: (_SECONDS, "It could have gone on, and waited for its turn on the event loop."),
    CAUSAL_MESSAGES_RECEIVED: ("int", "How many messages came over a websocket."),
    CAUSAL_MESSAGES_SENT: ("int", "How many messages were sent over a websocket, or chunks of a stream."),
    CAUSAL_NEO4J_CONSTRAINTS_ADDED: ("int", "How many constraints a query has created, if any."),
    CAUSAL_NEO4J_CONSTRAINTS_REMOVED: ("int", "How many constraints a query has dropped, if any."),
    CAUSAL_NEO4J_INDEXES_ADDED: ("int", "How many indexes a query has created, if any."),
    CAUSAL_NEO4J_INDEXES_REMOVED: ("int", "How many indexes a query has dropped, if any."),
    CAUSAL_NEO4J_LABELS_ADDED: ("int", "How many labels a query has given to nodes, if any."),
    CAUSAL_NEO4J_LABELS_REMOVED: ("int", "How many labels a query has taken from nodes, if any."),
    CAUSAL_NEO4J_NODES_CREATED: ("int", "How many nodes a query has created, if any."),
    CAUSAL_NEO4J_NODES_DELETED: ("int", "How many nodes a query has deleted, if any."),
    CAUSAL_NEO4J_NOTIFICATIONS: ("strings", "The codes of what the server found odd in a query."),
    CAUSAL_NEO4J_PROPERTIES_SET: ("int", "How many properties a query has set, if any."),
    CAUSAL_NEO4J_QUERY_TYPE: (
        "string",
        "`r`, `w`, `rw` or `s`: whether a query has read, written, both, or changed the schema.",
    ),
    CAUSAL_NEO4J_RELATIONSHIPS_CREATED: ("int", "How many relationships a query has created, if any."),
    CAUSAL_NEO4J_RELATIONSHIPS_DELETED: ("int", "How many relationships a query has deleted, if any."),
    CAUSAL_NEO4J_SYSTEM_UPDATES: ("int", "How many changes of the system database a query has made, if any."),
    CAUSAL_OPEN: ("bool", "The span says nothing but that its parent, a connection, was open for that time."),
    CAUSAL_ORM_ORIGIN: (
        "string",
        "What made an ORM issue the statement: the relationship that was loaded, or the entity that was queried.",
    ),
    CAUSAL_POOL_SETUP: (
        _SECONDS,
        "The pool's own hooks, which prepare a connection before it is handed out or after it is given back.",
    ),
    CAUSAL_POOL_SIZE: ("int", "How many connections the pool may have."),
    CAUSAL_POOL_WAIT: (_SECONDS, "Until the pool had a free connection."),
    CAUSAL_POOL_WAITING: ("int", "How many others waited for a connection of the pool when this wait began."),
    CAUSAL_PREFETCH_WAIT: (
        _SECONDS,
        "The part of `causal.queue.wait` after a worker had received the task: it held it, and was busy.",
    ),
    CAUSAL_PROFILE: (
        "string",
        "What ran in the span's own time, with `profiling` only: a stack a line, and how many samples had it.",
    ),
    CAUSAL_PROFILE_PERIOD: (_SECONDS, "From one sample of `causal.profile` to the next, in the mean."),
    CAUSAL_PROFILE_SAMPLES: ("int", "How many samples were taken, with those that `causal.profile` has no room for."),
    CAUSAL_QUERY_TRUNCATED: ("bool", "`db.query.text` is the beginning of a longer statement."),
    CAUSAL_QUEUE_WAIT: (
        _SECONDS,
        "From when a task could run (it was sent, or its eta) until it did, by the clocks of two machines.",
    ),
    CAUSAL_RECEIVE: (_SECONDS, "The application waited for the request's body, before it began to answer."),
    CAUSAL_RETRY_WAIT: (_SECONDS, "The driver's pauses between two attempts."),
    CAUSAL_ROUND_TRIPS: ("int", "How many times a cursor asked the server for rows."),
    CAUSAL_SEND: (_SECONDS, "The application waited until the server took what it sent: the client reads slowly."),
    CAUSAL_SERVER: (_SECONDS, "The server worked, as far as the driver can tell: see the patch."),
    CAUSAL_TASK: ("int", "The number of the asyncio task that it ran in, if that is not its local root's, which is 1."),
    CAUSAL_TASK_NAME: ("string", "The name that the program has given the asyncio task."),
    CAUSAL_TASK_UNAWAITED: ("bool", "Nobody waited for the asyncio task whose last span it is."),
    CAUSAL_TASK_WAITER: ("int", "The number of the asyncio task that waited for its own when the span ended."),
    CAUSAL_THREADPOOL_WAIT: (_SECONDS, "Until a thread was free: see the patch."),
    CAUSAL_WEBSOCKET_CLOSE_CODE: ("int", "The code with which a websocket was closed (RFC 6455)."),
    CAUSAL_WEBSOCKET_CLOSED_BY: ("string", "Who has closed a websocket, `server` or `client`."),
}
"""The attributes that no convention names: type, and what they say."""


def reference() -> str:
    """The page, in Markdown."""
    patches = {name: registered.load() for name, registered in BUILT_IN.items()}
    page = _INTRODUCTION.format(patches=", ".join(f"[{name}]({link(name)})" for name in patches))
    own = {key for patch in patches.values() for key in patch.records if key.startswith("causal.")}
    for key in sorted(own.union(RECORDED)):
        kind, meaning = OURS[key]
        users = ", ".join(f"[`{name}`]({link(name)})" for name, patch in patches.items() if key in patch.records)
        if key in RECORDED:
            users = f"any span, {users}" if users else "any span"
        page += f"| `{key}` | {kind} | {users} | {meaning} |\n"
    return page + _NOT_YET + options_table(Options, ClientOptions, DatabaseOptions)
