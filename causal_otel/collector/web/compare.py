"""The structural difference of two traces: counts and durations by path of services and operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.collector.analysis import TraceView

__all__ = ["Change", "Comparison", "Row", "Side", "compare"]

Change = Literal["only-a", "only-b", "slower", "faster", "same"]

_NOTABLE_SHARE = 0.1
"""Of the longer duration: what a path must differ by to count as slower or faster..."""

_NOTABLE_OF_TRACE = 0.002
"""...and of the longer trace."""

_CULPRITS = 6


@dataclass(slots=True)
class Side:
    """A path's spans in one of the traces: how many, how many failed, and nanoseconds in them and in them alone."""

    spans: int = 0
    errors: int = 0
    total: int = 0
    own: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A path in both traces; ``depth`` is how far from the root."""

    depth: int
    service: str
    operation: str
    a: Side
    b: Side
    change: Change

    @property
    def delta(self) -> int:
        """Nanoseconds that the path's spans take longer in b, together."""
        return self.b.total - self.a.total

    @property
    def own_delta(self) -> int:
        """Likewise, without the time in their children."""
        return self.b.own - self.a.own


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs. ``rows`` are in tree order, ``culprits`` are those whose own time differs most."""

    rows: tuple[Row, ...]
    culprits: tuple[Row, ...]
    counts: dict[Change, int]
    longest: int
    """The longest that a path's spans take together, in nanoseconds; at least 1."""


@dataclass(slots=True)
class _Path:
    service: str
    operation: str
    first: int
    a: Side = field(default_factory=Side)
    b: Side = field(default_factory=Side)
    children: dict[tuple[str, str], _Path] = field(default_factory=dict)


def compare(a: TraceView, b: TraceView) -> Comparison:
    """What differs between ``a`` and ``b``; spans with equal services and operations up to the root are one path."""
    root = _Path("", "", 0)
    _add(root, a, "a")
    _add(root, b, "b")
    notable = _NOTABLE_OF_TRACE * max(a.duration, b.duration)
    rows = tuple(
        Row(depth, path.service, path.operation, path.a, path.b, _change(path, notable))
        for depth, path in _in_order(root)
    )
    counts: dict[Change, int] = dict.fromkeys(("only-a", "only-b", "slower", "faster", "same"), 0)
    for row in rows:
        counts[row.change] += 1
    differing = sorted((row for row in rows if abs(row.own_delta) > notable), key=lambda row: -abs(row.own_delta))
    longest = max((max(row.a.total, row.b.total) for row in rows), default=0)
    return Comparison(rows, tuple(differing[:_CULPRITS]), counts, max(1, longest))


def _add(root: _Path, trace: TraceView, which: Literal["a", "b"]) -> None:
    above = [root]
    for span in trace.spans:
        del above[span.depth + 1 :]
        siblings = above[-1].children
        key = span.service, span.name
        offset = span.start - trace.start
        path = siblings.get(key)
        if path is None:
            path = siblings[key] = _Path(*key, offset)
        path.first = min(path.first, offset)
        side = path.a if which == "a" else path.b
        side.spans += 1
        side.errors += span.error
        side.total += span.duration
        side.own += span.self_time
        above.append(path)


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
