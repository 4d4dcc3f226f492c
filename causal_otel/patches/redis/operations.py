"""What a call of a client of Redis is: a command, a pipeline, or something named otherwise.

Everything that calls of a kind have in common is described once, for a bounded number of kinds. Of a command that is
its name, how many arguments it has and its server; of a pipeline the same of its commands.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.bookkeeping import Role, role_of
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
from causal_otel.patches.redis.background import MAY_BLOCK, OWNER, blocks, is_background
from causal_otel.statements.redis import COMPLETE, MAX_SHOWN, OTHER, command, text, text_with_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from causal_otel.instrument.calls import Args, Describe, Kwargs
    from causal_otel.instrument.tracing import Tracing

__all__ = ["Endpoint", "address", "command_of", "endpoint", "is_routed", "is_silent", "named", "pipeline_of", "server"]

_DEFAULT_PORT = 6379
_CACHED = 1024  # kinds of operation: command, number of arguments, server; a quarter of it kinds of pipelines

_PROCEDURES = {"EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"}
_PROCEDURE = re.compile(r"\w{1,64}", re.ASCII)
_MORE_TO_IT = frozenset({*_PROCEDURES, *MAY_BLOCK})
"""Commands of which an argument is looked at."""

_SILENT: Role = "silent"

Endpoint = tuple[Any, Any, Any, Role, bool]
"""Database, host or socket, and port, None where unknown; what is recorded of it; whether the server is known only when
it has answered."""


def endpoint(client: Any) -> Endpoint:
    """The endpoint of a client, a pipeline or whatever else has a pool of connections."""
    try:  # getattr() with a default would cost half as much again
        pool = client.connection_pool
        settings = pool.connection_kwargs
        database = settings.get("db", 0)
    except AttributeError:
        return _endpoint_of_other(client)
    role = _role(pool)
    if "path" in settings:
        return database, settings["path"], None, role, False
    if "connection_pool" in settings:  # Sentinel's, which connects to whoever is the master
        return database, None, None, role, True
    return database, settings.get("host", "localhost"), settings.get("port", _DEFAULT_PORT), role, False


def _endpoint_of_other(client: Any) -> Endpoint:
    """The endpoint of a cluster, whose node is known later, or of what has a pool without settings."""
    pool = getattr(client, "connection_pool", None)
    if pool is not None:
        return None, None, None, _role(pool), False
    settings = getattr(getattr(client, "nodes_manager", None), "connection_kwargs", {})
    return settings.get("db", 0), None, None, None, True


def _role(pool: Any) -> Role:
    owner = getattr(pool, OWNER, None)
    return role_of(owner) if isinstance(owner, str) else None


def server(endpoint: Endpoint) -> dict[str, Any]:
    """The attributes of the server of an endpoint."""
    return address(*endpoint[1:3])


def is_silent(client: Any) -> bool:
    """Whether nothing is recorded of what a client does."""
    return endpoint(client)[3] == _SILENT


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
    database, host, port, role, routed = endpoint
    attributes: dict[str, Any] = {DB_SYSTEM_NAME: "redis", DB_OPERATION_NAME: name, **address(host, port)}
    if database is not None:
        attributes[DB_NAMESPACE] = str(database)
    if arguments >= 0:
        attributes[DB_QUERY_TEXT] = text(name, arguments)
    if procedure:
        attributes[DB_STORED_PROCEDURE_NAME] = procedure
    # One whose server is not known yet is no call of the simplest kind: attributes of its own say so to the seam.
    own: dict[str, Any] | None = {} if routed else None
    return Operation(name, attributes, own, background=background or role is not None or is_background(name))


def named(name: str, client: Any) -> Operation | None:
    """An operation that is no command, of whatever has a pool of connections; None: nothing is recorded of it."""
    where = endpoint(client)
    return None if where[3] == _SILENT else _operation(name, -1, where)


def command_of(options: Any) -> Describe:
    """What says of a command which operation it is.

    Args:
        options: the patch's options.
    """
    hidden, keys = not options.query_text, options.keys and options.query_text

    def describe(tracing: Tracing[Any], client: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        """A command sent by a client, or by a pipeline that is watching keys."""
        where = endpoint(client)
        if where[3] == _SILENT or not args:
            return None  # of no arguments the driver is about to complain
        name, arguments = command(args)
        if hidden or name is OTHER:
            arguments = -1
        elif arguments > MAX_SHOWN:
            arguments = MAX_SHOWN + 1  # how many more is no other kind of operation
        if name in _MORE_TO_IT:
            operation = _operation(name, arguments, where, _procedure(name, args), name in MAY_BLOCK and blocks(args))
        else:
            operation = _operation(name, arguments, where)
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
        where = endpoint(pipeline)
        if where[3] == _SILENT:
            return None
        queue = _queue(pipeline)
        if not queue:
            return _unread(pipeline, where)
        size, shown = len(queue), queue[:MAX_SHOWN]
        alike = _alike(queue)
        words = (queue[0][0][0],) if alike else tuple([each[0] for each, _ in shown])
        kind = _kind(pipeline)
        if COMPLETE.issuperset(words):
            lengths = None if hidden else tuple([len(each) for each, _ in shown])
            operation = _pipeline(kind, words, lengths, alike, size, where)
        else:  # words that are no commands as redis-py spells them may be anything: they are not remembered
            commands = [command(each) for each, _ in shown]
            names = [name for name, _ in commands]
            alike = alike or (size <= MAX_SHOWN and len({*names}) == 1)
            texts = None if hidden else [text(*each) for each in commands]
            operation = _described(kind, names, texts, alike, size, where)
        if keys:
            shortened = _shortened(tracing)
            texts = [text_with_keys(each, shortened) for each, _ in shown]
            return operation.of_this_call({DB_QUERY_TEXT: _joined(texts, size)})
        raises = args[0] if args else kwargs.get("raise_on_error", True)
        if raises and not getattr(pipeline, "watching", True):
            return operation
        return operation.of_this_call({})  # its end tells of errors among the results, and of a lost WATCH

    return describe


@functools.lru_cache(_CACHED)
def _pipeline(
    kind: str, words: tuple[str, ...], lengths: tuple[int, ...] | None, alike: bool, size: int, endpoint: Endpoint
) -> Operation:
    """A pipeline of commands that are spelled as redis-py does: their words, one for all if alike, and lengths."""
    return _described(kind, words, None if lengths is None else _texts(words, lengths), alike, size, endpoint)


@functools.lru_cache(_CACHED // 4)
def _texts(words: tuple[str, ...], lengths: tuple[int, ...]) -> tuple[str, ...]:
    return tuple([text(word, length - 1) for word, length in zip(itertools.cycle(words), lengths, strict=False)])


def _described(
    kind: str, names: Sequence[str], texts: Sequence[str] | None, alike: bool, size: int, endpoint: Endpoint
) -> Operation:
    """A pipeline.

    Args:
        kind: ``PIPELINE`` or ``MULTI``.
        names: its commands, as many as are shown, or one that stands for all.
        texts: their texts; None: they are not told.
        alike: whether all its commands have one name.
        size: how many they are.
        endpoint: where it goes.
    """
    background = all(map(is_background, names)) and (alike or size <= MAX_SHOWN)
    operation = _operation(f"{kind} {names[0]}" if alike else kind, -1, endpoint, background=background)
    attributes = dict(operation.attributes)
    if texts:
        attributes[DB_QUERY_TEXT] = _joined(texts, size)
    if size > 1:
        attributes[DB_OPERATION_BATCH_SIZE] = size
    return Operation(operation.name, attributes, operation.own, background=operation.background)


def _joined(texts: Sequence[str], size: int) -> str:
    return "; ".join(texts) + ("; ..." if size > MAX_SHOWN else "")


def _queue(pipeline: Any) -> list[tuple[Args, Any]]:
    """The commands of a pipeline, each with its options; none where a version keeps them elsewhere."""
    keeper = getattr(pipeline, "_execution_strategy", pipeline)  # of a cluster, since 6.0
    for attribute in ("command_stack", "_command_stack", "_command_queue"):
        queue: list[Any] = getattr(keeper, attribute, None) or []
        if queue:
            return queue if isinstance(queue[0], tuple) else [(each.args, None) for each in queue]
    return []


def _unread(pipeline: Any, endpoint: Endpoint) -> Operation | None:
    """A pipeline whose commands are not known, if there are any."""
    size = len(pipeline)
    if not size:
        return None  # it sends nothing, or at most an EXEC to end a WATCH
    operation = _operation(_kind(pipeline), -1, endpoint)
    return operation.of_this_call({DB_OPERATION_BATCH_SIZE: size} if size > 1 else {})


def _alike(queue: list[tuple[Args, Any]]) -> bool:
    """Whether all commands have the same first word."""
    first = queue[0][0][0]
    for each, _ in queue:  # noqa: SIM110  # all() of a generator would take half as long again
        if each[0] != first:
            return False
    return True


def _kind(pipeline: Any) -> str:
    strategy = getattr(pipeline, "_execution_strategy", None)
    if strategy is not None:
        return "MULTI" if type(strategy).__name__ == "TransactionStrategy" else "PIPELINE"
    flag = getattr(pipeline, "is_transaction", None)
    if flag is None:  # asyncio's pipelines inherit a method of the clients that is called transaction as well
        flag = getattr(pipeline, "transaction", False)
    is_transaction = getattr(pipeline, "explicit_transaction", False) or (flag and not callable(flag))
    return "MULTI" if is_transaction else "PIPELINE"
