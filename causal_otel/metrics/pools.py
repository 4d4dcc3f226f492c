"""What is measured of pools of connections: the semantic conventions' ``db.client.connection.*``."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from causal_otel import names
from causal_otel._internal import faults, process
from causal_otel.instrument.measured import Instrument

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.metrics.cells import Cell, Cells

__all__ = ["COUNT", "CREATE_TIME", "INSTRUMENTS", "LEVELS", "PENDING", "TIMEOUTS", "USE_TIME", "WAIT_TIME", "Pools"]

_NAME = (names.DB_CLIENT_CONNECTION_POOL_NAME,)
_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
_IDLE, _USED = "idle", "used"

COUNT = Instrument(
    names.DB_CLIENT_CONNECTION_COUNT,
    "{connection}",
    "The number of connections that are currently in state described by the state attribute.",
    (*_NAME, names.DB_CLIENT_CONNECTION_STATE),
)
CREATE_TIME = Instrument(
    names.DB_CLIENT_CONNECTION_CREATE_TIME,
    "s",
    "The time it took to create a new connection.",
    _NAME,
    boundaries=_SECONDS,
)
PENDING = Instrument(
    names.DB_CLIENT_CONNECTION_PENDING_REQUESTS,
    "{request}",
    "The number of current pending requests for an open connection.",
    _NAME,
)
TIMEOUTS = Instrument(
    names.DB_CLIENT_CONNECTION_TIMEOUTS,
    "{timeout}",
    "The number of connection timeouts that have occurred trying to obtain a connection from the pool.",
    _NAME,
    monotonic=True,
)
USE_TIME = Instrument(
    names.DB_CLIENT_CONNECTION_USE_TIME,
    "s",
    "The time between borrowing a connection and returning it to the pool.",
    _NAME,
    boundaries=_SECONDS,
)
WAIT_TIME = Instrument(
    names.DB_CLIENT_CONNECTION_WAIT_TIME,
    "s",
    "The time it took to obtain an open connection from the pool.",
    _NAME,
    boundaries=_SECONDS,
)
LEVELS = (COUNT, PENDING, TIMEOUTS)
"""Those that are no histograms."""
INSTRUMENTS = (*LEVELS, CREATE_TIME, USE_TIME, WAIT_TIME)
"""All of them."""


class Pools:
    """The pools of an installation.

    Args:
        cells: where the measurements go.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._watched: list[tuple[weakref.ref[Any], str, Callable[[Any], tuple[int, int]]]] = []
        cells.before_collecting.append(self._count)

    def meter(self, name: str, pool: object, count: Callable[[Any], tuple[int, int]]) -> _Meter:
        """See :class:`causal_otel.instrument.measured.PoolMetrics`."""
        name = self._cells.redact(names.DB_CLIENT_CONNECTION_POOL_NAME, name)
        self._watched[:] = [each for each in self._watched if each[0]() is not None]
        try:
            self._watched.append((weakref.ref(pool), name, count))
        except TypeError:
            faults.report("metrics: a pool that cannot be watched")
        return _Meter(self._cells, name)

    def _count(self) -> None:
        """Ask every pool how many connections it has. Pools of one name count together."""
        found: dict[tuple[str, str], int] = {}
        for reference, name, count in list(self._watched):
            pool = reference()
            states = {_IDLE: 0, _USED: 0}  # of a pool that is gone
            if pool is not None:
                try:
                    states[_IDLE], states[_USED] = count(pool)
                except Exception:
                    faults.report("metrics: connections of a pool")
            for state, number in states.items():
                found[name, state] = found.get((name, state), 0) + number
        family = self._cells.family(COUNT)
        for (name, state), number in found.items():
            labels = {names.DB_CLIENT_CONNECTION_POOL_NAME: name, names.DB_CLIENT_CONNECTION_STATE: state}
            family.cell(labels).set(number)


class _Meter:
    """What is measured of one pool."""

    def __init__(self, cells: Cells, name: str) -> None:
        self._cells = cells
        self._labels = {names.DB_CLIENT_CONNECTION_POOL_NAME: name}
        self._process: object = None

    def _cell(self, instrument: Instrument) -> Cell:
        if self._process is not process.token:  # a forked child counts in cells of its own
            self._process = process.token
            self._found: dict[str, Cell] = {}
        found = self._found.get(instrument.name)
        if found is None:
            found = self._found[instrument.name] = self._cells.family(instrument).cell(self._labels)
        return found

    def _add(self, instrument: Instrument, value: float) -> None:
        try:
            self._cell(instrument).add(value)
        except Exception:
            faults.report("metrics: a pool")

    def waited(self, seconds: float) -> None:
        self._add(WAIT_TIME, seconds)

    def created(self, seconds: float) -> None:
        self._add(CREATE_TIME, seconds)

    def used(self, seconds: float) -> None:
        self._add(USE_TIME, seconds)

    def timed_out(self) -> None:
        self._add(TIMEOUTS, 1)

    def pending(self, change: int) -> None:
        self._add(PENDING, change)
