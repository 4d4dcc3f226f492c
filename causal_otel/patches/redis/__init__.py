"""redis-py: commands and pipelines of the synchronous and asyncio clients, alone, behind Sentinel and in a cluster.

One CLIENT span for each command and for each pipeline that holds any, retries and cluster redirections included. Not
traced: what sets a connection up (``HELLO``, ``AUTH``, ``SELECT``, health checks), what finds servers (Sentinel's and
a cluster's discovery), checking a pipeline's scripts, and what a cluster's transaction sends between ``WATCH`` and
``MULTI``; and commands that are excluded. Where one of these fails, so does the command that needs it.

What belongs to no command is a CLIENT span only if it fails: ``SUBSCRIBE`` and the like, ``RECEIVE`` (waiting for a
message of pub/sub; not if it is cancelled), ``MONITOR``, ``DISCOVER`` (``sentinel.discover_master()``), and ``CONNECT``
(a client with a single connection, and a cluster's nodes).

Outside any span an operation is a trace of its own. These are recorded inside a span only, whether they fail or not:
what concerns the connection (``PING``, ``ECHO``, ``HELLO``, ``AUTH``, ``SELECT``, ``CLIENT *`` and the like), waits for
work (blocking pops, ``XREAD`` and ``XREADGROUP`` with ``BLOCK``, ``WAIT``), pub/sub's ``SUBSCRIBE`` and ``RECEIVE``,
``MONITOR``, pipelines of nothing else, and whatever Celery's broker and its result backend do through the connections
that they have made since ``install()``.

Span names are ``db.operation.name``, with no target: the convention keeps the database's number out of names, and a
host says little. That is a command of Redis as documented, two words where it has two (``CLIENT LIST``), whatever its
spelling, and ``OTHER`` where the word is none: what a caller passes as a command may be anything. A pipeline is
``PIPELINE SET`` or ``MULTI SET`` where all of it is ``SET``, else ``PIPELINE`` or ``MULTI``.

Attributes: ``db.system.name``, ``db.namespace`` (the database's number), ``db.operation.name``, ``db.query.text`` (each
argument as ``?``, keys too), ``db.operation.batch.size``, ``db.stored_procedure.name`` (a script's SHA-1, a function's
name), ``server.address`` and ``server.port`` (behind Sentinel the master, once it is known; in a cluster the node, if
no more than one was asked), and on failure ``error.type`` and ``db.response.status_code`` (the prefix of the server's
error). The server's message is not recorded: it repeats arguments.

Not errors: a changed watched key (``WatchError``), a blocking pop that found nothing, and the ``NOSCRIPT`` that makes a
script object or a lock load its script. A failed command in a pipeline is one, raised or returned.

Metrics: ``db.client.operation.duration`` of each operation, but not of those that are recorded inside a span only.

Options: :class:`RedisOptions`.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key
from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.calls import (
    Args,
    Describe,
    Kwargs,
    Wrapper,
    client_call,
    excluded_call,
    inside,
    suppressed,
    traced_call,
)
from causal_otel.instrument.declaration import Patch, Wrap
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.conventions import DATABASE_CLIENT
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_CANCELLED,
    DB_NAMESPACE,
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_QUERY_TEXT,
    DB_RESPONSE_STATUS_CODE,
    DB_STORED_PROCEDURE_NAME,
    DB_SYSTEM_NAME,
    ERROR_TYPE,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.patches.redis.background import MAY_BLOCK, POOLS, blocks, is_background, is_housekeeping
from causal_otel.patches.redis.errors import RAISED, RETURNED, code, handling_noscript
from causal_otel.patches.redis.plumbing import targets
from causal_otel.statements.redis import MAX_SHOWN, OTHER, command, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


__all__ = ["PATCH", "RedisOptions"]

_DEFAULT_PORT = 6379
_CACHED = 1024  # kinds of operation: command, number of arguments, server


@dataclass(frozen=True, kw_only=True)
class RedisOptions(ClientOptions):
    """Options of the redis patch; see :class:`~causal_otel.instrument.options.ClientOptions`.

    The hooks are called with the span, the client, the words of the command (``("SET", "key", 1)``) and the options
    that redis-py has for it. For a pipeline it is the pipeline, and the arguments of its ``execute()``: its commands
    are still in it when ``request_hook`` is called, and ``response_hook`` is given the list of replies, errors among
    them where ``execute()`` was told not to raise. Commands in a pipeline, and what a cluster's operation consists of,
    have no calls of their own.

    Args:
        excluded: names, such as ``PING``, ``CLIENT *``, ``PIPELINE*``, or texts, such as ``INFO ?``; both as a trace
            shows them, in any case. A pipeline is one operation: none of its commands is looked at.
    """


# -- attributes ---------------------------------------------------------------------------------------------------

_Endpoint = tuple[Any, Any, Any, bool]
"""Database, host or socket, and port, None where unknown; and whether Celery uses it on its own account."""

_PROCEDURES = {"EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"}
_PROCEDURE = re.compile(r"\w{1,64}", re.ASCII)


def _endpoint(client: Any) -> _Endpoint:
    """The endpoint of a client, a pipeline or whatever else has a pool of connections."""
    pool = getattr(client, "connection_pool", None)
    if pool is None:  # a cluster: the node is known later
        settings = getattr(getattr(client, "nodes_manager", None), "connection_kwargs", {})
        return settings.get("db", 0), None, None, False
    housekeeping = is_housekeeping(pool)
    settings = getattr(pool, "connection_kwargs", None)
    if settings is None:
        return None, None, None, housekeeping
    database = settings.get("db", 0)
    if "path" in settings:
        return database, settings["path"], None, housekeeping
    if "connection_pool" in settings:  # Sentinel's, which connects to whoever is the master
        return database, *(getattr(pool, "master_address", None) or (None, None)), housekeeping
    return database, settings.get("host", "localhost"), settings.get("port", _DEFAULT_PORT), housekeeping


def _address(host: Any, port: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if host is not None:
        attributes[SERVER_ADDRESS] = host
        if port is not None and int(port) != _DEFAULT_PORT:
            attributes[SERVER_PORT] = int(port)
    return attributes


@functools.lru_cache(_CACHED)
def _operation(
    name: str, arguments: int, endpoint: _Endpoint, procedure: str = "", background: bool = False
) -> Operation:
    database, host, port, housekeeping = endpoint
    attributes: dict[str, Any] = {DB_SYSTEM_NAME: "redis", DB_OPERATION_NAME: name, **_address(host, port)}
    if database is not None:
        attributes[DB_NAMESPACE] = str(database)
    if arguments >= 0:
        attributes[DB_QUERY_TEXT] = text(name, arguments)
    if procedure:
        attributes[DB_STORED_PROCEDURE_NAME] = procedure
    return Operation(name, attributes, background=background or housekeeping or is_background(name))


def _describe_command(
    tracing: Tracing[RedisOptions], client: Any, args: Sequence[Any], kwargs: Any
) -> Operation | None:
    """A command sent by a client, or by a pipeline that is watching keys."""
    if not args:
        return None  # the driver is about to say so
    name, arguments = command(args)
    arguments = -1 if name is OTHER else min(arguments, MAX_SHOWN + 1)
    if name in _PROCEDURES and len(args) > 1:
        procedure = args[1].decode("latin-1") if isinstance(args[1], bytes) else args[1]
        if isinstance(procedure, str) and _PROCEDURE.fullmatch(procedure):
            return _operation(name, arguments, _endpoint(client), procedure)
    if name in MAY_BLOCK and blocks(args):
        return _operation(name, arguments, _endpoint(client), background=True)
    return _operation(name, arguments, _endpoint(client))


def _describe_pipeline(tracing: Tracing[RedisOptions], pipeline: Any, args: Any, kwargs: Any) -> Operation | None:
    """A pipeline being executed."""
    size = len(pipeline)
    if not size:
        return None  # it sends nothing, or at most an EXEC to end a WATCH
    commands = _queue(pipeline)
    name = "MULTI" if _is_transaction(pipeline) else "PIPELINE"
    names = {command((spelling,))[0] for spelling in {queued[0] for queued in commands}}
    if len(names) == 1:
        (only,) = names
        name = f"{name} {only}"
    own: dict[str, Any] = {}
    if size > 1:
        own[DB_OPERATION_BATCH_SIZE] = size
    if commands:
        texts = [text(*command(queued)) for queued in commands[:MAX_SHOWN]]
        own[DB_QUERY_TEXT] = "; ".join(texts) + ("; ..." if size > MAX_SHOWN else "")
    background = bool(names) and all(map(is_background, names))
    return _operation(name, -1, _endpoint(pipeline), background=background).of_this_call(own)


def _queue(pipeline: Any) -> list[Sequence[Any]]:
    """The commands of a pipeline; none where a version keeps them elsewhere."""
    keeper = getattr(pipeline, "_execution_strategy", pipeline)  # of a cluster, since 6.0
    for attribute in ("_command_queue", "_command_stack", "command_stack"):
        queue = getattr(keeper, attribute, None)
        if queue is not None:
            return [queued[0] if isinstance(queued, tuple) else queued.args for queued in queue]
    return []


def _is_transaction(pipeline: Any) -> bool:
    strategy = getattr(pipeline, "_execution_strategy", None)
    if strategy is not None:
        return type(strategy).__name__ == "TransactionStrategy"
    # A method of the clients is called transaction as well, and asyncio's pipelines inherit it.
    flag = getattr(pipeline, "is_transaction", getattr(pipeline, "transaction", False))
    return bool(getattr(pipeline, "explicit_transaction", False) or (flag and not callable(flag)))


# -- wrappers -----------------------------------------------------------------------------------------------------

_NODES = create_key("causal-otel-redis-nodes")


class _Routed:
    """A cluster's operation: its parts make no spans of their own, and the node is noted.

    Args:
        running: the operation.
    """

    args: Args | None = None

    def __init__(self, running: Running) -> None:
        self._running = running
        self._nodes: set[tuple[Any, Any]] = set()
        self.inside: Context | None = Context({**context.suppressed_context(), _NODES: self._nodes})

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The operation is over."""
        if len(self._nodes) == 1:
            self._running.learn(_address(*self._nodes.pop()))
        self._running.end(result, error)


class _RoutedPipeline(_Routed):
    """A cluster's pipeline."""

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The pipeline has been executed."""
        _find_failure(self._running, result)
        super().end(result, error)


class _Pipeline:
    """The execution of a pipeline.

    Args:
        running: the operation.
    """

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, running: Running) -> None:
        self._running = running

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The pipeline has been executed."""
        _find_failure(self._running, result)
        self._running.end(result, error)


def _find_failure(running: Running, results: Any) -> None:
    """Record the first error that a pipeline returns among its results, as it does if it is told not to raise."""
    failure = next((each for each in results or () if isinstance(each, Exception)), None)
    if failure is not None:
        running.failed(failure, RETURNED)


def _note_node(node: Any) -> None:
    try:
        nodes = context.current().get(_NODES)
        if isinstance(nodes, set):
            nodes.add((node.host, node.port))
    except Exception:
        faults.report("redis: node of a cluster")


def _noting_argument(tracing: Tracing[RedisOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a synchronous cluster that gives the client of a node."""

    @functools.wraps(original)
    def get_redis_connection(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        _note_node(args[0] if args else kwargs.get("node"))
        return original(self, *args, **kwargs)

    return get_redis_connection


def _noting_self(tracing: Tracing[RedisOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For a method of an asyncio cluster's node."""

    @functools.wraps(original)
    async def execute(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        _note_node(self)
        return await original(self, *args, **kwargs)

    return execute


def _call(describe: Describe, call: Callable[[Running], Any]) -> Wrapper:
    def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        operation = describe(tracing, instance, args, kwargs)
        if operation is None:
            return None
        if tracing.excluded is not None and operation.fits(tracing.excluded):
            return excluded_call(tracing)
        running = tracing.leaf(operation, RAISED, (instance, args, kwargs))
        return None if running is None else call(running)

    return traced_call(begin)


_script = inside(handling_noscript)
_traced_command = client_call(_describe_command, RAISED)
_traced_pipeline = _call(_describe_pipeline, _Pipeline)
_traced_cluster_command = _call(_describe_command, _Routed)
_traced_cluster_pipeline = _call(_describe_pipeline, _RoutedPipeline)


def _of_both(module: str, attribute: str, wrap: Any) -> tuple[Wrap, Wrap]:
    """The targets of a name that the synchronous and the asyncio half of redis-py share."""
    return Wrap(f"redis.{module}", attribute, wrap), Wrap(f"redis.asyncio.{module}", attribute, wrap)


PATCH = Patch(
    name="redis",
    versions={"redis": ("5", "9")},
    options=RedisOptions,
    targets=(
        *_of_both("client", "Redis.execute_command", _traced_command),
        *_of_both("client", "Pipeline.immediate_execute_command", _traced_command),
        *_of_both("client", "Pipeline.execute", _traced_pipeline),
        *_of_both("client", "Pipeline.load_scripts", suppressed),
        *_of_both("cluster", "RedisCluster.execute_command", _traced_cluster_command),
        *_of_both("cluster", "ClusterPipeline.execute", _traced_cluster_pipeline),
        Wrap("redis.cluster", "RedisCluster.get_redis_connection", _noting_argument),
        Wrap("redis.asyncio.cluster", "ClusterNode.execute_command", _noting_self),
        Wrap("redis.asyncio.cluster", "ClusterNode.execute_pipeline", _noting_self),
        Wrap("redis._parsers.commands", "CommandsParser.initialize", suppressed),
        Wrap("redis._parsers.commands", "CommandsParser._get_moveable_keys", suppressed),
        *_of_both("sentinel", "Sentinel.discover_slaves", suppressed),
        Wrap("redis.commands.core", "Script.__call__", _script),
        Wrap("redis.commands.core", "AsyncScript.__call__", _script),
        *POOLS,
        *targets(_describe_command, lambda name, instance: _operation(name, -1, _endpoint(instance)), code),
    ),
    records=(
        DB_SYSTEM_NAME,
        DB_NAMESPACE,
        DB_OPERATION_NAME,
        DB_OPERATION_BATCH_SIZE,
        DB_QUERY_TEXT,
        DB_STORED_PROCEDURE_NAME,
        DB_RESPONSE_STATUS_CODE,
        SERVER_ADDRESS,
        SERVER_PORT,
        ERROR_TYPE,
        CAUSAL_CANCELLED,
        CAUSAL_ABANDONED,
    ),
    never=(
        "keys and values: each argument is `?`",
        "words that are no command of Redis (`OTHER`)",
        "replies",
        "scripts (their SHA-1 is recorded)",
        "the URL, the user and the password",
        "the server's error message (its prefix is recorded)",
    ),
    metrics={SpanKind.CLIENT: DATABASE_CLIENT._replace(rows=None)},
)
