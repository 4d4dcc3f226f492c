"""How the neo4j driver gets a connection: it waits for its pool, connects, and asks which server to talk to.

Nobody calls any of this for its own sake: a query, ``BEGIN`` or ``verify_connectivity()`` does, which takes what was
noted of it. Nothing is wrapped that a query whose connection is there at once goes through. The pool's metrics alone
have to hear of each (see :mod:`causal_otel.patches.neo4j.pools`).
"""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causal_otel._internal import faults
from causal_otel.instrument.calls import traced_call
from causal_otel.instrument.declaration import Connect, Wrap
from causal_otel.instrument.parts import LEAST, together
from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_TLS,
    CAUSAL_DISCOVERY,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
)
from causal_otel.patches.neo4j.internals import private
from causal_otel.patches.neo4j.pools import connecting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from causal_otel.instrument.calls import Args, Kwargs, Wrapper
    from causal_otel.instrument.tracing import Tracing

__all__ = ["SOCKETS", "discovering", "new_connection", "pool_facts", "take"]

_notes: ContextVar[tuple[tuple[float, str, float], ...]] = ContextVar("causal_otel_neo4j_connection", default=())
"""What getting the connection that this task or thread waits for has consisted of: when each part began, by
``perf_counter()``, its key and its seconds."""

_resolving: ContextVar[float] = ContextVar("causal_otel_neo4j_resolving", default=0.0)
"""When the name lookup began that is under way; 0: none is."""

_securing: ContextVar[float] = ContextVar("causal_otel_neo4j_securing", default=0.0)
"""When the handshake of TLS began that is under way; 0: none is."""

_WATCHED = "_causal_otel_tracing"

_facts: ContextVar[dict[str, Any] | None] = ContextVar("causal_otel_neo4j_pool", default=None)
"""What is told of the pool that was waited for last."""


def take(since: float) -> dict[str, float] | None:
    """The parts that have been noted since a moment of ``perf_counter()``, which are noted no more; None: none has."""
    notes = _notes.get()
    if not notes:
        return None
    _notes.set(())
    return _added_up(notes, since) or None


def pool_facts(parts: Mapping[str, float]) -> dict[str, Any]:
    """If a wait for a pool is among the parts that are recorded: how big that was, and how many waited already."""
    return (_facts.get() if parts.get(CAUSAL_POOL_WAIT, 0.0) >= LEAST else None) or {}


def _added_up(notes: tuple[tuple[float, str, float], ...], since: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for began, key, seconds in notes:
        if began >= since:
            found[key] = found.get(key, 0.0) + seconds
    return found


def _note(key: str, began: float, seconds: float) -> None:
    if seconds >= LEAST:
        _notes.set((*_notes.get()[-16:], (began, key, seconds)))


# -- the pool ---------------------------------------------------------------------------------------------------------


def new_connection(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``_acquire_new_later``, which a pool asks if no connection of it is free.

    What that returns makes a connection; None: the pool is full, and its condition is about to be waited for.
    """

    @functools.wraps(original)
    def acquire_new_later(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        make = original(self, *args, **kwargs)
        try:
            if tracing.active:
                if make is None:
                    _watch(tracing, self)
                elif callable(make):
                    return _connecting(tracing, self, make)
        except Exception:
            faults.report("neo4j: a connection")
        return make

    return acquire_new_later


def _connecting(tracing: Tracing[Any], pool: Any, make: Callable[[], Any]) -> Callable[[], Any]:
    """``make``, whose time is a part: name lookup, TCP, TLS, the Bolt handshake, ``HELLO`` and ``LOGON``."""
    if inspect.iscoroutinefunction(make):

        async def async_connect() -> Any:
            began = perf_counter()
            _resolving.set(began)
            try:
                return await make()
            finally:
                _connected(tracing, pool, began)

        return async_connect

    def connect() -> Any:
        began = perf_counter()
        _resolving.set(began)
        try:
            return make()
        finally:
            _connected(tracing, pool, began)

    return connect


def _connected(tracing: Tracing[Any], pool: Any, began: float) -> None:
    _resolved()  # if not even that was done
    seconds = perf_counter() - began
    _note(CAUSAL_CONNECT, began, seconds)
    connecting(tracing, pool, seconds)


def _resolved() -> None:
    """The name has been looked up: the driver opens a socket, or gives up."""
    began = _resolving.get()
    if began:
        _resolving.set(0.0)
        _note(CAUSAL_CONNECT_DNS, began, perf_counter() - began)


def _watch(tracing: Tracing[Any], pool: Any) -> None:
    """Have the condition of a pool tell how long it is waited for. It is the standard library's, or like that."""
    condition = private(pool, "cond")
    wait = private(condition, "wait")
    if wait is None or getattr(wait, _WATCHED, None) is tracing:
        return
    wait = getattr(wait, "__wrapped__", wait)  # which another installation has watched

    def waited(began: float, waiting: int) -> None:
        if not tracing.active:
            return
        _note(CAUSAL_POOL_WAIT, began, perf_counter() - began)
        facts = {CAUSAL_POOL_WAITING: waiting}
        size = private(pool, "pool_config", "max_connection_pool_size")
        if isinstance(size, int) and size > 0:
            facts[CAUSAL_POOL_SIZE] = size
        _facts.set(facts)

    if inspect.iscoroutinefunction(wait):

        @functools.wraps(wait)
        async def async_wait(*args: Any, **kwargs: Any) -> Any:
            began, waiting = perf_counter(), _number_of_waiters(condition)
            try:
                return await wait(*args, **kwargs)
            finally:
                waited(began, waiting)

        setattr(async_wait, _WATCHED, tracing)
        condition.wait = async_wait
        return

    @functools.wraps(wait)
    def sync_wait(*args: Any, **kwargs: Any) -> Any:
        began, waiting = perf_counter(), _number_of_waiters(condition)
        try:
            return wait(*args, **kwargs)
        finally:
            waited(began, waiting)

    setattr(sync_wait, _WATCHED, tracing)
    condition.wait = sync_wait


def _number_of_waiters(condition: Any) -> int:
    return len(private(condition, "_waiters") or ())


# -- routing ----------------------------------------------------------------------------------------------------------


class _Discovering:
    """Making sure that there is a routing table. Connecting to who gives it is a part of its own."""

    __slots__ = ("_began",)

    args: Args | None = None
    inside: Context | None = None

    def __init__(self) -> None:
        self._began = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """There is one, or there is none."""
        seconds = perf_counter() - self._began
        if seconds >= LEAST:
            inside = _added_up(_notes.get(), self._began)
            _note(CAUSAL_DISCOVERY, self._began, seconds - together(inside))


discovering = traced_call(lambda tracing, pool, args, kwargs: _Discovering())
"""Wraps what makes sure that a pool has a routing table."""


# -- sockets ----------------------------------------------------------------------------------------------------------


class _Reaching:
    """Opening a socket, in an empty context: what reads from it outlives the request that has opened it."""

    __slots__ = ("inside",)

    args: Args | None = None

    def __init__(self) -> None:
        _resolved()
        self.inside = Context()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        began = _securing.get()
        if began:
            _securing.set(0.0)
            _note(CAUSAL_CONNECT_TLS, began, perf_counter() - began)


def _tcp_is_up(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the function that tells how much time is left for the handshake of TLS, which follows at once."""

    @functools.wraps(original)
    def non_expired_timeout(*args: Any, **kwargs: Any) -> Any:
        if tracing.active and "SSL handshake" in (*args, *kwargs.values()):
            _securing.set(perf_counter())
        return original(*args, **kwargs)

    return non_expired_timeout


def _class_methods(module: str, owners: tuple[str, ...], attribute: str, wrapper: Wrapper) -> Connect:
    """Wrap a class method that is called through its class, which a ``Wrap`` leaves alone.

    Args:
        module: the module.
        owners: the classes that have it in one supported version or another. Without it there is one part less.
        attribute: its name.
        wrapper: as for a method; the class is its instance.
    """

    def connect(tracing: Tracing[Any]) -> Callable[[], None]:
        placed: list[tuple[Any, Any, Any]] = []
        for name in owners:
            owner = private(import_module(module), name)
            original = None if owner is None else vars(owner).get(attribute)
            if isinstance(original, classmethod):
                replacement = classmethod(wrapper(tracing, original.__func__))
                setattr(owner, attribute, replacement)
                placed.append((owner, original, replacement))

        def undo() -> None:
            for owner, original, replacement in placed:
                if vars(owner).get(attribute) is replacement:
                    setattr(owner, attribute, original)

        return undo

    return Connect(module, connect)


def _reach(tracing: Tracing[Any], kind: Any, args: Args, kwargs: Kwargs) -> _Reaching:
    return _Reaching()


_MODULE = "neo4j._async_compat.network._bolt_socket"

SOCKETS = (
    _class_methods(
        _MODULE,
        ("BoltSocketBase", "BoltSocket", "AsyncBoltSocketBase", "AsyncBoltSocket"),
        "_connect_secure",
        traced_call(_reach),
    ),
    _class_methods(_MODULE, ("BoltSocket",), "_connect", traced_call(_reach)),  # before version 5.28
    Wrap(_MODULE, "_non_expired_timeout", _tcp_is_up, optional=True),
)
"""Opening sockets."""
