"""The difference of two traces, explained by paths of services, operations and systems."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from causal_otel.causality.critical_path import critical_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.critical_path import Until
    from causal_otel.causality.spans import Span, Trace

__all__ = ["Cause", "Change", "Comparison", "Row", "Side", "compare"]

Change = Literal["only-a", "only-b", "slower", "faster", "same"]

_NOTABLE_SHARE = 0.1
"""Of the longer duration: what a path must differ by to count as slower or faster..."""

_NOTABLE_OF_TRACE = 0.002
"""...and of the longer trace."""

_CAUSES = 8


@dataclass(slots=True)
class Side:
    """A path's spans in one of the traces.

    Attributes:
        spans: how many.
        errors: how many failed.
        total: nanoseconds in them, together.
        own: nanoseconds of the critical path in which they themselves held up the end.
        waits: likewise, in which it waited for them to start.
    """

    spans: int = 0
    errors: int = 0
    total: int = 0
    own: int = 0
    waits: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A path in both traces; ``depth`` is how far from the root."""

    depth: int
    service: str
    operation: str
    system: str
    a: Side
    b: Side
    change: Change

    @property
    def delta(self) -> int:
        """Nanoseconds that the path's spans take longer in b, together."""
        return self.b.total - self.a.total

    @property
    def explains(self) -> int:
        """Nanoseconds of the difference between the traces that are theirs: of all rows, they add up to it."""
        return self.b.own + self.b.waits - self.a.own - self.a.waits


@dataclass(frozen=True, slots=True)
class Cause:
    """A part of the difference: ``delta`` nanoseconds of a row, in its spans or, if ``waiting``, until they started."""

    row: Row
    waiting: bool
    delta: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs.

    Attributes:
        rows: in tree order.
        causes: the largest parts of the difference, largest first.
        other_causes: how many smaller ones there are.
        rest: nanoseconds of those together.
        difference: nanoseconds that all rows explain: what b took longer, to the end of all work. Where clocks
            disagree, it is by one clock, unlike the durations of the traces.
        counts: how many rows there are of each change.
        longest: the longest that a path's spans take together, in nanoseconds; at least 1.
    """

    rows: tuple[Row, ...]
    causes: tuple[Cause, ...]
    other_causes: int
    rest: int
    difference: int
    counts: dict[Change, int]
    longest: int


@dataclass(slots=True)
class _Path:
    service: str
    operation: str
    system: str
    first: int
    a: Side = field(default_factory=Side)
    b: Side = field(default_factory=Side)
    children: dict[tuple[str, str, str], _Path] = field(default_factory=dict)


def compare(a: Trace[Span], b: Trace[Span], until: Until = "end") -> Comparison:
    """What differs between ``a`` and ``b``.

    Spans of the same service, operation and system are one path if their parents are.

    Args:
        a: a trace.
        b: another one.
        until: what their critical paths lead to, the answer or the end of all work.
    """
    root = _Path("", "", "", 0)
    _add(root, a, "a", until)
    _add(root, b, "b", until)
    notable = _NOTABLE_OF_TRACE * max(a.end - a.start, b.end - b.start)
    rows = tuple(
        Row(depth, path.service, path.operation, path.system, path.a, path.b, _change(path, notable))
        for depth, path in _in_order(root)
    )
    counts: dict[Change, int] = dict.fromkeys(("only-a", "only-b", "slower", "faster", "same"), 0)
    for row in rows:
        counts[row.change] += 1
    causes = sorted(_causes(rows), key=lambda cause: -abs(cause.delta))
    longest = max((max(row.a.total, row.b.total) for row in rows), default=0)
    return Comparison(
        rows=rows,
        causes=tuple(causes[:_CAUSES]),
        other_causes=len(causes[_CAUSES:]),
        rest=sum(cause.delta for cause in causes[_CAUSES:]),
        difference=sum(row.explains for row in rows),
        counts=counts,
        longest=max(1, longest),
    )


def _causes(rows: tuple[Row, ...]) -> Iterator[Cause]:
    for row in rows:
        if row.b.own != row.a.own:
            yield Cause(row, False, row.b.own - row.a.own)
        if row.b.waits != row.a.waits:
            yield Cause(row, True, row.b.waits - row.a.waits)


def _add(root: _Path, trace: Trace[Span], which: Literal["a", "b"], until: Until) -> None:
    paths: list[_Path] = []
    sides: list[Side] = []
    for span in trace.spans:  # parents before their children
        siblings = (root if span.parent is None else paths[span.parent.index]).children
        key = span.service, span.name, span.system
        offset = span.start - trace.start
        path = siblings.get(key)
        if path is None:
            path = siblings[key] = _Path(*key, offset)
        path.first = min(path.first, offset)
        side = path.a if which == "a" else path.b
        side.spans += 1
        side.errors += span.error
        side.total += span.duration
        sides.append(side)
        paths.append(path)
    for segment in critical_path(trace, None, until):
        side = sides[segment.span.index]
        if segment.waiting:
            side.waits += segment.duration
        else:
            side.own += segment.duration


def _in_order(root: _Path) -> Iterator[tuple[int, _Path]]:
    """Each path after its parent, siblings by when they first happened."""
    left = [(0, root)]
    while left:
        depth, path = left.pop()
        if depth:
            yield depth - 1, path
        children = sorted(path.children.values(), key=lambda child: child.first)
        left.extend((depth + 1, child) for child in reversed(children))


def _change(path: _Path, notable: float) -> Change:
    if not path.b.spans:
        return "only-a"
    if not path.a.spans:
        return "only-b"
    delta = path.b.total - path.a.total
    if abs(delta) <= max(notable, _NOTABLE_SHARE * max(path.a.total, path.b.total)):
        return "same"
    return "slower" if delta > 0 else "faster"
