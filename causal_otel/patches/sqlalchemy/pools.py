"""Getting a connection from an engine's pool: a span if that is slow, fails or is cancelled, with its parts.

An engine gets a connection where the program asks for one (``engine.connect()``, ``begin()``), and where a session
needs one for its first statement. Either way it is a call of its own inside SQLAlchemy, before any statement; so it is
plumbing (``ACQUIRE shop``), beside the statement's span and never inside.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.above import PLUMBING, orm_origin
from causal_otel.instrument.calls import argument
from causal_otel.instrument.parts import LEAST, apart, note, take
from causal_otel.instrument.recorded_failures import RecordedFailures
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import CAUSAL_CONNECT, CAUSAL_POOL_SETUP, CAUSAL_POOL_SIZE, CAUSAL_POOL_WAIT, CAUSAL_POOL_WAITING
from causal_otel.patches.sqlalchemy.engines import place_of, place_of_dialect, place_of_pool, silent_below, traced_below
from causal_otel.patches.sqlalchemy.metrics import measured_checkout, meter_of
from causal_otel.patches.sqlalchemy.plumbing import Late, late_plumbing, plumbing

__all__ = ["checkout", "connect", "listen", "ping", "reset", "wait"]

_lock = threading.Lock()
_waiting: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""How many wait for a connection, by pool; only of pools that somebody has waited for."""

_waited: ContextVar[dict[str, Any] | None] = ContextVar("causal_otel_sqlalchemy_waited", default=None)
"""What a wait that was noted says of the pool, until the checkout around it takes it."""

_connecting: ContextVar[float] = ContextVar("causal_otel_sqlalchemy_connecting", default=0.0)
"""Seconds that this task or thread has been connecting in all, so that a wait can leave them out."""


_told: ContextVar[BaseException | None] = ContextVar("causal_otel_sqlalchemy_told", default=None)
"""A failure to connect that the driver's patch has a span of."""


def _with_parts(late: Late, error: BaseException | None) -> bool:
    told = _told.get()
    if told is not None:
        _told.set(None)
        if told is error:
            return False
    for key, seconds in (take(late.since) or {}).items():
        late.part(key, seconds)
    waited = _waited.get()
    if waited is not None:
        _waited.set(None)
        late.learn(waited)
    return True


_acquire = late_plumbing(lambda engine: plumbing("ACQUIRE", place_of(engine)), _with_parts)


def checkout(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``Engine.raw_connection``, by which every connection of an engine comes from its pool."""
    return measured_checkout(tracing, _acquire(tracing, original))


def wait(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``QueuePool._do_get``, which waits if all connections are in use, and all of the overflow."""

    @functools.wraps(original)
    def do_get(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not (tracing.active and _exhausted(self)):
            return original(self, *args, **kwargs)
        before = _count(self, 1) - 1
        began, connected = perf_counter(), _connecting.get()
        try:
            return original(self, *args, **kwargs)
        finally:
            _count(self, -1)
            seconds = perf_counter() - began - (_connecting.get() - connected)
            if seconds >= LEAST:
                note(CAUSAL_POOL_WAIT, seconds)
                _waited.set({CAUSAL_POOL_SIZE: _size(self), CAUSAL_POOL_WAITING: before})

    return do_get


def _exhausted(pool: Any) -> bool:
    """Whether the next one has to wait, unless a connection is free."""
    try:
        return bool(0 <= pool._max_overflow <= pool._overflow)
    except AttributeError:
        return False


def _size(pool: Any) -> int:
    """How many connections the pool may have, its overflow included."""
    return int(pool.size()) + int(pool._max_overflow)


def _count(pool: Any, more: int) -> int:
    with _lock:
        number = _waiting[pool] = _waiting.get(pool, 0) + more
    meter = meter_of(pool)
    if meter is not None:
        meter.pending(more)
    return number


# -- connecting ---------------------------------------------------------------------------------------------------


class _Connecting:
    """A connection being made for a pool."""

    __slots__ = ("activation", "connected")

    def __init__(self) -> None:
        self.connected: float | None = None
        self.activation: context.Activation | None = None


_under_way: dict[int, _Connecting] = {}
"""By the ``id()`` of the pool's record for the connection."""


def connect(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``_ConnectionRecord.__connect``, which connects and then calls the pool's ``connect`` listeners.

    Those are SQLAlchemy's own, which ask the server what it is, and the program's. Their statements are no spans: what
    fails in them fails the checkout. Their time is ``causal.pool.setup``.
    """

    @functools.wraps(original)
    def connect(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not tracing.active:
            return original(self, *args, **kwargs)
        connecting = _under_way[id(self)] = _Connecting()
        failures = RecordedFailures()
        inside = context.attach(failures.inside())
        parts: dict[str, float] = {}
        began = perf_counter()
        try:
            with apart():
                try:
                    result = original(self, *args, **kwargs)
                finally:
                    parts |= take(began) or {}  # where the driver's patch tells them
        except BaseException as error:
            told = failures.close_with(error) and tracing.recorded()
            _told.set(error if told else None)
            raise
        else:
            failures.close()
            meter = meter_of(getattr(self, "_ConnectionRecord__pool", None))
            if meter is not None:
                meter.created(perf_counter() - began)
            return result
        finally:
            del _under_way[id(self)]
            if connecting.activation is not None:
                connecting.activation.end()
            inside.end()
            ended = perf_counter()
            connected = connecting.connected or ended
            _connecting.set(_connecting.get() + ended - began)
            parts |= {CAUSAL_CONNECT: connected - began, CAUSAL_POOL_SETUP: ended - connected}
            for key, seconds in parts.items():
                note(key, seconds)

    return connect


def _connected(dbapi_connection: Any, record: Any) -> None:
    """The first of all listeners: the driver has connected, and what follows prepares the connection."""
    connecting = _under_way.get(id(record))
    if connecting is not None:
        connecting.connected = perf_counter()
        connecting.activation = context.attach(context.suppressed_context())


def listen(tracing: Tracing[Any]) -> Callable[[], None]:
    """Listen to all pools, those that are there already as well; returns what stops it."""
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    event.listen(Pool, "connect", _connected)
    return lambda: event.remove(Pool, "connect", _connected)


def ping(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``DefaultDialect._do_ping_w_event``, by which ``pool_pre_ping`` tries a connection before it is used.

    With asyncpg SQLAlchemy pings in a transaction of its own and rolls that back: the program has lost nothing.
    """
    original = silent_below(original)

    @functools.wraps(original)
    def ping(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not tracing.active:
            return original(self, *args, **kwargs)
        inside = context.attach(RecordedFailures().inside())
        origin = orm_origin.get()
        orm_origin.set(PLUMBING)
        began = perf_counter()
        works = True
        try:
            works = original(self, *args, **kwargs)
            return works
        finally:
            orm_origin.set(origin)
            inside.end()
            note(CAUSAL_POOL_SETUP, perf_counter() - began)
            if works is False and not traced_below(self):
                _gone(tracing, self, began)

    return ping


def _gone(tracing: Tracing[Any], dialect: Any, began: float) -> None:
    """A ping has found that the connection has gone. SQLAlchemy keeps the driver's error to itself."""
    from sqlalchemy.exc import InvalidatePoolError

    try:
        late = Late(tracing, lambda: plumbing("PING", place_of_dialect(dialect)), began)
        late.end(error=InvalidatePoolError())
    except Exception:
        faults.report("sqlalchemy: a ping")


# -- giving back --------------------------------------------------------------------------------------------------


def reset(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``_ConnectionFairy._reset``, which rolls back what is left of a transaction of a connection given back.

    Where the driver has a patch, that says what has failed.
    """
    describe = late_plumbing(lambda connection, pool=None, *more: plumbing("RESET", place_of_pool(pool)))
    plumbed = describe(tracing, original)

    @functools.wraps(original)
    def reset(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        pool = argument(0, "pool", args, kwargs)
        call = original if traced_below(getattr(pool, "_dialect", None)) else plumbed
        return call(self, *args, **kwargs)

    return reset


def close(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the methods of dialects that close a driver's connection, whose failure a pool keeps to itself."""
    plumbed = _close(tracing, original)

    @functools.wraps(original)
    def close(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return (original if traced_below(self) else plumbed)(self, *args, **kwargs)

    return close


_close = late_plumbing(lambda dialect, *connection: plumbing("CLOSE", place_of_dialect(dialect)))
