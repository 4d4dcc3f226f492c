"""What has been measured in this process: a cell for each instrument and set of labels.

An operation that ends adds a number to a list, which is all that metrics cost its caller: bounded work is left to
whoever collects, or to the operation that finds the list long. Appending to a list and taking a list's first items are
single steps, with the GIL and without it.
"""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults, process
from causal_otel.names import ERROR_TYPE, OTEL_METRIC_OVERFLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from causal_otel.instrument.measured import Instrument

__all__ = ["LIMIT", "LONG", "Cell", "Cells", "Family", "Group", "Totals"]

LIMIT = 2000
"""Sets of labels of an instrument, as in OpenTelemetry's SDK; whatever comes beyond shares the last one."""

LONG = 1024
"""Measurements that may wait in a cell before the operation that added the last one does something about them."""

_OVERFLOW = {OTEL_METRIC_OVERFLOW: True}
_INDEXED = 4 * LIMIT  # ways in which labels were given, that are remembered


@dataclass(frozen=True, slots=True)
class Totals:
    """What a cell has come to."""

    count: int
    total: float
    low: float
    high: float
    buckets: tuple[int, ...]


class Cell:
    """What has been measured with one set of labels.

    Attributes:
        family: whose it is.
        cells: whose that is.
        labels: the attributes of all its measurements.
        pending: measurements that nobody has looked at yet.
        rows: the cell for the rows that the same operations return, once one is known.
    """

    __slots__ = ("_buckets", "_count", "_high", "_low", "_total", "cells", "family", "labels", "pending", "rows")

    def __init__(self, family: Family, labels: dict[str, Any]) -> None:
        self.family = family
        self.cells = family.cells
        self.labels = labels
        self.pending: list[float] = []
        self.rows: Cell | None = None
        self.reset()

    def add(self, value: float) -> None:
        """Measure once more."""
        pending = self.pending
        pending.append(value)
        if len(pending) > LONG:
            self.cells.grown(self)

    def reset(self) -> None:
        """Begin anew."""
        self._count = 0
        self._total: float = 0
        self._low: float = 0
        self._high: float = 0
        self._buckets = [0] * (len(self.family.instrument.boundaries) + 1)

    def take(self) -> list[float]:
        """The measurements that were pending. One thread at a time."""
        pending = self.pending
        taken = pending[:]
        del pending[: len(taken)]
        return taken

    def fold(self) -> None:
        """Count what is pending. One thread at a time."""
        values = self.take()
        if not values:
            return
        values.sort()  # so that counting is a search for each boundary, not for each value
        low, high = values[0], values[-1]
        if self._count:
            low, high = min(low, self._low), max(high, self._high)
        self._low, self._high = low, high
        self._count += len(values)
        self._total += sum(values)
        below = 0
        for index, boundary in enumerate(self.family.instrument.boundaries):
            upto = bisect_right(values, boundary, below)
            self._buckets[index] += upto - below
            below = upto
        self._buckets[-1] += len(values) - below

    def totals(self) -> Totals:
        """What it has come to, as of the last :meth:`fold`."""
        return Totals(self._count, self._total, self._low, self._high, tuple(self._buckets))


class Group:
    """The cells of operations that begin alike. What they learn later, and their error, tells the cells apart.

    Args:
        family: whose they are.
        labels: those that they have in common.
        active: counts those under way; None: nobody wants to know.

    Attributes:
        cells: those of all families.
        process: the token of the process that they count for.
        index: the cells, by :attr:`learned_key`.
        learned_key: that of the family.
        learns: whether anything that an operation learns tells its cell.
        only: that of operations that have learned nothing and not failed, once there is one.
    """

    __slots__ = ("_family", "_labels", "active", "cells", "index", "learned_key", "learns", "only", "process")

    def __init__(self, family: Family, labels: dict[str, Any], active: Cell | None) -> None:
        self._family = family
        self.cells = family.cells
        self.process = process.token
        self.learned_key = family.learned_key
        self.learns = bool(family.instrument.learned)
        self.index: dict[tuple[Any, ...], Cell] = {}
        self.only: Cell | None = None
        self.active = active
        self._labels = labels

    def find(self, learned: Mapping[str, Any] | None = None, error_type: str | None = None) -> Cell:
        """The cell for one operation, which is in :attr:`index` or :attr:`only` from now on.

        Args:
            learned: what has become known of it since it began.
            error_type: its ``error.type``, if it has failed.
        """
        family = self._family
        if error_type is None and (learned is None or not self.learns):
            self.only = family.cell(self._labels)
            return self.only
        learned = learned or {}
        cell = family.cell({**self._labels, **family.learned_labels(learned, error_type)})
        with contextlib.suppress(TypeError):  # a value that cannot be hashed
            family.remember(self.index, family.learned_key(error_type, learned), cell)
        return cell


class Family:
    """The cells of one instrument.

    Args:
        instrument: which one.
        cells: whose family it is.

    Attributes:
        groups: by :attr:`began_key`.
        began_key: makes a key of what an operation began with.
        learned_key: makes one of an ``error.type`` and of what it has learned since.
    """

    def __init__(self, instrument: Instrument, cells: Cells) -> None:
        self.instrument = instrument
        self.cells = cells
        self._names = tuple(name for name in instrument.attributes if name != ERROR_TYPE)
        self.began_key = _compiled("", self._names)
        self.learned_key = _compiled("error_type, ", instrument.learned)
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked child does."""
        self.groups: dict[tuple[Any, ...], Group] = {}
        self._known: dict[tuple[Any, ...], Cell] = {}
        self._remembered = 0

    def known(self) -> list[Cell]:
        """All that there are."""
        return list(self._known.values())

    def remember(self, index: dict[Any, Any], key: tuple[Any, ...], value: Any) -> None:
        """Put ``value`` into ``index``, unless so much has been put there that it would be no bound."""
        if self._remembered < _INDEXED:
            index[key] = value
            self._remembered += 1

    def group(self, attributes: Mapping[str, Any], active: Cell | None = None) -> Group:
        """The cells for operations that begin with ``attributes``, which are in :attr:`groups` from now on.

        Args:
            attributes: what they begin with.
            active: counts those under way, if anybody wants to know.
        """
        group = Group(self, self._labels(self._names, attributes), active)
        with contextlib.suppress(TypeError):  # a value that cannot be hashed
            self.remember(self.groups, self.began_key(attributes), group)
        return group

    def learned_labels(self, learned: Mapping[str, Any], error_type: str | None) -> dict[str, Any]:
        """The labels that an operation has got after it began."""
        labels = self._labels(self.instrument.learned, learned)
        if error_type is not None and ERROR_TYPE in self.instrument.attributes:
            labels[ERROR_TYPE] = error_type
        return labels

    def _labels(self, names: tuple[str, ...], attributes: Mapping[str, Any]) -> dict[str, Any]:
        redact = self.cells.redact
        found = ((name, attributes.get(name)) for name in names)
        return {name: redact(name, _plain(value)) for name, value in found if value is not None}

    def cell(self, labels: dict[str, Any]) -> Cell:
        """The one for ``labels``, or for all that are too many."""
        key = tuple(sorted(labels.items()))
        with self.cells.adding:
            found = self._known.get(key)
            if found is None:
                if len(self._known) >= LIMIT - 1:
                    labels, key = _OVERFLOW, tuple(_OVERFLOW.items())
                found = self._known.setdefault(key, Cell(self, labels))
        self.cells.begun()
        return found


class Cells:
    """All families of an installation. A forked child begins with empty ones.

    Args:
        redact: takes secrets out of a label's value, given its name.

    Attributes:
        reading: held by whoever looks at what is pending.
        grown: is told of a cell in which more than :data:`LONG` measurements wait.
        began: is called once in each process, when the first cell is made.
    """

    def __init__(self, redact: Callable[[str, Any], Any] = lambda name, value: value) -> None:
        self.redact = redact
        self.adding = threading.RLock()  # a garbage collection may end an abandoned operation while it is held
        self.reading = threading.Lock()
        self.grown: Callable[[Cell], None] = self.fold
        self.began: Callable[[], None] | None = None
        self._began = False
        self._families: dict[Instrument, Family] = {}
        process.at_fork(in_child=self._forked)

    def family(self, instrument: Instrument) -> Family:
        """The cells of ``instrument``."""
        return self._families.setdefault(instrument, Family(instrument, self))

    def families(self) -> Iterator[Family]:
        """All that there are."""
        return iter(list(self._families.values()))

    def begun(self) -> None:
        """There is a cell."""
        if self._began:
            return
        self._began = True
        if self.began is not None:
            try:
                self.began()
            except Exception:
                faults.report("metrics: the first measurement")

    def fold(self, cell: Cell) -> None:
        """Count what is pending in ``cell``, unless somebody is about to."""
        reading = self.reading
        if reading.acquire(blocking=False):
            try:
                cell.fold()
            finally:
                reading.release()

    def _forked(self) -> None:
        # A thread that is not here may have held them.
        self.adding, self.reading = threading.RLock(), threading.Lock()
        self._began = False
        for family in self.families():
            family.forget()


def _compiled(first: str, names: tuple[str, ...]) -> Callable[..., tuple[Any, ...]]:
    """A function that takes a mapping, after another argument perhaps, and returns the values of ``names``.

    It is compiled, as :func:`collections.namedtuple` does it: ``tuple(map(get, names))`` takes twice as long.
    """
    values = "".join(f"given.get({name!r}), " for name in names)
    function: Callable[..., tuple[Any, ...]] = eval(f"lambda {first}given: ({first}{values})")  # noqa: S307
    return function


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)
