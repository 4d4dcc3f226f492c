"""What a call of a client of Redis is: a command, a pipeline, or something named otherwise.

Everything that calls of a kind have in common is described once, for a bounded number of kinds. Of a command that is
its name, how many arguments it has and its server; of a pipeline the same of its commands.
"""

from __future__ import annotations

import functools
import re
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.operation import Operation
from causal_otel.names import (
    DB_NAMESPACE,
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_QUERY_TEXT,
    DB_STORED_PROCEDURE_NAME,
    DB_SYSTEM_NAME,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.patches.redis.background import HOUSEKEEPING, MAY_BLOCK, blocks, is_background
from causal_otel.statements.redis import COMPLETE, MAX_SHOWN, OTHER, command, text, text_with_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from causal_otel.instrument.calls import Args, Describe, Kwargs
    from causal_otel.instrument.tracing import Tracing

__all__ = ["Endpoint", "address", "command_of", "endpoint", "is_routed", "named", "pipeline_of", "server"]

_DEFAULT_PORT = 6379
_CACHED = 1024  # kinds of operation: command, number of arguments, server; a quarter of it kinds of pipelines

_PROCEDURES = {"EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"}
_PROCEDURE = re.compile(r"\w{1,64}", re.ASCII)
_MORE_TO_IT = frozenset({*_PROCEDURES, *MAY_BLOCK})
"""Commands of which an argument is looked at."""

Endpoint = tuple[Any, Any, Any, bool, bool]
"""Database, host or socket, and port, None where unknown; whether Celery uses it on its own account; whether the server
is known only when it has answered."""


def endpoint(client: Any) -> Endpoint:
    """The endpoint of a client, a pipeline or whatever else has a pool of connections."""
    pool = getattr(client, "connection_pool", None)
    if pool is None:  # a cluster: the node is known later
        settings = getattr(getattr(client, "nodes_manager", None), "connection_kwargs", {})
        return settings.get("db", 0), None, None, False, True
    housekeeping = getattr(pool, HOUSEKEEPING, False) is True
    settings = getattr(pool, "connection_kwargs", None)
    if settings is None:
        return None, None, None, housekeeping, False
    database = settings.get("db", 0)
    if "path" in settings:
        return database, settings["path"], None, housekeeping, False
    if "connection_pool" in settings:  # Sentinel's, which connects to whoever is the master
        return database, None, None, housekeeping, True
    return database, settings.get("host", "localhost"), settings.get("port", _DEFAULT_PORT), housekeeping, False


def server(endpoint: Endpoint) -> dict[str, Any]:
    """The attributes of the server of an endpoint."""
    return address(*endpoint[1:3])


def is_routed(client: Any) -> bool:
    """Whether the server is known only when it has answered."""
    return endpoint(client)[4]


def address(host: Any, port: Any) -> dict[str, Any]:
    """The attributes of a server."""
    attributes: dict[str, Any] = {}
    if host is not None:
        attributes[SERVER_ADDRESS] = host
        if port is not None and int(port) != _DEFAULT_PORT:
            attributes[SERVER_PORT] = int(port)
    return attributes


@functools.lru_cache(_CACHED)
def _operation(
    name: str, arguments: int, endpoint: Endpoint, procedure: str = "", background: bool = False
) -> Operation:
    database, host, port, housekeeping, routed = endpoint
    attributes: dict[str, Any] = {DB_SYSTEM_NAME: "redis", DB_OPERATION_NAME: name, **address(host, port)}
    if database is not None:
        attributes[DB_NAMESPACE] = str(database)
    if arguments >= 0:
        attributes[DB_QUERY_TEXT] = text(name, arguments)
    if procedure:
        attributes[DB_STORED_PROCEDURE_NAME] = procedure
    # One whose server is not known yet is no call of the simplest kind: attributes of its own say so to the seam.
    own: dict[str, Any] | None = {} if routed else None
    return Operation(name, attributes, own, background=background or housekeeping or is_background(name))


def named(name: str, client: Any) -> Operation:
    """An operation that is no command, of whatever has a pool of connections."""
    return _operation(name, -1, endpoint(client))


def command_of(options: Any) -> Describe:
    """What says of a command which operation it is.

    Args:
        options: the patch's options.
    """
    hidden, keys = not options.query_text, options.keys and options.query_text

    def describe(tracing: Tracing[Any], client: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        """A command sent by a client, or by a pipeline that is watching keys."""
        if not args:
            return None  # the driver is about to say so
        name, arguments = command(args)
        arguments = -1 if hidden or name is OTHER else min(arguments, MAX_SHOWN + 1)
        if name in _MORE_TO_IT:
            operation = _operation(
                name, arguments, endpoint(client), _procedure(name, args), name in MAY_BLOCK and blocks(args)
            )
        else:
            operation = _operation(name, arguments, endpoint(client))
        if keys and arguments > 0:
            return operation.of_this_call({DB_QUERY_TEXT: text_with_keys(args, _shortened(tracing))})
        return operation

    return describe


def _shortened(tracing: Tracing[Any]) -> Callable[[str, int], str]:
    """What is shown of a long key."""
    return functools.partial(tracing.shortened, DB_QUERY_TEXT)


def _procedure(name: str, args: Args) -> str:
    """The name of the script or function that a command runs; empty: it runs none, or something that is no name."""
    if name not in _PROCEDURES or len(args) < 2:
        return ""
    procedure = args[1].decode("latin-1") if isinstance(args[1], bytes) else args[1]
    return procedure if isinstance(procedure, str) and _PROCEDURE.fullmatch(procedure) else ""


# -- pipelines ----------------------------------------------------------------------------------------------------


def pipeline_of(options: Any) -> Describe:
    """What says of a pipeline that is executed which operation it is.

    Args:
        options: the patch's options.
    """
    hidden, keys = not options.query_text, options.keys and options.query_text

    def describe(tracing: Tracing[Any], pipeline: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        """A pipeline being executed."""
        size = len(pipeline)
        if not size:
            return None  # it sends nothing, or at most an EXEC to end a WATCH
        queue, words_of = _queue(pipeline)
        commands: list[Any] = list(map(words_of, queue[:MAX_SHOWN]))
        spelled = tuple(map(_first, commands))
        words = frozenset(spelled)
        if size > MAX_SHOWN and (len(words) == 1 or all(map(is_background, map(str, words)))):
            # Else it is named after none of them, and has work among them.
            words = words.union(map(_first, map(words_of, queue[MAX_SHOWN:])))
        kind = "MULTI" if _is_transaction(pipeline) else "PIPELINE"
        if words <= COMPLETE:
            lengths = None if hidden else tuple(map(len, commands))
            operation = _pipeline(kind, words, spelled, lengths, size > MAX_SHOWN, endpoint(pipeline))
        else:  # words that are no commands as redis-py spells them may be anything: they are not remembered
            shown = None if hidden else [command(each) for each in commands]
            operation = _described(kind, words, shown, size > MAX_SHOWN, endpoint(pipeline))
        own: dict[str, Any] = {}
        if size > 1:
            own[DB_OPERATION_BATCH_SIZE] = size
        if keys and commands:
            shortened = _shortened(tracing)
            own[DB_QUERY_TEXT] = _joined((text_with_keys(each, shortened) for each in commands), size > MAX_SHOWN)
        return operation.of_this_call(own)

    return describe


@functools.lru_cache(_CACHED // 4)
def _pipeline(
    kind: str,
    words: frozenset[str],
    spelled: tuple[str, ...],
    lengths: tuple[int, ...] | None,
    more: bool,
    endpoint: Endpoint,
) -> Operation:
    """A pipeline of such commands. How many they are is not among what pipelines of a kind have in common."""
    shown = None if lengths is None else [(word, length - 1) for word, length in zip(spelled, lengths, strict=True)]
    return _described(kind, words, shown, more, endpoint)


def _described(
    kind: str, words: frozenset[Any], shown: list[tuple[str, int]] | None, more: bool, endpoint: Endpoint
) -> Operation:
    names = {command((word,))[0] for word in words}
    name = f"{kind} {next(iter(names))}" if len(names) == 1 else kind
    operation = _operation(name, -1, endpoint, background=bool(names) and all(map(is_background, names)))
    if not shown:
        return operation
    attributes = {**operation.attributes, DB_QUERY_TEXT: _joined((text(*each) for each in shown), more)}
    return Operation(operation.name, attributes, operation.own, background=operation.background)


def _joined(texts: Iterable[str], more: bool) -> str:
    return "; ".join(texts) + ("; ..." if more else "")


_first = itemgetter(0)
_args = attrgetter("args")


def _queue(pipeline: Any) -> tuple[list[Any], Callable[[Any], Any]]:
    """The commands of a pipeline, none where a version keeps them elsewhere; and what gives the words of one."""
    keeper = getattr(pipeline, "_execution_strategy", pipeline)  # of a cluster, since 6.0
    for attribute in ("command_stack", "_command_stack", "_command_queue"):
        queue = getattr(keeper, attribute, None)
        if queue:
            return queue, _first if isinstance(queue[0], tuple) else _args
    return [], _first


def _is_transaction(pipeline: Any) -> bool:
    strategy = getattr(pipeline, "_execution_strategy", None)
    if strategy is not None:
        return type(strategy).__name__ == "TransactionStrategy"
    # A method of the clients is called transaction as well, and asyncio's pipelines inherit it.
    flag = getattr(pipeline, "is_transaction", getattr(pipeline, "transaction", False))
    return bool(getattr(pipeline, "explicit_transaction", False) or (flag and not callable(flag)))
