"""The metrics of an engine's pool, where the pool is a queue of connections; others have no numbers to tell."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from causal_otel._internal import faults
from causal_otel.instrument.measured import PoolMeter
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.sqlalchemy.engines import place_of

__all__ = ["listen_to_checkins", "measured_checkout", "meter_of"]

_KEY = "causal_otel.in_use"

_lock = threading.Lock()
_meters: WeakKeyDictionary[Any, PoolMeter] = WeakKeyDictionary()


def meter_of(pool: Any) -> PoolMeter | None:
    """What measures a pool; None: nothing does."""
    try:
        return _meters.get(pool)
    except TypeError:  # nothing that a weak reference can be made of
        return None


def _meter(tracing: Tracing[Any], engine: Any) -> PoolMeter | None:
    try:
        pool = engine.pool
        found = _meters.get(pool)
        if found is None and tracing.pools is not None and hasattr(pool, "checkedin"):
            with _lock:
                found = _meters.get(pool)
                if found is None:
                    found = _meters[pool] = tracing.pools.meter(place_of(engine).pool_name, pool, _count)
        return found
    except Exception:
        faults.report("sqlalchemy: a pool's metrics")
        return None


def _count(pool: Any) -> tuple[int, int]:
    return pool.checkedin(), pool.checkedout()


def measured_checkout(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``Engine.raw_connection``, if there are metrics: how long it took, and since when it is in use."""
    if tracing.pools is None:
        return original

    from sqlalchemy.exc import TimeoutError as PoolTimeout

    @functools.wraps(original)
    def raw_connection(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        meter = _meter(tracing, self) if tracing.active else None
        if meter is None:
            return original(self, *args, **kwargs)
        began = perf_counter()
        try:
            connection = original(self, *args, **kwargs)
        except PoolTimeout:
            meter.timed_out()
            raise
        now = perf_counter()
        meter.waited(now - began)
        try:
            connection.record_info[_KEY] = meter, now
        except Exception:
            faults.report("sqlalchemy: a connection in use")
        return connection

    return raw_connection


def _given_back(dbapi_connection: Any, record: Any) -> None:
    meter, since = record.record_info.pop(_KEY, (None, 0.0))
    if meter is not None:
        meter.used(perf_counter() - since)


def listen_to_checkins(tracing: Tracing[Any]) -> Callable[[], None]:
    """Listen to all pools, if there are metrics; returns what stops it."""
    if tracing.pools is None:
        return lambda: None
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    event.listen(Pool, "checkin", _given_back)

    def stop() -> None:
        event.remove(Pool, "checkin", _given_back)
        _meters.clear()

    return stop
