"""Making connections: ``CONNECT``, with name lookup told apart."""

from __future__ import annotations

import functools
import inspect
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.calls import Args, Kwargs, argument, traced_call
from causal_otel.instrument.declaration import Connect, Wrap
from causal_otel.instrument.parts import note, unread
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.names import CAUSAL_CONNECT, CAUSAL_CONNECT_DNS
from causal_otel.patches._postgresql import ERRORS
from causal_otel.patches.psycopg.operations import place, place_of, plumbing

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.psycopg.operations import Place

__all__ = ["TARGETS", "place_named"]


def place_named(conninfo: Any, kwargs: Kwargs) -> Place:
    """Where a connection string and arguments lead, the last of several; what the environment adds is not known."""
    try:
        from psycopg.conninfo import conninfo_to_dict

        found = conninfo_to_dict(conninfo or "", **kwargs)
    except Exception:  # the driver says so
        return None, ""
    hosts, ports = str(found.get("host") or found.get("hostaddr") or ""), str(found.get("port") or "5432")
    host, port = hosts.rpartition(",")[2], ports.rpartition(",")[2]
    database = str(found.get("dbname") or "")
    if host.startswith("/"):
        return f"{host}/.s.PGSQL.{port}", database
    return (host, int(port)) if host and port.isdecimal() else None, database


class _Connecting(Plumbing):
    """A connection being made.

    Args:
        tracing: the handle.
        args: what ``connect()`` was given, as are ``kwargs``.
    """

    __slots__ = ("_error", "_result", "_since")

    def __init__(self, tracing: Tracing[Any], args: Args, kwargs: Kwargs) -> None:
        super().__init__(tracing, self._operation, (args, kwargs), ERRORS)
        self._result: Any = None
        self._error: BaseException | None = None
        self._since = perf_counter()

    def _operation(self, args: Args, kwargs: Kwargs) -> Operation:
        where: Place = (None, "")
        if self._result is not None:
            where = place(self._result)
        elif self._error is not None:
            where = place_of(getattr(self._error, "pgconn", None))  # which it has if libpq was asked
        if where[0] is None:
            named = {key: value for key, value in kwargs.items() if key in ("host", "hostaddr", "port", "dbname")}
            where = place_named(argument(0, "conninfo", args, kwargs), named)
        return plumbing("CONNECT", *where)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The connection is made, or not."""
        seconds = perf_counter() - self._since
        self._result, self._error = result, error
        for began, key, took in unread():
            if key == CAUSAL_CONNECT_DNS and began >= self._since:
                self.part(key, took)
        self.part(CAUSAL_CONNECT, seconds)
        note(CAUSAL_CONNECT, seconds)  # for an operation of another patch, as SQLAlchemy's
        super().end(result, error)


def _begin(tracing: Tracing[Any], kind: type, args: Args, kwargs: Kwargs) -> _Connecting:
    return _Connecting(tracing, args, kwargs)


def _replace_connect(tracing: Tracing[Any]) -> Callable[[], None]:
    """Replace the class methods ``connect``, of both kinds of connections, and the module's function, which is one.

    Subclasses inherit them. Whoever has imported the function before calls the original.
    """
    psycopg: Any = sys.modules["psycopg"]
    undoing: list[Callable[[], None]] = []
    wrap = traced_call(_begin)
    for kind in (psycopg.Connection, psycopg.AsyncConnection):
        original = vars(kind)["connect"]
        replacement = classmethod(wrap(tracing, original.__func__))
        kind.connect = replacement
        undoing.append(functools.partial(_put_back, kind, replacement, original))
    bound = psycopg.connect
    if getattr(bound, "__self__", None) == psycopg.Connection:
        psycopg.connect = replaced = psycopg.Connection.connect
        undoing.append(functools.partial(_put_back, psycopg, replaced, bound))

    def undo() -> None:
        for each in reversed(undoing):
            each()

    return undo


def _put_back(owner: Any, replacement: Any, original: Any) -> None:
    if vars(owner).get("connect") is replacement:  # else somebody has wrapped around ours, which is switched off
        owner.connect = original


def _lookup(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the function that looks up the names of hosts: its time is noted for what is under way."""
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def async_call(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return await original(*args, **kwargs)
            finally:
                _looked_up(tracing, began)

        return async_call

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            _looked_up(tracing, began)

    return call


def _looked_up(tracing: Tracing[Any], began: float) -> None:
    if tracing.active:
        try:
            note(CAUSAL_CONNECT_DNS, perf_counter() - began)
        except Exception:
            faults.report("psycopg: looking up a name")


TARGETS = (
    Connect("psycopg", _replace_connect),
    Wrap("psycopg.connection", "conninfo_attempts", _lookup, optional=True),
    Wrap("psycopg.connection_async", "conninfo_attempts_async", _lookup, optional=True),
)
"""The targets. Those that are optional are private: if one is missing, the others are placed."""
