"""asyncpg's plumbing, which is a span only if it fails: connections, pools, transactions (see the package)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.calls import Args, Describe, Kwargs, Wrapper, plumbing_call, suppressed, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.errors import Errors, error_name
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import (
    DB_NAMESPACE,
    DB_OPERATION_NAME,
    DB_RESPONSE_STATUS_CODE,
    DB_SYSTEM_NAME,
    SERVER_ADDRESS,
    SERVER_PORT,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ERRORS",
    "TARGETS",
    "connection_attributes",
    "endpoint",
    "if_failed",
    "if_refused",
    "on_statement",
    "plumbing",
]

_DEFAULT_PORT = 5432


# -- attributes ---------------------------------------------------------------------------------------------------


def endpoint(connection: Any) -> tuple[Any, str]:
    """Address and database of a connection, from private attributes; unknown if a version has others."""
    return getattr(connection, "_addr", None), getattr(getattr(connection, "_params", None), "database", None) or ""


def connection_attributes(address: Any, database: str) -> dict[str, Any]:
    """The attributes of all that is done there."""
    attributes: dict[str, Any] = {DB_SYSTEM_NAME: "postgresql"}
    if database:
        attributes[DB_NAMESPACE] = database
    if isinstance(address, str):  # a Unix socket
        attributes[SERVER_ADDRESS] = address
    elif address is not None:
        attributes[SERVER_ADDRESS] = address[0]
        if address[1] != _DEFAULT_PORT:
            attributes[SERVER_PORT] = address[1]
    return attributes


def plumbing(operation: str, address: Any, database: str) -> Operation:
    """An operation that is no query: its name has the database in it, as the conventions ask if there is no summary."""
    attributes = {**connection_attributes(address, database), DB_OPERATION_NAME: operation}
    return Operation(f"{operation} {database}".rstrip(), attributes, plumbing=True, background=operation == "PING")


def _sqlstate(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or error_name(error)


ERRORS = Errors(_sqlstate, DB_RESPONSE_STATUS_CODE)
"""How errors are told: by the server's code, or the class."""


# -- what a call is -----------------------------------------------------------------------------------------------


def _on_connection(operation: str) -> Describe:
    return lambda tracing, connection, args, kwargs: plumbing(operation, *endpoint(connection))


def on_statement(operation: str) -> Describe:
    """``operation`` on a prepared statement, a cursor or a transaction, which know their connection."""
    return lambda tracing, statement, args, kwargs: plumbing(
        operation, *endpoint(getattr(statement, "_connection", None))
    )


def _on_pool(operation: str) -> Describe:
    def describe(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> Operation:
        """The place is that of any connection it has; without one, only the driver knows how to read its arguments."""
        connections = (getattr(holder, "_con", None) for holder in getattr(pool, "_holders", ()))
        endpoints = (endpoint(connection) for connection in connections if connection is not None)
        return plumbing(operation, *next(endpoints, (None, "")))

    return describe


def _transition(outer: str, nested: str) -> Describe:
    """The beginning or end of a transaction, or of a savepoint in one."""

    def describe(tracing: Tracing[Any], transaction: Any, args: Args, kwargs: Kwargs) -> Operation:
        operation = nested if getattr(transaction, "_nested", False) else outer
        return plumbing(operation, *endpoint(getattr(transaction, "_connection", None)))

    return describe


_begin = _transition("BEGIN", "SAVEPOINT")
_commit = _transition("COMMIT", "RELEASE SAVEPOINT")
_rollback = _transition("ROLLBACK", "ROLLBACK TO")


def _leave(tracing: Tracing[Any], transaction: Any, args: Args, kwargs: Kwargs) -> Operation | None:
    """``__aexit__``, which rolls back after an exception."""
    return (_rollback if args and args[0] is not None else _commit)(tracing, transaction, args, kwargs)


_CONNECTING = create_key("causal-otel-asyncpg-connecting")


class _Connecting(Plumbing):
    """A connection being made. The addresses that are tried are noted: the arguments may name them in many ways."""

    def __init__(self, tracing: Tracing[Any]) -> None:
        super().__init__(tracing, self._operation, errors=ERRORS, nests=True)
        self.inside = Context({**(self.inside or {}), _CONNECTING: self})
        self.endpoint: tuple[Any, str] = None, ""
        self.over = False

    def _operation(self) -> Operation:
        return plumbing("CONNECT", *self.endpoint)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The connection is made, or not."""
        self.over = True
        super().end(result, error)

    @staticmethod
    def current() -> _Connecting | None:
        """The innermost one under way, if any: tasks started while it connected may still have it in their context."""
        found = context.current().get(_CONNECTING)
        return found if isinstance(found, _Connecting) and not found.over else None


def _connecting(tracing: Tracing[Any], instance: None, args: Args, kwargs: Kwargs) -> _Connecting | None:
    return None if _Connecting.current() is not None else _Connecting(tracing)


# -- wrappers -----------------------------------------------------------------------------------------------------


def if_failed(describe: Describe, *, nests: bool = False) -> Wrapper:
    """A wrapper for a call that is a span only if it fails; ``nests``: other traced calls may run inside."""
    return plumbing_call(describe, ERRORS, nests=nests)


def if_refused(describe: Describe) -> Wrapper:
    """A wrapper for a function that asks the server nothing, and raises at once where the connection is closed.

    Nothing is done for it unless it raises; so its span begins where it ends.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            try:
                return original(self, *args, **kwargs)
            except Exception as error:
                try:
                    Plumbing(tracing, describe, (tracing, self, args, kwargs), ERRORS).end(error=error)
                except Exception:
                    faults.report("asyncpg: a refusal")
                raise

        return call

    return wrap


def _connect(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the functions that connect."""

    @functools.wraps(original)
    async def method(self: None, /, *args: Any, **kwargs: Any) -> Any:
        return await original(*args, **kwargs)

    call = traced_call(_connecting)(tracing, method)

    @functools.wraps(original)
    async def connect(*args: Any, **kwargs: Any) -> Any:
        return await call(None, *args, **kwargs)

    return connect


def _noting_address(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the function that tries one address."""

    @functools.wraps(original)
    async def connect_addr(*args: Any, **kwargs: Any) -> Any:
        connecting = _Connecting.current()
        if connecting is not None:
            connecting.endpoint = kwargs.get("addr"), getattr(kwargs.get("params"), "database", None) or ""
        return await original(*args, **kwargs)

    return connect_addr


def _reset(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    return if_failed(_on_connection("RESET"))(tracing, suppressed(tracing, original))


_CONNECTION, _POOL, _TRANSACTION = "asyncpg.connection", "asyncpg.pool", "asyncpg.transaction"
_CONNECT = "asyncpg.connect_utils"

TARGETS = (
    Wrap(_CONNECTION, "Connection.reset", _reset),
    Wrap(_CONNECTION, "Connection._reset", suppressed, optional=True),  # since 0.30, before a reset of the user's own
    Wrap(_CONNECTION, "Connection.close", if_failed(_on_connection("CLOSE"))),
    Wrap(_CONNECTION, "Connection.add_listener", if_failed(_on_connection("LISTEN"), nests=True)),
    Wrap(_CONNECTION, "Connection.remove_listener", if_failed(_on_connection("UNLISTEN"), nests=True)),
    Wrap(_CONNECTION, "Connection.set_type_codec", if_failed(_on_connection("SET TYPE CODEC"))),
    Wrap(_CONNECTION, "Connection.set_builtin_type_codec", if_failed(_on_connection("SET TYPE CODEC"))),
    Wrap(_CONNECTION, "Connection.reset_type_codec", if_failed(_on_connection("RESET TYPE CODEC"))),
    Wrap(_CONNECTION, "Connection.transaction", if_refused(_on_connection("BEGIN"))),
    Wrap(_TRANSACTION, "Transaction.start", if_failed(_begin, nests=True)),
    Wrap(_TRANSACTION, "Transaction.commit", if_failed(_commit, nests=True)),
    Wrap(_TRANSACTION, "Transaction.rollback", if_failed(_rollback, nests=True)),
    Wrap(_TRANSACTION, "Transaction.__aexit__", if_failed(_leave, nests=True)),
    # Both when the package is complete: it copies the one, which is to be the driver's own, to the other.
    Wrap("asyncpg", "connect", _connect),
    Wrap("asyncpg", "connection.connect", _connect),
    Wrap(_CONNECT, "_connect", _connect, optional=True),  # for whoever has imported one of them before
    Wrap(_CONNECT, "_connect_addr", _noting_address, optional=True),
    Wrap(_CONNECT, "_can_use_connection", suppressed, optional=True),
    Wrap(_POOL, "Pool._async__init__", if_failed(_on_pool("OPEN POOL"), nests=True), optional=True),
    Wrap(_POOL, "Pool._acquire", if_failed(_on_pool("ACQUIRE"), nests=True), optional=True),
    Wrap(_POOL, "Pool.release", if_failed(_on_pool("RELEASE"), nests=True)),
    Wrap(_POOL, "Pool.close", if_failed(_on_pool("CLOSE POOL"), nests=True)),
    Wrap(_POOL, "Pool._maintain_min_size", suppressed, optional=True),  # since 0.32
)
"""The targets. Those that are optional without a version are private: if one is missing, the others are placed."""
