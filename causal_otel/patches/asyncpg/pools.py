"""Pools: getting connections from them and giving them back, and their methods, each of which is one operation.

``pool.fetch()`` gets a connection, runs the statement there and gives the connection back. That is one span, from the
call on, in which the parts of its time are told apart; neither the connection's method nor the plumbing has one.
"""

from __future__ import annotations

import functools
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causal_otel.engine import context
from causal_otel.instrument.calls import Args, Kwargs, Wrapper, argument, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.recorded_failures import RecordedFailures
from causal_otel.names import CAUSAL_POOL_SETUP, CAUSAL_SERVER
from causal_otel.patches.asyncpg.leases import GivingBack, Lease, lease_of, leases
from causal_otel.patches.asyncpg.operations import connection_attributes, endpoint, plumbing
from causal_otel.patches.asyncpg.pool_metrics import connected, measured_acquire, released
from causal_otel.patches.asyncpg.statements import POOL_METHODS, begin_operation
from causal_otel.patches.asyncpg.under_way import KEY, Around, Step, around

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.operation import Operation, Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS"]

_POOL = "asyncpg.pool"


def _place(pool: Any) -> tuple[Any, str]:
    """Where a pool's next connection leads, else any it has; without one, only the driver can read its arguments."""
    try:
        connection = pool._queue._queue[-1]._con
    except (AttributeError, IndexError, TypeError):
        connection = None
    if connection is not None:
        return endpoint(connection)
    connections = (getattr(holder, "_con", None) for holder in getattr(pool, "_holders", ()))
    return next((endpoint(connection) for connection in connections if connection is not None), (None, ""))


def _on_pool(operation: str) -> Any:
    def describe(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> Operation:
        return plumbing(operation, *_place(pool))

    return describe


# -- getting a connection -----------------------------------------------------------------------------------------


def _waiting(pool: Any) -> int:
    """How many wait for a connection."""
    return len(getattr(pool._queue, "_getters", ()))


def _leased(pool: Any) -> Any:
    """The connection that a method of the pool will be given at once and use alone; None: it may be otherwise."""
    if getattr(pool, "_reset", None) is not None or type(pool).__module__ != _POOL or not _ready(pool, None):
        return None  # the user's own hook, or class, may run statements of its own, or wait before it gets a connection
    return pool._queue._queue[-1]._con


def _ready(pool: Any, timeout: Any) -> bool:
    """Whether a connection can be had at once, so that getting it neither waits nor fails."""
    try:
        holder = pool._queue._queue[-1]
        return (
            holder._generation == pool._generation
            and holder._setup is None
            and holder._con._protocol.is_connected()
            and not (pool._closing or pool._closed)
            and (timeout is None or (type(timeout) in (int, float) and timeout > 0))
        )
    except (AttributeError, IndexError, TypeError):
        return False


class _Acquiring(Step):
    """A connection that is to be got from a pool."""

    __slots__ = ()

    def __init__(self, tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> None:
        super().__init__(tracing, _on_pool("ACQUIRE"), (tracing, pool, args, kwargs), None, pool)
        self.around.begin_wait(_waiting(pool))

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is there, or not."""
        self.around.end_wait()
        self.learn(self.around.pool_attributes())
        super().end(result, error)


class _Got:
    """The same as a part of an operation of the pool's."""

    __slots__ = ("_around",)

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, around: Around) -> None:
        around.begin_wait(_waiting(around.pool))
        self._around = around

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is there, or not."""
        self._around.end_wait()
        self._around.connection = getattr(result, "_con", None)


def _begin_acquiring(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> Any:
    outer = around()
    if outer is not None and outer.pool is pool and outer.tells and outer.connection is None:
        return _Got(outer)
    return _Acquiring(tracing, pool, args, kwargs)


def _acquire(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the function in which all ways to get a connection meet. It does next to nothing where there is no wait."""
    slow = traced_call(_begin_acquiring)(tracing, original)
    if tracing.pools is not None:
        return measured_acquire(tracing, original, slow, _ready)

    @functools.wraps(original)
    async def acquire(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        # Passing everything on as it came would cost as much as all the rest.
        if len(args) == 1 and not kwargs and _ready(self, args[0]):
            return await original(self, args[0])
        return await slow(self, *args, **kwargs)

    return acquire


def _wait_over(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For what a connection's holder calls when the wait for it is over: before hooks that prepare the connection."""
    current = context.current

    @functools.wraps(original)
    def call(self: Any, /, *args: Any) -> Any:
        waits = current().get(KEY)
        if waits is not None:
            waits.got()  # type: ignore[attr-defined]
        return original(self, *args)

    return call


def _connects(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """The same, before it makes the connection. That is measured here: a pool makes some in the background, too."""

    @functools.wraps(original)
    async def connect(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        waits = around()
        if waits is not None:
            waits.got()
        began = perf_counter()
        result = await original(self, *args, **kwargs)
        if tracing.active:
            connected(tracing.pools, getattr(self, "_pool", None), perf_counter() - began)
        return result

    return connect


# -- giving it back -----------------------------------------------------------------------------------------------


class _Given:
    """A connection that is given back as a part of an operation of the pool's."""

    __slots__ = ("_around",)

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, around: Around) -> None:
        around.hooks += 1
        around.enter(CAUSAL_POOL_SETUP)
        self._around = around

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is back."""
        self._around.leave(CAUSAL_POOL_SETUP)
        self._around.hooks -= 1


def _begin_release(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> Any:
    proxy = argument(0, "connection", args, kwargs)
    connection = getattr(proxy, "_con", None)
    lease = lease_of(connection) if leases else None
    if lease is not None:
        return GivingBack(lease)
    if connection is not None:
        released(tracing.pools, pool, getattr(proxy, "_holder", None))
    outer = around()
    if outer is not None and outer.tells and outer.pool is pool and outer.connection is connection:
        return _Given(outer)
    return Step(tracing, _on_pool("RELEASE"), (tracing, pool, args, kwargs), CAUSAL_POOL_SETUP)


# -- opening and closing, and what is done in the background ------------------------------------------------------


def _begin_opening(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> Step:
    return Step(tracing, _on_pool("OPEN POOL"), (tracing, pool, args, kwargs), CAUSAL_POOL_SETUP, pool)


def _begin_closing(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> Step:
    return Step(tracing, _on_pool("CLOSE POOL"), (tracing, pool, args, kwargs), None)


class _Background:
    """What a pool does on its own account: no business of the request that noticed. asyncpg logs its failures."""

    __slots__ = ("_around", "inside")

    args: Args | None = None

    def __init__(self) -> None:
        self._around = Around(tells=True)
        self._around.hooks = 1
        self.inside = self._around.inside(Context())

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is done."""
        self._around.close()


def _begin_maintenance(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> _Background:
    return _Background()


# -- the methods of a pool ----------------------------------------------------------------------------------------


class _Operation:
    """A method of a pool under way."""

    __slots__ = ("_around", "_failures", "_place", "_running", "args", "inside")

    def __init__(self, running: Running, args: Args | None, pool: Any, place: tuple[Any, str], key: str | None) -> None:
        self._running = running
        self.args = args
        self._place = place
        self._around = Around(key, pool, tells=True)
        if _ready(pool, None):
            self._around.connection = pool._queue._queue[-1]._con
        self._failures = RecordedFailures()  # so that what is slow inside is no span of its own
        self.inside = self._around.inside(self._failures.inside())

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        self._failures.close()
        running, around = self._running, self._around
        for key, seconds in around.close().items():
            running.part(key, seconds)
        attributes = around.pool_attributes()
        if attributes:
            running.span.set_attributes(attributes)
        found = around.endpoint if around.connection is None else endpoint(around.connection)
        if found is not None and found != self._place:
            running.learn(connection_attributes(*found))
        running.end(result, error)


def _method(name: str) -> Wrapper:
    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        method = POOL_METHODS[name]
        describe = method.describe(tracing.options, _place)
        key = None if name.startswith("copy_") else CAUSAL_SERVER

        def begin(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> Any:
            running, commented = begin_operation(tracing, describe, pool, args, kwargs)
            if running is None:
                return None
            running.rows = method.rows
            leased = None if tracing.pools is not None else _leased(pool)
            if leased is not None and leased not in leases:
                return Lease(running, commented, leased, key)
            return _Operation(running, commented, pool, _place(pool), key)

        return traced_call(begin)(tracing, original)

    return wrap


TARGETS = (
    *(
        Wrap(_POOL, f"Pool.{name}", _method(name), optional=name == "fetchmany")  # which came with 0.30
        for name in POOL_METHODS
    ),
    Wrap(_POOL, "Pool._async__init__", traced_call(_begin_opening), optional=True),
    Wrap(_POOL, "Pool._acquire", _acquire, optional=True),
    Wrap(_POOL, "PoolConnectionHolder.connect", _connects, optional=True),
    Wrap(_POOL, "PoolConnectionHolder._maybe_cancel_inactive_callback", _wait_over, optional=True),
    Wrap(_POOL, "Pool.release", traced_call(_begin_release)),
    Wrap(_POOL, "Pool.close", traced_call(_begin_closing)),
    Wrap(_POOL, "Pool._maintain_min_size", traced_call(_begin_maintenance), optional=True),  # since 0.32
)
"""The targets. Those that are optional without a version are private: if one is missing, the others are placed."""
