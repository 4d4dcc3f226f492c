"""What a patch declares to be measured of its operations, and who is told of them.

The instruments of the semantic conventions are in :mod:`causal_otel.metrics.conventions`, and who is told is
:class:`causal_otel.metrics.observer.Metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Operation

__all__ = ["Instrument", "Measured", "OperationMetrics", "PoolMeter", "PoolMetrics", "Rows"]

Rows = Callable[[Any], int | None]
"""How many rows a driver's result has; None: it does not say."""


class Instrument(NamedTuple):
    """A metric.

    Args:
        name: as the conventions have it.
        unit: likewise, in UCUM.
        description: one sentence.
        attributes: the attributes of its measurements, of those that an operation begins with.
        learned: the attributes of its measurements, of those that an operation learns later. One that is in both may be
            known at the beginning or later; if it is known twice, the later value counts.
        boundaries: the upper bounds of its buckets; empty: it is no histogram, but a counter.
        monotonic: whether such a counter only goes up.
    """

    name: str
    unit: str
    description: str
    attributes: tuple[str, ...]
    learned: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()
    monotonic: bool = False


class Measured(NamedTuple):
    """What is measured of each operation of one kind.

    Args:
        duration: its duration in seconds, failures and cancellations included.
        rows: how many rows it has returned, where that is known: see ``rows`` of
            :func:`~causal_otel.instrument.calls.client_call`. It has the attributes of ``duration``.
        active: how many are under way.
        counted: how many have ended, by what they have learned.
        noted: numbers that it has as attributes when it begins, such as how long it has waited: what measures them, by
            the attribute.
    """

    duration: Instrument
    rows: Instrument | None = None
    active: Instrument | None = None
    counted: Instrument | None = None
    noted: Mapping[str, Instrument] = MappingProxyType({})


class OperationMetrics(Protocol):
    """Is told of each operation of a patch, recorded or not. Never raises.

    Attributes:
        counts_active: whether it wants to know of their beginning.
    """

    counts_active: bool

    def began(self, operation: Operation) -> Any:
        """The operation begins. What this returns is given to :meth:`ended`."""

    def ended(
        self,
        operation: Operation,
        seconds: float,
        learned: Mapping[str, Any] | None,
        error_type: str | None,
        rows: int | None = None,
        active: Any = None,
    ) -> None:
        """The operation is over.

        Args:
            operation: which one.
            seconds: how long it took; negative: it never was under way, and is counted only.
            learned: attributes that became known after it began, those of its failure included.
            error_type: its ``error.type``, if it failed.
            rows: how many rows it has returned, if that is known.
            active: what :meth:`began` returned.
        """


class PoolMeter(Protocol):
    """Is told what happens in one pool of connections. Never raises."""

    def waited(self, seconds: float) -> None:
        """Somebody has got a connection, after that long."""

    def created(self, seconds: float) -> None:
        """A connection was made, which took that long."""

    def used(self, seconds: float) -> None:
        """A connection was given back, after that long."""

    def timed_out(self) -> None:
        """Somebody has waited for a connection in vain."""

    def pending(self, change: int) -> None:
        """Somebody begins to wait for a connection (1), or ends (-1)."""


class PoolMetrics(Protocol):
    """Measures pools of connections, all that there are."""

    def meter(self, name: str, pool: object, count: Callable[[Any], tuple[int, int]]) -> PoolMeter:
        """What a pool is to tell from now on: make one for each, and keep it with the pool.

        Args:
            name: the pool's name; without one, the conventions have ``host:port/database``.
            pool: the pool, of which a weak reference is kept.
            count: tells how many connections of ``pool`` are idle, and how many are used. A thread calls it whenever
                metrics are collected.
        """
