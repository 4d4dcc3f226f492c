"""The difference of two groups of traces, by operation: what a trace takes on average, and whose time that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from causal_otel.causality.explanation.aligning import operation_of
from causal_otel.causality.explanation.comparison import Side, parts_of
from causal_otel.causality.explanation.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.causality.explanation.aligning import Operation
    from causal_otel.causality.spans import Span, Trace

__all__ = ["Group", "GroupComparison", "GroupPart", "GroupRow", "GroupSide", "compare_groups", "rank"]


@dataclass(slots=True)
class Group:
    """Traces that are taken together.

    Attributes:
        durations: of the traces, in nanoseconds.
        failed: how many of them have a failed span.
        spans: how many there are in all.
        clocks: nanoseconds of all durations together that no critical path explains, because clocks disagree.
    """

    durations: list[int] = field(default_factory=list)
    failed: int = 0
    spans: int = 0
    clocks: int = 0
    _sides: dict[Operation, Side] = field(default_factory=dict)
    _of_spans: dict[Operation, list[int]] = field(default_factory=dict)

    @property
    def traces(self) -> int:
        """How many."""
        return len(self.durations)

    @property
    def mean(self) -> Fraction:
        """Nanoseconds that a trace takes on average; 0 without traces."""
        return self.per_trace(sum(self.durations))

    def per_trace(self, value: int) -> Fraction:
        """A sum over all traces, for one of them."""
        return Fraction(value, max(1, self.traces))

    def add(self, trace: Trace[Span]) -> None:
        """Take in a trace that has spans."""
        pieces = Scene(trace).pieces("end")
        parts = parts_of(pieces)
        for span in trace.spans:
            operation = operation_of(span)
            self._sides.setdefault(operation, Side()).add(span, parts.get(span.index, {}))
            self._of_spans.setdefault(operation, []).append(span.duration)
        duration = trace.end - trace.start
        self.durations.append(duration)
        self.failed += any(span.error for span in trace.spans)
        self.spans += len(trace.spans)
        self.clocks += duration - sum(piece.duration for piece in pieces)

    @property
    def operations(self) -> list[Operation]:
        """Those that its traces have, sorted."""
        return sorted(self._sides)

    def side(self, operation: Operation) -> GroupSide:
        """What an operation is in it."""
        return GroupSide(self, self._sides.get(operation, Side()), sorted(self._of_spans.get(operation, ())))


@dataclass(frozen=True, slots=True)
class GroupSide:
    """An operation in a group: its spans' sums, and their durations, sorted."""

    group: Group
    sums: Side
    durations: Sequence[int]

    @property
    def calls(self) -> Fraction:
        """Per trace."""
        return self.group.per_trace(self.sums.spans)

    @property
    def own(self) -> Fraction:
        """Nanoseconds of own time on the critical path, per trace."""
        return self.group.per_trace(self.sums.own)

    @property
    def waits(self) -> Fraction:
        """Nanoseconds of waiting on the critical path, per trace."""
        return self.group.per_trace(self.sums.waits)

    @property
    def on_path(self) -> Fraction:
        """Both."""
        return self.group.per_trace(self.sums.on_path)

    @property
    def p50(self) -> int:
        """Half of its spans took at most so many nanoseconds."""
        return rank(self.durations, 50)

    @property
    def p95(self) -> int:
        """95 % of its spans took at most so many nanoseconds."""
        return rank(self.durations, 95)

    @property
    def failing(self) -> Fraction:
        """The share of its spans that failed."""
        return Fraction(self.sums.errors, max(1, self.sums.spans))


@dataclass(frozen=True, slots=True)
class GroupPart:
    """What the critical paths were spent on: nanoseconds per trace."""

    kind: str
    label: str
    a: Fraction
    b: Fraction

    @property
    def delta(self) -> Fraction:
        """Nanoseconds more in b."""
        return self.b - self.a


@dataclass(frozen=True, slots=True)
class GroupRow:
    """An operation in both groups."""

    service: str
    operation: str
    system: str
    a: GroupSide
    b: GroupSide

    @property
    def explains(self) -> Fraction:
        """Nanoseconds of the difference between the means that are its: of all rows, they add up to it."""
        return self.b.on_path - self.a.on_path

    @property
    def parts(self) -> list[GroupPart]:
        """What it was spent on, the largest difference first; without what is equal."""
        keys = dict.fromkeys((*self.a.sums.parts, *self.b.sums.parts))
        found = [
            GroupPart(
                *key,
                self.a.group.per_trace(self.a.sums.parts.get(key, 0)),
                self.b.group.per_trace(self.b.sums.parts.get(key, 0)),
            )
            for key in keys
        ]
        return sorted((part for part in found if part.delta), key=lambda part: -abs(part.delta))


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """What differs.

    Attributes:
        a: the first group.
        b: the second one.
        rows: the operations, those first that explain most.
        clocks: nanoseconds that the means differ by besides, because clocks disagree.
    """

    a: Group
    b: Group
    rows: tuple[GroupRow, ...]
    clocks: Fraction

    @property
    def difference(self) -> Fraction:
        """Nanoseconds that a trace of b takes longer on average: what the rows explain, and what clocks disagree by."""
        return self.b.mean - self.a.mean


def compare_groups(a: Group, b: Group) -> GroupComparison:
    """What differs between two groups of traces."""
    operations = sorted({*a.operations, *b.operations})
    rows = [GroupRow(*operation, a.side(operation), b.side(operation)) for operation in operations]
    rows.sort(key=lambda row: -abs(row.explains))
    return GroupComparison(a, b, tuple(rows), b.per_trace(b.clocks) - a.per_trace(a.clocks))


def rank(ascending: Sequence[int], percent: int) -> int:
    """The least of some numbers that so many percent of them do not exceed; 0 if there are none."""
    return ascending[max(0, -(-len(ascending) * percent // 100) - 1)] if ascending else 0
