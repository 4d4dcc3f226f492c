"""The critical path as an outline, in which spans of one name below one parent are a line."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from causal_otel._internal.durations import format_duration
from causal_otel.causality.spans.targets import is_database, is_http, named, target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causal_otel.causality.explanation.categories import Category
    from causal_otel.causality.explanation.pieces import Piece
    from causal_otel.causality.spans import Span, Trace

__all__ = ["Step", "outline"]

_LEAST = 0.01
_MOST_PARTS = 3
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the outline.

    Attributes:
        depth: how many lines it lies within.
        name: of the spans, with what they talk to, or the service where that is another one than above.
        count: how many spans.
        nanoseconds: of the path, in them and in what is within.
        own: the longest categories of their own part of it, with nanoseconds.
        span_id: that of the first of them.
    """

    depth: int
    name: str
    count: int
    nanoseconds: int
    own: tuple[tuple[str, int], ...]
    span_id: str

    def text(self) -> str:
        """The line."""
        times = f" ×{self.count}" if self.count > 1 else ""
        line = f"{'  ' * min(self.depth, _DEEPEST)}{self.name}{times}, {format_duration(self.nanoseconds)}"
        if len(self.own) == 1 and self.own[0][1] == self.nanoseconds:
            return f"{line}: {self.own[0][0]}"
        said = ", ".join(f"{label} {format_duration(length)}" for label, length in self.own)
        return f"{line}: {said}" if said else line

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        return {
            "depth": self.depth,
            "name": self.name,
            "count": self.count,
            "seconds": self.nanoseconds / 1e9,
            "own": [{"label": label, "seconds": length / 1e9} for label, length in self.own],
            "span_id": self.span_id,
        }


@dataclass(slots=True)
class _Node:
    span: Span
    spans: set[int] = field(default_factory=set)
    whole: int = 0
    own: defaultdict[Category, int] = field(default_factory=lambda: defaultdict(int))
    children: dict[tuple[str, str, str], _Node] = field(default_factory=dict)


def outline(trace: Trace[Span], pieces: Sequence[Piece], most: int, top: Span | None = None) -> tuple[Step, ...]:
    """The path, each line before those within it; of more than ``most`` lines the shortest are left out.

    Args:
        trace: the trace.
        pieces: its path.
        most: how many lines at most.
        top: the span whose path it is: what is above it has no line. None: the whole trace's.
    """
    whole = sum(piece.duration for piece in pieces)
    roots = _nodes(trace, pieces, top)
    shown = sorted(
        (
            (node.whole, depth, place, node)
            for place, (depth, node) in enumerate(_in_order(roots))
            if node.whole >= _LEAST * whole
        ),
        key=lambda each: (-each[0], each[1], each[2]),  # what is above is at least as long, and comes first
    )[:most]
    return tuple(_step(depth, node) for _, depth, _, node in sorted(shown, key=lambda each: each[2]))


def _nodes(trace: Trace[Span], pieces: Sequence[Piece], top: Span | None) -> list[_Node]:
    own: defaultdict[int, defaultdict[Category, int]] = defaultdict(lambda: defaultdict(int))
    for piece in pieces:
        own[piece.span.index][piece.category] += piece.duration
    through = set(own)
    for span in reversed(trace.spans):
        if span.index in through and span.parent is not None and span is not top:
            through.add(span.parent.index)
    roots: dict[tuple[str, str, str], _Node] = {}
    nodes: dict[int, _Node] = {}
    for span in trace.spans:
        if span.index not in through:
            continue
        above = None if span.parent is None else nodes.get(span.parent.index)
        siblings = roots if above is None else above.children
        node = siblings.setdefault((span.service, span.name, span.system), _Node(span))
        nodes[span.index] = node
        node.spans.add(span.index)
        for category, length in own.get(span.index, {}).items():
            node.own[category] += length
            node.whole += length
    _add_up(list(roots.values()))
    return list(roots.values())


def _add_up(roots: Sequence[_Node]) -> None:
    ordered: list[_Node] = []
    left = list(roots)
    while left:
        node = left.pop()
        ordered.append(node)
        left.extend(node.children.values())
    for node in reversed(ordered):
        node.whole += sum(child.whole for child in node.children.values())


def _in_order(roots: Sequence[_Node]) -> Iterator[tuple[int, _Node]]:
    left = [(0, node) for node in reversed(roots)]
    while left:
        depth, node = left.pop()
        yield depth, node
        left.extend((depth + 1, child) for child in reversed(node.children.values()))


def _step(depth: int, node: _Node) -> Step:
    span = node.span
    longest = sorted(node.own.items(), key=lambda each: (-each[1], each[0]))
    own = tuple((category.text, length) for category, length in longest[:_MOST_PARTS] if length)
    return Step(depth, _name(span), len(node.spans), node.whole, own, span.span_id)


def _name(span: Span) -> str:
    name = named(span.name)
    if span.kind == "client" and (is_database(span) or is_http(span)):
        return f"{name} ({target(span)})"
    if span.parent is None or span.parent.service != span.service:
        return f"{named(span.service)}: {name}"
    return name
