"""What has been measured in this process: a cell for each instrument and set of labels.

An operation that ends only appends a number to a list. Whoever collects counts these numbers, or the operation that
makes a list longer than :data:`LONG`. Appending to a list and deleting its first items are single steps, with the GIL
and without it, so neither takes a lock.
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
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from causal_otel.instrument.measured import Instrument

__all__ = ["LIMIT", "LONG", "Cell", "CellIndex", "Cells", "Family", "Totals"]

LIMIT = 2000
"""How many sets of labels an instrument has at the most, as in OpenTelemetry's SDK. All further ones share the last."""

LONG = 1024
"""How many measurements a cell holds before the operation that adds one more has them counted."""

_OVERFLOW = {OTEL_METRIC_OVERFLOW: True}
_INDEXED = 4 * LIMIT  # how many keys a family remembers, in all of its indexes together


@dataclass(frozen=True, slots=True)
class Totals:
    """All measurements of a cell together."""

    count: int
    total: float
    low: float
    high: float
    buckets: tuple[int, ...]


class Cell:
    """What has been measured with one set of labels.

    Attributes:
        family: the cells of the same instrument.
        cells: those of all instruments.
        labels: the attributes of all its measurements.
        pending: measurements that are not counted yet.
        rows: the cell for how many rows the same operations return; None: no number of rows is known yet.
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
        """Add a measurement."""
        pending = self.pending
        pending.append(value)
        if len(pending) > LONG:
            self.cells.grown(self)

    def reset(self) -> None:
        """Forget what is counted, but not what is pending."""
        self._count = 0
        self._total: float = 0
        self._low: float = 0
        self._high: float = 0
        self._buckets = [0] * (len(self.family.instrument.boundaries) + 1)

    def set(self, value: float) -> None:
        """Forget everything but ``value``, which it has come to. The caller holds :attr:`Cells.reading`."""
        self.reset()
        self.pending[:] = [value]

    def take(self) -> list[float]:
        """Remove the pending measurements and return them. The caller holds :attr:`Cells.reading`."""
        pending = self.pending
        taken = pending[:]
        del pending[: len(taken)]
        return taken

    def fold(self) -> None:
        """Count what is pending. The caller holds :attr:`Cells.reading`."""
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
        """What is counted, as of the last :meth:`fold`."""
        return Totals(self._count, self._total, self._low, self._high, tuple(self._buckets))


class CellIndex:
    """The cells of operations that begin with the same labels.

    What an operation learns later, and its error, decide which of these cells counts it.

    Args:
        family: all cells of the instrument.
        labels: those that the operations begin with.
        active: counts the operations under way; None: the instrument's patch declares no such metric.
        noted: the cells that measure attributes of the operations, by the attribute.
        counted: the index of the cells that count them when they end; None: there is no such metric.

    Attributes:
        cells: those of all instruments.
        process: the token of the process that made it: a forked child makes indexes of its own.
        by_key: the cells, by what :attr:`learned_key` makes of an error and of what was learned.
        learned_key: see :class:`Family`.
        learns: whether the instrument has labels that are learned later.
        only: the cell for operations that have learned nothing and have not failed; None: there was none yet.
    """

    __slots__ = (
        "_family",
        "_labels",
        "active",
        "by_key",
        "cells",
        "counted",
        "learned_key",
        "learns",
        "noted",
        "only",
        "process",
    )

    def __init__(
        self,
        family: Family,
        labels: dict[str, Any],
        active: Cell | None,
        noted: Sequence[tuple[str, Cell]],
        counted: CellIndex | None,
    ) -> None:
        self._family = family
        self.cells = family.cells
        self.process = process.token
        self.learned_key = family.learned_key
        self.learns = bool(family.instrument.learned)
        self.by_key: dict[tuple[Any, ...], Cell] = {}
        self.only: Cell | None = None
        self.active = active
        self.noted = noted
        self.counted = counted
        self._labels = labels

    def find(self, learned: Mapping[str, Any] | None = None, error_type: str | None = None) -> Cell:
        """The cell for an operation. It is found in :attr:`by_key` or :attr:`only` from now on.

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
            family.remember(self.by_key, family.learned_key(error_type, learned), cell)
        return cell


class Family:
    """The cells of one instrument.

    Args:
        instrument: which one.
        cells: those of all instruments.

    Attributes:
        indexes: by what :attr:`began_key` makes of the attributes that an operation begins with.
        began_key: makes a key of such attributes.
        learned_key: makes a key of an ``error.type`` and of the attributes that an operation has learned.
    """

    def __init__(self, instrument: Instrument, cells: Cells) -> None:
        self.instrument = instrument
        self.cells = cells
        self._names = tuple(name for name in instrument.attributes if name != ERROR_TYPE)
        self.began_key = _compiled("", self._names)
        self.learned_key = _compiled("error_type, ", instrument.learned)
        self.forget()

    def forget(self) -> None:
        """Forget all cells, as a forked child does: its parent counts what they hold."""
        self.indexes: dict[tuple[Any, ...], CellIndex] = {}
        self._known: dict[tuple[Any, ...], Cell] = {}
        self._remembered = 0

    def known(self) -> list[Cell]:
        """All of its cells."""
        return list(self._known.values())

    def remember(self, index: dict[Any, Any], key: tuple[Any, ...], value: Any) -> None:
        """Put ``value`` into ``index``, unless the family remembers so many keys already: memory is bounded."""
        if self._remembered < _INDEXED:
            index[key] = value
            self._remembered += 1

    def new_index(
        self,
        attributes: Mapping[str, Any],
        active: Cell | None = None,
        noted: Sequence[tuple[str, Cell]] = (),
        counted: CellIndex | None = None,
    ) -> CellIndex:
        """The index for operations that begin with ``attributes``. It is found in :attr:`indexes` from now on.

        Args:
            attributes: what the operations begin with.
            active: counts the operations under way; None: the instrument's patch declares no such metric.
            noted: the cells that measure attributes of the operations, by the attribute.
            counted: the index of the cells that count them when they end; None: there is no such metric.
        """
        index = CellIndex(self, self._labels(self._names, attributes), active, noted, counted)
        with contextlib.suppress(TypeError):  # a value that cannot be hashed
            self.remember(self.indexes, self.began_key(attributes), index)
        return index

    def learned_labels(self, learned: Mapping[str, Any], error_type: str | None) -> dict[str, Any]:
        """The labels that an operation has learned, and that of its error."""
        labels = self._labels(self.instrument.learned, learned)
        if error_type is not None and ERROR_TYPE in self.instrument.attributes:
            labels[ERROR_TYPE] = error_type
        return labels

    def _labels(self, names: tuple[str, ...], attributes: Mapping[str, Any]) -> dict[str, Any]:
        redact = self.cells.redact
        found = ((name, attributes.get(name)) for name in names)
        return {name: redact(name, _plain(value)) for name, value in found if value is not None}

    def cell(self, labels: dict[str, Any]) -> Cell:
        """The cell for ``labels``, or if there are :data:`LIMIT` cells the one that further labels share."""
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
    """All cells of an installation. A forked child begins without any.

    Args:
        redact: takes secrets out of a label's value, given its name.

    Attributes:
        adding: a lock, held while a cell is made.
        reading: a lock, held while pending measurements are counted or handed on.
        grown: is told of a cell in which more than :data:`LONG` measurements wait.
        began: is called once in each process, when the first cell is made.
        before_collecting: are called, while :attr:`reading` is held, before what is measured is handed on.
    """

    def __init__(self, redact: Callable[[str, Any], Any] = lambda name, value: value) -> None:
        self.redact = redact
        self.adding = threading.RLock()  # a garbage collection may end an abandoned operation while it is held
        self.reading = threading.Lock()
        self.grown: Callable[[Cell], None] = self.fold
        self.began: Callable[[], None] | None = None
        self.before_collecting: list[Callable[[], None]] = []
        self._began = False
        self._families: dict[Instrument, Family] = {}
        process.at_fork(in_child=self._forked)

    def family(self, instrument: Instrument) -> Family:
        """The cells of ``instrument``."""
        return self._families.setdefault(instrument, Family(instrument, self))

    def families(self) -> Iterator[Family]:
        """The cells of each instrument."""
        return iter(list(self._families.values()))

    def ask(self) -> None:
        """Have those who know levels set their cells. The caller holds :attr:`reading`."""
        for each in self.before_collecting:
            try:
                each()
            except Exception:
                faults.report("metrics: levels")

    def begun(self) -> None:
        """Call :attr:`began`, once in each process."""
        if self._began:
            return
        self._began = True
        if self.began is not None:
            try:
                self.began()
            except Exception:
                faults.report("metrics: the first measurement")

    def fold(self, cell: Cell) -> None:
        """Count what is pending in ``cell``, unless another thread is counting: that one comes to this cell, too."""
        reading = self.reading
        if reading.acquire(blocking=False):
            try:
                cell.fold()
            finally:
                reading.release()

    def _forked(self) -> None:
        # In the parent another thread may have held the locks; in the child nobody would release them.
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
