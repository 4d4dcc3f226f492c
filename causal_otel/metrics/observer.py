"""What measures the operations of one patch, whether or not a span is recorded of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults, process
from causal_otel.metrics.cells import LONG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanKind

    from causal_otel.instrument.measured import Measured
    from causal_otel.instrument.operation import Operation
    from causal_otel.metrics.cells import Cell, CellIndex, Cells

__all__ = ["Metrics"]

_NOTHING: dict[str, Any] = {}


class Metrics:
    """Measures durations, returned rows, what operations note, how many are under way and how many have ended.

    Args:
        cells: where the measurements go.
        measured: what is measured of operations of each kind; those of other kinds are not measured.
    """

    def __init__(self, cells: Cells, measured: Mapping[SpanKind, Measured]) -> None:
        self._cells = cells
        # By the name of a kind: to hash a member of an Enum takes as long as all the rest.
        self._durations = {kind._name_: cells.family(each.duration) for kind, each in measured.items()}
        self._rows = {kind._name_: cells.family(each.rows) for kind, each in measured.items() if each.rows}
        self._active = {kind._name_: cells.family(each.active) for kind, each in measured.items() if each.active}
        self._counted = {kind._name_: cells.family(each.counted) for kind, each in measured.items() if each.counted}
        self._noted = {
            kind._name_: [(name, cells.family(noted)) for name, noted in each.noted.items()]
            for kind, each in measured.items()
            if each.noted
        }
        self.counts_active = bool(self._active)

    def began(self, operation: Operation) -> CellIndex | None:
        """Count the operation among those under way, if its kind has a metric of these.

        Returns:
            Its index of cells; None: its kind has no such metric.
        """
        try:
            index = self._index(operation)
            active = None if index is None else index.active
            if active is None:
                return None
            active.pending.append(1)  # not add(): the operation's end looks whether the list has grown long
        except Exception:
            faults.report("metrics: the beginning of an operation")
            return None
        return index

    def ended(
        self,
        operation: Operation,
        seconds: float,
        learned: Mapping[str, Any] | None,
        error_type: str | None,
        rows: int | None = None,
        active: CellIndex | None = None,
    ) -> None:
        """Measure an operation that is over: see :class:`causal_otel.instrument.measured.OperationMetrics`."""
        try:
            index = active
            if index is None:
                # Most operations of databases are one object for all calls of a statement, so it remembers its index.
                index = operation.cells
                if index is None or index.process is not process.token or index.cells is not self._cells:
                    index = operation.cells = self._index(operation)
                    if index is None:
                        return
            elif index.active is not None:
                pending = index.active.pending
                pending.append(-1)
                if len(pending) > LONG:
                    self._cells.grown(index.active)
            cell = _cell(index, learned, error_type)
            if seconds >= 0:
                pending = cell.pending
                pending.append(seconds)
                if len(pending) > LONG:
                    self._cells.grown(cell)
            if rows is not None:
                returned = cell.rows
                if returned is None and operation.kind._name_ in self._rows:
                    returned = cell.rows = self._rows[operation.kind._name_].cell(cell.labels)
                if returned is not None:
                    returned.add(rows)
            if index.counted is not None:
                _cell(index.counted, learned, error_type).add(1)
            for name, noted in index.noted:
                value = operation.attributes.get(name)
                if value is None and operation.own is not None:
                    value = operation.own.get(name)
                if value is None and learned is not None:
                    value = learned.get(name)
                if value is not None:
                    noted.add(value)
        except Exception:
            faults.report("metrics: the end of an operation")

    def _index(self, operation: Operation) -> CellIndex | None:
        """The index of the cells that count ``operation``; None: it is not measured."""
        if not operation.measured:
            return None
        attributes = operation.attributes if operation.own is None else {**operation.attributes, **operation.own}
        kind = operation.kind._name_
        try:
            family = self._durations[kind]
            return family.indexes[family.began_key(attributes)]
        except (KeyError, TypeError):  # the first of its kind, or a value that cannot be hashed
            if kind not in self._durations:
                return None
        active = self._active[kind].new_index(attributes).find() if kind in self._active else None
        noted = [(name, each.new_index(attributes).find()) for name, each in self._noted.get(kind, ())]
        counted = self._counted[kind].new_index(attributes) if kind in self._counted else None
        return family.new_index(attributes, active, noted, counted)


def _cell(index: CellIndex, learned: Mapping[str, Any] | None, error_type: str | None) -> Cell:
    """The cell of an index for an operation that has learned this, and has failed so, if it has."""
    if error_type is None and (learned is None or not index.learns):
        return index.only or index.find()
    try:
        return index.by_key[index.learned_key(error_type, learned or _NOTHING)]
    except (KeyError, TypeError):
        return index.find(learned, error_type)
