"""psycopg_pool: getting connections from a pool and giving them back is plumbing, and measured.

A pool's workers connect, configure and reset connections in tasks or threads of their own, which start with the context
of whoever opened the pool. What they do there is nobody's operation: nothing of it is recorded, and psycopg_pool logs
what fails.
"""

from __future__ import annotations

import functools
import inspect
from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.calls import Args, Describe, Kwargs, Wrapper, argument, inside, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.parts import LEAST, note, noted, parts_of
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.names import CAUSAL_POOL_SETUP, CAUSAL_POOL_SIZE, CAUSAL_POOL_WAIT, CAUSAL_POOL_WAITING
from causal_otel.patches._postgresql import ERRORS
from causal_otel.patches.psycopg.connecting import place_named
from causal_otel.patches.psycopg.operations import Place, place, plumbing

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.measured import PoolMeter, PoolMetrics
    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS"]

_METER, _SINCE = "_causal_otel_meter", "_causal_otel_since"


def _place(pool: Any) -> Place:
    """Where a pool's connections lead: by one of those that are idle, else as far as it was told."""
    try:
        connection = next(iter(pool._pool), None)
    except Exception:  # of a version that keeps them elsewhere, or another thread has just taken one
        connection = None
    if connection is not None:
        return place(connection)
    conninfo, kwargs = getattr(pool, "conninfo", ""), getattr(pool, "kwargs", None)
    given = kwargs if isinstance(kwargs, dict) else {}
    named = {key: value for key, value in given.items() if key in ("host", "hostaddr", "port", "dbname")}
    return place_named(conninfo if isinstance(conninfo, str) else "", named)


def _on_pool(operation: str) -> Describe:
    def describe(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> Operation:
        return plumbing(operation, *_place(pool))

    return describe


# -- what is measured ---------------------------------------------------------------------------------------------


def _count(pool: Any) -> tuple[int, int]:
    """How many connections are idle, and how many are used."""
    stats = pool.get_stats()
    idle = stats.get("pool_available", 0)
    return idle, max(0, stats.get("pool_size", 0) - idle)


def _meter(metrics: PoolMetrics | None, pool: Any) -> PoolMeter | None:
    """What measures ``pool``; made with the first that is measured of it. None: nothing does."""
    if metrics is None:
        return None
    try:
        found: PoolMeter | None = pool.__dict__.get(_METER)
        if found is None:
            found = metrics.meter(pool.name, pool, _count)
            pool.__dict__[_METER] = found
        return found
    except Exception:
        faults.report("psycopg: measuring a pool")
        return None


def _taken(meter: PoolMeter, pool: Any, connection: Any, error: BaseException | None, seconds: float) -> None:
    """Somebody has got a connection, or has waited in vain."""
    if error is None:
        meter.waited(seconds)
        connection.__dict__[_SINCE] = perf_counter()
    elif type(error).__name__ == "PoolTimeout":
        meter.timed_out()


# -- getting a connection -----------------------------------------------------------------------------------------


class _Acquiring(Plumbing):
    """A connection that is to be got from a pool. What nothing else is noted of was the wait for one."""

    __slots__ = ("_meter", "_pool", "_since", "_waiting")

    def __init__(self, tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> None:
        super().__init__(tracing, _on_pool("ACQUIRE"), (tracing, pool, args, kwargs), ERRORS, nests=True)
        self._pool = pool
        self._waiting = len(getattr(pool, "_waiting", ()))
        self._meter = _meter(tracing.pools, pool)
        if self._meter is not None:
            self._meter.pending(1)
        self._since = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is there, or not."""
        seconds = perf_counter() - self._since
        if self._meter is not None:
            self._meter.pending(-1)
            _taken(self._meter, self._pool, result, error, seconds)
        if seconds >= LEAST:
            for key, value in parts_of(self._since, seconds, CAUSAL_POOL_WAIT).items():
                self.part(key, value)
                if key == CAUSAL_POOL_WAIT:
                    self.learn({CAUSAL_POOL_SIZE: self._pool.max_size, CAUSAL_POOL_WAITING: self._waiting})
        super().end(result, error)


def _begin_acquiring(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> _Acquiring:
    return _Acquiring(tracing, pool, args, kwargs)


def _check(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For what tries a connection before it is given: the pool's ``check``, which is the program's or psycopg_pool's.

    It is asked for each connection, and one that fails is replaced: its statements are no operations.
    """

    def begin(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> _Checking | None:
        return None if getattr(pool, "_check", None) is None else _Checking()

    return traced_call(begin)(tracing, original)


class _Checking:
    """A connection that is tried."""

    __slots__ = ("_since", "inside")

    args: Args | None = None

    def __init__(self) -> None:
        self.inside = context.suppressed_context()
        self._since = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It works, or not."""
        note(CAUSAL_POOL_SETUP, perf_counter() - self._since - noted(self._since))


# -- giving it back, opening and closing --------------------------------------------------------------------------


class _Step(Plumbing):
    """Something else that a pool is asked for.

    Args:
        tracing: the handle.
        operation: its name.
        pool: the pool.
    """

    __slots__ = ("_since",)

    def __init__(self, tracing: Tracing[Any], operation: str, pool: Any) -> None:
        super().__init__(tracing, _on_pool(operation), (tracing, pool, (), {}), ERRORS, nests=True)
        self._since = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is done."""
        self.part(CAUSAL_POOL_SETUP, perf_counter() - self._since)
        super().end(result, error)


def _begin_releasing(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> _Step:
    meter = _meter(tracing.pools, pool)
    since = getattr(argument(0, "conn", args, kwargs), "__dict__", {}).pop(_SINCE, None)
    if meter is not None and since is not None:
        meter.used(perf_counter() - since)
    return _Step(tracing, "RELEASE", pool)


def _step(operation: str) -> Wrapper:
    def begin(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> _Step:
        return _Step(tracing, operation, pool)

    return traced_call(begin)


def _connect(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For what makes a connection for a pool, and has it configured."""
    metrics = tracing.pools
    if metrics is None:
        return original

    def connected(pool: Any, began: float) -> None:
        meter = _meter(metrics, pool) if tracing.active else None
        if meter is not None:
            meter.created(perf_counter() - began)

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            connection = await original(self, *args, **kwargs)
            connected(self, began)
            return connection

        return async_call

    @functools.wraps(original)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        connection = original(self, *args, **kwargs)
        connected(self, began)
        return connection

    return call


_POOL = "psycopg_pool"

TARGETS = (
    *(
        wrap
        for pool in ("ConnectionPool", "AsyncConnectionPool")
        for wrap in (
            Wrap(_POOL, f"{pool}.getconn", traced_call(_begin_acquiring)),
            Wrap(_POOL, f"{pool}._check_connection", _check, optional=True),
            Wrap(_POOL, f"{pool}.putconn", traced_call(_begin_releasing)),
            Wrap(_POOL, f"{pool}._connect", _connect, optional=True),
            Wrap(_POOL, f"{pool}.wait", _step("OPEN POOL")),
            Wrap(_POOL, f"{pool}.close", _step("CLOSE POOL")),
        )
    ),
    *(
        Wrap(f"{_POOL}.{module}", "MaintenanceTask.run", inside(context.suppressed_context), optional=True)
        for module in ("pool", "pool_async")
    ),
)
"""The targets. Those that are optional are private: if one is missing, the others are placed."""
