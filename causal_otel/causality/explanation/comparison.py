"""The difference of two traces, call by call and by paths of operations: each part of it is somebody's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from causal_otel.causality.explanation.aligning import aligned, operation_of
from causal_otel.causality.explanation.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from causal_otel.causality.critical_path import Until
    from causal_otel.causality.explanation.aligning import Operation, Pair
    from causal_otel.causality.explanation.pieces import Piece
    from causal_otel.causality.spans import Span, Trace

__all__ = [
    "OWN",
    "Cause",
    "Change",
    "Comparison",
    "Part",
    "Row",
    "Side",
    "compare",
    "compare_scenes",
    "folded",
    "parts_of",
]

Change = Literal["only-a", "only-b", "slower", "faster", "same"]

OWN = frozenset(
    {
        "computing",
        "database",
        "garbage_collection",
        "network",
        "own_code",
        "publish",
        "remote",
        "unawaited_task",
        "untraced",
    }
)
"""The kinds of time that are a span's own, or its server's. In all others it waited for something to begin or go on."""

_NOTABLE_SHARE = 0.1
"""Of the longer duration: what spans must differ by to count as slower or faster..."""

_NOTABLE_OF_TRACE = 0.002
"""...and of the longer trace."""

_CAUSES = 8
_FOLDED_FROM = 4
"""So many equal calls in a row are shown as one."""


@dataclass(slots=True)
class Side:
    """Spans of one of the traces: one, or several of an operation.

    Attributes:
        spans: how many.
        errors: how many failed.
        total: nanoseconds in them, together.
        parts: nanoseconds of the critical path that are theirs, by what they were spent on: the kind, and what it is
            called.
        span_id: of the first one; empty: there is none.
    """

    spans: int = 0
    errors: int = 0
    total: int = 0
    parts: dict[tuple[str, str], int] = field(default_factory=dict)
    span_id: str = ""

    @property
    def own(self) -> int:
        """Nanoseconds of the critical path in which they themselves, or the servers that they called, were at work."""
        return sum(spent for (kind, _), spent in self.parts.items() if kind in OWN)

    @property
    def waits(self) -> int:
        """Likewise, in which they waited: for a connection, in a queue, for the event loop."""
        return sum(spent for (kind, _), spent in self.parts.items() if kind not in OWN)

    @property
    def on_path(self) -> int:
        """Both."""
        return sum(self.parts.values())

    def add(self, span: Span, parts: Mapping[tuple[str, str], int]) -> None:
        """Take in a span, and what of the critical path is its."""
        self.span_id = self.span_id or span.span_id
        self.spans += 1
        self.errors += span.error
        self.total += span.duration
        for key, spent in parts.items():
            self.parts[key] = self.parts.get(key, 0) + spent

    def merged(self, other: Side) -> Side:
        """Both together."""
        parts = dict(self.parts)
        for key, spent in other.parts.items():
            parts[key] = parts.get(key, 0) + spent
        return Side(
            self.spans + other.spans,
            self.errors + other.errors,
            self.total + other.total,
            parts,
            self.span_id or other.span_id,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What the critical path was spent on in both: nanoseconds."""

    kind: str
    label: str
    a: int
    b: int

    @property
    def delta(self) -> int:
        """Nanoseconds more in b."""
        return self.b - self.a


@dataclass(frozen=True, slots=True)
class Row:
    """An operation at its place in both traces.

    Attributes:
        depth: how far from the root.
        service: of its spans.
        operation: their name.
        system: what they talk to.
        a: the span of the first trace, or several in a row.
        b: likewise of the second.
        change: whether b's took longer, or is not there.
        moved: whether it stands at another place among its siblings.
        leaf: whether nothing is below.
    """

    depth: int
    service: str
    operation: str
    system: str
    a: Side
    b: Side
    change: Change
    moved: bool = False
    leaf: bool = False

    @property
    def delta(self) -> int:
        """Nanoseconds that its spans take longer in b, together."""
        return self.b.total - self.a.total

    @property
    def explains(self) -> int:
        """Nanoseconds of the difference between the traces that are theirs: of all rows, they add up to it."""
        return self.b.on_path - self.a.on_path

    @property
    def own(self) -> int:
        """The part of it that is own time."""
        return self.b.own - self.a.own

    @property
    def waits(self) -> int:
        """The part of it that is waiting."""
        return self.b.waits - self.a.waits

    @property
    def parts(self) -> list[Part]:
        """What it was spent on, the largest difference first; without what is equal."""
        keys = dict.fromkeys((*self.a.parts, *self.b.parts))
        found = [Part(*key, self.a.parts.get(key, 0), self.b.parts.get(key, 0)) for key in keys]
        return sorted((part for part in found if part.delta), key=lambda part: -abs(part.delta))


@dataclass(frozen=True, slots=True)
class Cause:
    """A part of the difference: ``delta`` nanoseconds of the spans of a path, spent on ``label``."""

    row: Row
    kind: str
    label: str
    delta: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs.

    Attributes:
        rows: every span of both, those that are each other's counterpart together; in tree order.
        paths: the same added up: spans of one operation are one path if their parents are.
        causes: the largest parts of the difference by path, largest first.
        other_causes: how many smaller ones there are.
        rest: nanoseconds of those together.
        explained: nanoseconds that all rows explain.
        clocks: nanoseconds that the traces differ by besides, because clocks of their services disagree: durations are
            from the first start to the last end as each clock tells it, the critical path is by one clock.
        counts: how many rows there are of each change.
        longest: the longest that a row's spans take together, in nanoseconds; at least 1.
    """

    rows: tuple[Row, ...]
    paths: tuple[Row, ...]
    causes: tuple[Cause, ...]
    other_causes: int
    rest: int
    explained: int
    clocks: int
    counts: dict[Change, int]
    longest: int

    @property
    def difference(self) -> int:
        """Nanoseconds that b took longer: what the rows explain, and what clocks disagree by."""
        return self.explained + self.clocks


@dataclass(slots=True)
class _Path:
    depth: int
    operation: Operation
    first: int
    a: Side = field(default_factory=Side)
    b: Side = field(default_factory=Side)
    children: dict[Operation, _Path] = field(default_factory=dict)


def compare(a: Trace[Span], b: Trace[Span], until: Until = "end") -> Comparison:
    """What differs between ``a`` and ``b``.

    Args:
        a: a trace.
        b: another one.
        until: what their critical paths lead to: the end of all work, as their durations do, or the answer.
    """
    return compare_scenes(Scene(a), Scene(b), until)


def compare_scenes(a: Scene, b: Scene, until: Until = "end") -> Comparison:
    """Likewise, of two traces that somebody has looked at already."""
    pieces = a.pieces(until), b.pieces(until)
    parts = parts_of(pieces[0]), parts_of(pieces[1])
    notable = _NOTABLE_OF_TRACE * max(a.trace.end - a.trace.start, b.trace.end - b.trace.start)
    rows = tuple(_row(pair, parts, notable) for pair in aligned(a.trace, b.trace))
    paths = tuple(_paths((a.trace, b.trace), parts, notable))
    counts: dict[Change, int] = dict.fromkeys(("only-a", "only-b", "slower", "faster", "same"), 0)
    for row in rows:
        counts[row.change] += 1
    causes = sorted(
        (Cause(row, part.kind, part.label, part.delta) for row in paths for part in row.parts),
        key=lambda cause: -abs(cause.delta),
    )
    explained = sum(row.explains for row in rows)
    return Comparison(
        rows=rows,
        paths=paths,
        causes=tuple(causes[:_CAUSES]),
        other_causes=len(causes[_CAUSES:]),
        rest=sum(cause.delta for cause in causes[_CAUSES:]),
        explained=explained,
        clocks=(_length(b, until, pieces[1]) - _length(a, until, pieces[0])) - explained,
        counts=counts,
        longest=max(1, max((max(row.a.total, row.b.total) for row in rows), default=0)),
    )


def folded(rows: Iterable[Row]) -> list[Row]:
    """The rows, with equal calls that follow each other as one: of an operation, with nothing below, none notable."""
    found: list[Row] = []
    for _, same in groupby(rows, lambda row: (row.depth, row.service, row.operation, row.system, row.change, row.leaf)):
        some = list(same)
        if not some[0].leaf or some[0].change in ("slower", "faster") or len(some) < _FOLDED_FROM:
            found += some
            continue
        first, *others = some
        a, b = first.a, first.b
        for row in others:
            a, b = a.merged(row.a), b.merged(row.b)
        found.append(replace(first, a=a, b=b, moved=any(row.moved for row in some)))
    return found


def parts_of(pieces: Iterable[Piece]) -> dict[int, dict[tuple[str, str], int]]:
    """The time of each span on a critical path, by its index and by what it was spent on."""
    found: defaultdict[int, dict[tuple[str, str], int]] = defaultdict(dict)
    for piece in pieces:
        if piece.duration:
            key = piece.category.kind, piece.category.general
            spent = found[piece.span.index]
            spent[key] = spent.get(key, 0) + piece.duration
    return found


_Parts = dict[int, dict[tuple[str, str], int]]
_NOTHING: dict[tuple[str, str], int] = {}


def _length(scene: Scene, until: Until, pieces: Sequence[Piece]) -> int:
    """What is said to be the trace's duration: that to the answer is by the path's own clock."""
    return scene.trace.end - scene.trace.start if until == "end" else sum(piece.duration for piece in pieces)


def _row(pair: Pair[Span], parts: tuple[_Parts, _Parts], notable: float) -> Row:
    sides = Side(), Side()
    leaf = True
    for side, span, spent in zip(sides, (pair.a, pair.b), parts, strict=True):
        if span is not None:
            side.add(span, spent.get(span.index, _NOTHING))
            leaf = leaf and not span.children
    span = pair.a if pair.a is not None else pair.b
    assert span is not None
    return Row(pair.depth, *operation_of(span), *sides, _change(*sides, notable), pair.moved, leaf)


def _paths(traces: tuple[Trace[Span], Trace[Span]], parts: tuple[_Parts, _Parts], notable: float) -> Iterator[Row]:
    """The spans of an operation as one row if their parents are one, siblings by when they first happened."""
    root = _Path(-1, ("", "", ""), 0)
    for which, trace in enumerate(traces):
        paths: list[_Path] = []
        for span in trace.spans:  # parents before their children
            over = root if span.parent is None else paths[span.parent.index]
            offset = span.start - trace.start
            path = over.children.setdefault(operation_of(span), _Path(over.depth + 1, operation_of(span), offset))
            path.first = min(path.first, offset)
            (path.a, path.b)[which].add(span, parts[which].get(span.index, _NOTHING))
            paths.append(path)
    left = [root]
    while left:
        path = left.pop()
        if path is not root:
            yield Row(path.depth, *path.operation, path.a, path.b, _change(path.a, path.b, notable))
        left.extend(sorted(path.children.values(), key=lambda child: child.first)[::-1])


def _change(a: Side, b: Side, notable: float) -> Change:
    if not b.spans:
        return "only-a"
    if not a.spans:
        return "only-b"
    delta = b.total - a.total
    if abs(delta) <= max(notable, _NOTABLE_SHARE * max(a.total, b.total)):
        return "same"
    return "slower" if delta > 0 else "faster"
