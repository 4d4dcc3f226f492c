"""Pools of connections: waiting for one that has none is a part of the command, and all of them have metrics.

The wait is noted for pools that make their callers wait (``BlockingConnectionPool``): any other one gives a connection
or raises at once. Metrics are those of the conventions, per pool; a pool's name is ``host:port/database``, the socket's
path in place of host and port, or the name of Sentinel's service. asyncio's clusters have no pools, but nodes with
connections of their own, of which there are no metrics.
"""

from __future__ import annotations

import functools
import inspect
from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument import parts
from causal_otel.instrument.declaration import Wrap
from causal_otel.names import CAUSAL_POOL_SIZE, CAUSAL_POOL_WAIT, CAUSAL_POOL_WAITING

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.measured import PoolMeter, PoolMetrics
    from causal_otel.instrument.tracing import Tracing

__all__ = ["targets"]

_METER = "_causal_otel_meter"
_MADE = "_causal_otel_made"
_TAKEN = "_causal_otel_taken"


def _waiting(pool: Any) -> int | None:
    """How many wait for a connection of a pool that has none; None: nobody need wait.

    A pool that does not say counts as one that nobody waits for.
    """
    try:
        queue = getattr(pool, "pool", None)
        if queue is not None:  # of the synchronous half; asyncio's had one as well before 5.1
            if queue.qsize():
                return None
            return len(queue._getters) if hasattr(queue, "_getters") else len(queue.not_empty._waiters)
        if pool._available_connections or len(pool._in_use_connections) < pool.max_connections:
            return None
        return len(pool._condition._waiters)
    except (AttributeError, TypeError):
        return 0


def _waited(pool: Any, waiting: int, began: float) -> None:
    """Note how long a pool made its caller wait, once that is over."""
    seconds = perf_counter() - began - parts.noted(began)
    if seconds < parts.LEAST:
        return
    parts.note(CAUSAL_POOL_WAIT, seconds)
    parts.tell(CAUSAL_POOL_SIZE, pool.max_connections)
    parts.tell(CAUSAL_POOL_WAITING, waiting)


# -- metrics ------------------------------------------------------------------------------------------------------


def _name(pool: Any) -> str:
    settings = pool.connection_kwargs
    service = getattr(pool, "service_name", None)
    if service is not None:
        return str(service)
    server = settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
    return f"{server}/{settings.get('db') or 0}"


def _count(pool: Any) -> tuple[int, int]:
    """How many connections of a pool are idle, and how many are used."""
    queue = getattr(pool, "pool", None)
    if queue is None:
        return len(pool._available_connections), len(pool._in_use_connections)
    connections = queue.queue if hasattr(queue, "queue") else queue._queue
    idle = sum(connection is not None for connection in list(connections))
    return idle, len(pool._connections) - idle


def _meter(pools: PoolMetrics, pool: Any) -> PoolMeter | None:
    """What a pool tells, made when it is first used; None: it is none that can be measured."""
    found: PoolMeter | None = vars(pool).get(_METER)
    if found is None:
        try:
            found = pools.meter(_name(pool), pool, _count)
            setattr(pool, _METER, found)
        except Exception:
            faults.report("redis: metrics of a pool")
    return found


def _taken(meter: PoolMeter, connection: Any, began: float) -> None:
    """A connection was got from a pool."""
    now = perf_counter()
    meter.waited(now - began)
    known = vars(connection)
    made = known.pop(_MADE, None)
    if made is not None:
        meter.created(now - made)
    known[_TAKEN] = now


def _given_back(pool: Any, connection: Any) -> None:
    meter, taken = vars(pool).get(_METER), vars(connection).pop(_TAKEN, None)
    if meter is not None and taken is not None:
        meter.used(perf_counter() - taken)


def _checking_out(blocks: bool) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """For the method of a pool that gives a connection.

    Args:
        blocks: whether it makes its caller wait.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        pools = tracing.pools
        if pools is None and not blocks:
            return original

        class Checkout:
            """One call."""

            __slots__ = ("began", "meter", "pool", "waiting")

            def __init__(self, pool: Any) -> None:
                self.pool = pool
                self.waiting = _waiting(pool) if blocks else None
                self.meter = None if pools is None else _meter(pools, pool)
                if self.meter is not None and self.waiting is not None:
                    self.meter.pending(1)
                self.began = perf_counter()

            def end(self, connection: Any, error: BaseException | None) -> None:
                if self.waiting is not None:
                    _waited(self.pool, self.waiting, self.began)
                meter = self.meter
                if meter is None:
                    return
                if self.waiting is not None:
                    meter.pending(-1)
                if error is None:
                    _taken(meter, connection, self.began)
                elif self.waiting is not None and "No connection available" in str(error):
                    meter.timed_out()

        def begin(pool: Any) -> Checkout | None:
            try:
                return Checkout(pool)
            except Exception:
                faults.report("redis: a pool")
                return None

        def end(checkout: Checkout | None, connection: Any, error: BaseException | None = None) -> None:
            try:
                if checkout is not None:
                    checkout.end(connection, error)
            except Exception:
                faults.report("redis: a pool")

        async def awaited(checkout: Checkout | None, coming: Any) -> Any:
            try:
                connection = await coming
            except BaseException as error:
                end(checkout, None, error)
                raise
            end(checkout, connection)
            return connection

        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def async_get_connection(self: Any, /, *args: Any, **kwargs: Any) -> Any:
                return await awaited(begin(self), original(self, *args, **kwargs))

            return async_get_connection

        @functools.wraps(original)
        def get_connection(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            checkout = begin(self)
            try:
                connection = original(self, *args, **kwargs)
            except BaseException as error:
                end(checkout, None, error)
                raise
            if inspect.iscoroutine(connection):  # of asyncio's half, whose method redis-py 5.3 to 7 decorate
                return awaited(checkout, connection)
            end(checkout, connection)
            return connection

        return get_connection

    return wrap


def _making(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a pool that makes a connection, which is opened then."""
    if tracing.pools is None:
        return original

    @functools.wraps(original)
    def make_connection(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        connection = original(self, *args, **kwargs)
        try:
            vars(connection)[_MADE] = perf_counter()
        except Exception:
            faults.report("redis: a pool")
        return connection

    return make_connection


def _checking_in(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a pool that takes a connection back."""
    if tracing.pools is None:
        return original

    def note(pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            _given_back(pool, args[0] if args else kwargs.get("connection"))
        except Exception:
            faults.report("redis: a pool")

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def async_release(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            note(self, args, kwargs)
            return await original(self, *args, **kwargs)

        return async_release

    @functools.wraps(original)
    def release(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        note(self, args, kwargs)
        return original(self, *args, **kwargs)

    return release


def targets(driver: str) -> tuple[Wrap, ...]:
    """Where pools give connections and take them back.

    Args:
        driver: the package, ``redis`` or ``valkey``.
    """
    found = []
    for module in (f"{driver}.connection", f"{driver}.asyncio.connection"):
        found += [
            Wrap(module, "BlockingConnectionPool.get_connection", _checking_out(blocks=True)),
            Wrap(module, "ConnectionPool.get_connection", _checking_out(blocks=False)),
            # Where one calls the other's, or inherits it, the second note says the same as the first.
            *(
                Wrap(module, f"{kind}.make_connection", _making)
                for kind in ("BlockingConnectionPool", "ConnectionPool")
            ),
            *(Wrap(module, f"{kind}.release", _checking_in) for kind in ("BlockingConnectionPool", "ConnectionPool")),
        ]
    return tuple(found)
