"""The metrics of the neo4j driver's pools. Where nobody wants them nothing is wrapped."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.calls import traced_call
from causal_otel.patches.neo4j.internals import private

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from causal_otel.instrument.calls import Args, Kwargs
    from causal_otel.instrument.measured import PoolMeter
    from causal_otel.instrument.tracing import Tracing

__all__ = ["acquiring", "connecting", "releasing"]

_METER = "_causal_otel_meter"
_USED_SINCE = "_causal_otel_used_since"


class _Measured:
    """A call of a session, or a pool's making of a connection, that is measured."""

    __slots__ = ("_began", "_meter", "_session")

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, session: Any, meter: PoolMeter) -> None:
        self._session = session
        self._meter = meter
        self._began = perf_counter()


class _Acquiring(_Measured):
    """``Session._connect``: from asking for a connection to having one."""

    __slots__ = ()

    def __init__(self, session: Any, meter: PoolMeter) -> None:
        super().__init__(session, meter)
        meter.pending(1)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """There is a connection, or there is none."""
        now = perf_counter()
        self._meter.pending(-1)
        if error is None:
            self._meter.waited(now - self._began)
            vars(self._session)[_USED_SINCE] = now
        elif _is_timeout(error):
            self._meter.timed_out()


class _Releasing(_Measured):
    """``Session._disconnect``, which gives the connection back."""

    __slots__ = ()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It has been given back, if there was one."""
        since = vars(self._session).pop(_USED_SINCE, None)
        if since is not None:
            self._meter.used(perf_counter() - since)


def connecting(tracing: Tracing[Any], pool: Any, seconds: float) -> None:
    """A connection of ``pool`` was made, which took that long."""
    meter = _meter(tracing, pool)
    if meter is not None:
        meter.created(seconds)


def _is_timeout(error: BaseException) -> bool:
    """Whether no connection of the pool came free in time. Drivers before version 6 have no class for it."""
    name = type(error).__name__
    return name == "ConnectionAcquisitionTimeoutError" or (
        name == "ClientError" and private(error, "code") is None and "from the pool within" in str(error)
    )


def _meter(tracing: Tracing[Any], pool: Any) -> PoolMeter | None:
    """What measures ``pool``; None: nothing does."""
    if tracing.pools is None or pool is None:
        return None
    known: tuple[Any, PoolMeter] | None = vars(pool).get(_METER)
    if known is not None and known[0] is tracing.pools:
        return known[1]
    address = private(pool, "address")
    name = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "neo4j"
    meter = tracing.pools.meter(name, pool, _count)
    vars(pool)[_METER] = tracing.pools, meter
    return meter


def _count(pool: Any) -> tuple[int, int]:
    """How many connections of a pool are idle, and how many are used."""
    connections = [each for of_one_address in list(pool.connections.values()) for each in list(of_one_address)]
    used = sum(1 for each in connections if each.in_use)
    return len(connections) - used, used


def _wrapper(kind: type[_Acquiring | _Releasing]) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    def begin(tracing: Tracing[Any], session: Any, args: Args, kwargs: Kwargs) -> _Acquiring | _Releasing | None:
        meter = _meter(tracing, private(session, "_pool"))
        return None if meter is None else kind(session, meter)

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        return original if tracing.pools is None else traced_call(begin, carries=True)(tracing, original)

    return wrap


acquiring = _wrapper(_Acquiring)
"""Wraps ``Session._connect``."""

releasing = _wrapper(_Releasing)
"""Wraps ``Session._disconnect``."""
