"""Who calls an operation, and what it calls: counted by the UTC day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.figures import Selected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from causal_otel.collector.figures import CallSum, Series, Sums

__all__ = ["Called", "Other", "called_by", "callees", "callers"]


class Other(NamedTuple):
    """An operation that is a caller or is called, in all versions."""

    service: str
    operation: str
    kind: str
    system: str


@dataclass(frozen=True, slots=True)
class Called:
    """How often an operation called another, or was called by it.

    Attributes:
        other: the other.
        calls: how many.
        errors: how many of these failed.
        total: nanoseconds that they took together.
        share: of the calls of all callers, or of the time of all that is called.
    """

    other: Other
    calls: int
    errors: int
    total: int
    share: float

    @property
    def mean(self) -> int:
        """Nanoseconds that a call took on average."""
        return self.total // self.calls if self.calls else 0


def callers(reader: Sums, selected: Selected, start: int, end: int) -> list[Called]:
    """Who called ``selected`` on the UTC days of a time, most calls first."""
    sums = reader.calls(Selected(), selected, start, end)
    return called_by(sums, lambda each: each.parent, lambda each: each.calls)


def callees(reader: Sums, selected: Selected, start: int, end: int) -> list[Called]:
    """What ``selected`` called on the UTC days of a time, most time first."""
    sums = reader.calls(selected, Selected(), start, end)
    return called_by(sums, lambda each: each.child, lambda each: each.total)


def called_by(
    sums: Iterable[CallSum], other: Callable[[CallSum], Series], weight: Callable[[CallSum], int]
) -> list[Called]:
    """Sums by operation.

    Args:
        sums: calls.
        other: which of its series the rows are by.
        weight: what the shares are of, and the order is by.
    """
    found: dict[Other, list[int]] = {}
    for each in sums:
        series = other(each)
        row = found.setdefault(Other(series.service, series.operation, series.kind, series.system), [0, 0, 0, 0])
        for place, value in enumerate((each.calls, each.errors, each.total, weight(each))):
            row[place] += value
    whole = sum(row[3] for row in found.values())
    rows = sorted(found.items(), key=lambda item: (-item[1][3], item[0]))
    return [
        Called(key, calls, errors, total, weighed / whole if whole else 0.0)
        for key, (calls, errors, total, weighed) in rows
    ]
