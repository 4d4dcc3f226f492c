"""What is measured of pools: how long connections are waited for, made and used, and how many there are.

A pool has no place for anything of ours and cannot be referred to weakly. Its queue can: what measures a pool lives
there, as long as the pool does.
"""

from __future__ import annotations

import functools
from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.patches.asyncpg.operations import endpoint
from causal_otel.patches.asyncpg.under_way import around

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from causal_otel.instrument.measured import PoolMeter, PoolMetrics
    from causal_otel.instrument.tracing import Tracing

__all__ = ["connected", "measured_acquire", "released"]

_ATTRIBUTE = "_causal_otel_measured"


class _Measured:
    """A pool that is measured.

    Attributes:
        meter: is told.
        holders: the pool's connections; each knows the pool, so nothing lives longer for being here.
        since: when each of them was taken, by ``perf_counter()``.
    """

    __slots__ = ("holders", "meter", "since")

    def __init__(self, meter: PoolMeter, holders: Sequence[Any]) -> None:
        self.meter = meter
        self.holders = holders
        self.since: dict[Any, float] = {}


def _count(queue: Any) -> tuple[int, int]:
    """How many connections are idle, and how many are used."""
    connected = [each for each in getattr(queue, _ATTRIBUTE).holders if each.is_connected()]
    idle = sum(each.is_idle() for each in connected)
    return idle, len(connected) - idle


def _name(pool: Any) -> str:
    """``host:port/database`` of any connection, or of what was tried in vain."""
    found = next((endpoint(each._con) for each in pool._holders if each._con is not None), None)
    if found is None:
        under_way = around()
        found = under_way.endpoint if under_way is not None else None
    if found is None:
        return "postgresql"
    address, database = found
    place = address if isinstance(address, str) else ":".join(map(str, address[:2])) if address else ""
    return f"{place}/{database}"


def _measured(metrics: PoolMetrics | None, pool: Any) -> _Measured | None:
    """What measures ``pool``; made with the first that is measured of it."""
    if metrics is None:
        return None
    try:
        queue = pool._queue
        found: _Measured | None = getattr(queue, _ATTRIBUTE, None)
        if found is None:
            meter = metrics.meter(_name(pool), queue, _count)
            found = _Measured(meter, pool._holders)
            setattr(queue, _ATTRIBUTE, found)
        return found
    except Exception:  # of a version with other private attributes
        faults.report("asyncpg: measuring a pool")
        return None


def _known(metrics: PoolMetrics | None, pool: Any) -> _Measured | None:
    """The same, unless nobody knows yet what the pool connects to."""
    holders = getattr(pool, "_holders", ())
    named = hasattr(getattr(pool, "_queue", None), _ATTRIBUTE) or any(each._con is not None for each in holders)
    return _measured(metrics, pool) if named else None


def measured_acquire(
    tracing: Tracing[Any],
    quick: Callable[..., Any],
    slow: Callable[..., Any],
    ready: Callable[[Any, Any], bool],
) -> Callable[..., Any]:
    """What gets a connection from a pool that is measured.

    Args:
        tracing: the handle.
        quick: gets a connection that is there.
        slow: gets one that has to be waited for or made.
        ready: tells which it is.
    """
    metrics = tracing.pools

    @functools.wraps(quick)
    async def acquire(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not tracing.active:
            return await quick(self, *args, **kwargs)
        began = perf_counter()
        if len(args) == 1 and not kwargs and ready(self, args[0]):
            proxy = await quick(self, *args, **kwargs)
        else:
            pool = _known(metrics, self)
            if pool is not None:
                pool.meter.pending(1)
            try:
                proxy = await slow(self, *args, **kwargs)
            except TimeoutError:
                pool_too_small = pool or _measured(metrics, self)
                if pool_too_small is not None:
                    pool_too_small.meter.timed_out()
                raise
            finally:
                if pool is not None:
                    pool.meter.pending(-1)
        measured = _measured(metrics, self)
        holder = getattr(proxy, "_holder", None)
        if measured is not None and holder is not None:
            now = perf_counter()
            measured.meter.waited(now - began)
            measured.since[holder] = now
        return proxy

    return acquire


def released(metrics: PoolMetrics | None, pool: Any, holder: Any) -> None:
    """A connection is being given back."""
    measured = _measured(metrics, pool) if holder is not None else None
    since = measured.since.pop(holder, None) if measured is not None else None
    if measured is not None and since is not None:
        measured.meter.used(perf_counter() - since)


def connected(metrics: PoolMetrics | None, pool: Any, seconds: float) -> None:
    """A connection was made for ``pool``, in so many seconds, its ``init`` included."""
    measured = _measured(metrics, pool) if pool is not None else None
    if measured is not None:
        measured.meter.created(seconds)
