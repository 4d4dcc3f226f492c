"""The service map's layout: services in columns from callers to called, as coordinates for an SVG.

The usual layered drawing (Sugiyama): edges that close a cycle are turned round, every service stands one column right
of its rightmost caller, long edges get a waypoint in each column they pass, and each column is put in the order of its
neighbours' means. Every step is bounded: cycles only mean that some edges run back.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from causal_otel.collector.query import Dependency, OperationStatistics

__all__ = ["Edge", "Load", "Node", "ServiceMap", "rates", "service_map"]

SERVICES_LIMIT = 120
"""Services drawn; the busiest are kept. More could not be read."""

_WIDTH, _HEIGHT = 184, 52
_COLUMN_GAP, _ROW_GAP, _WAYPOINT_HEIGHT = 150, 28, 26
_MARGIN = 24
_SWEEPS = 8
_RATES = (("s", 1), ("min", 60), ("h", 3600), ("d", 86400))
_ENTRY_KINDS = ("server", "consumer")

_Vertex = str | tuple[str, str, int]
"""A service, or the waypoint of an edge in a column."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a service was asked to do: its server and consumer spans."""

    calls: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A service and the rectangle it is drawn in."""

    name: str
    load: Load
    x: float
    y: float
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True, slots=True)
class Edge:
    """Calls from one service to another, and how they are drawn.

    Attributes:
        path: an SVG path, from caller to called.
        width: of its stroke.
        label_x: where its label's middle is.
        label_y: likewise.
        back: whether it runs against the columns' direction, as one edge of every cycle does.
    """

    parent: str
    child: str
    calls: int
    errors: int
    path: str
    width: float
    label_x: float
    label_y: float
    back: bool

    @property
    def severity(self) -> int:
        """0 without errors, 1 up to 1 %, 2 up to 5 %, 3 above."""
        share = self.errors / self.calls
        return 0 if not self.errors else 1 if share <= 0.01 else 2 if share <= 0.05 else 3


@dataclass(frozen=True, slots=True)
class ServiceMap:
    """A drawn map. ``left_out`` is how many services were too many to draw."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float
    left_out: int = 0


def rates(most: int, seconds: float) -> Callable[[int], str]:
    """A function that writes so many calls in ``seconds`` as a rate, all in one unit, which suits ``most`` calls."""
    unit, length = next(
        ((unit, length) for unit, length in _RATES if most * length >= seconds),
        _RATES[-1],
    )

    def rate(calls: int) -> str:
        value = calls * length / seconds
        if calls and value < 0.01:
            return f"<0.01/{unit}"
        return f"{value:,.0f}/{unit}" if value >= 100 else f"{value:.3g}/{unit}"

    return rate


def service_map(dependencies: Iterable[Dependency], statistics: Iterable[OperationStatistics] = ()) -> ServiceMap:
    """Lay out who called whom.

    Args:
        dependencies: the calls; those of a service to itself are left out.
        statistics: the services' operations: what was asked of each, also of those nobody in sight has called.
    """
    calls = {(each.parent, each.child): each for each in dependencies if each.parent != each.child and each.calls}
    loads = _loads(calls.values(), statistics)
    busiest = sorted(loads, key=lambda name: (-loads[name].calls, name))
    services = sorted(busiest[:SERVICES_LIMIT])
    kept = set(services)
    edges = sorted(edge for edge in calls if kept.issuperset(edge))
    back = _back_edges(services, edges)
    forward = [(child, parent) if (parent, child) in back else (parent, child) for parent, child in edges]
    columns = _columns(services, forward)
    chains = {edge: _chain(edge, columns) for edge in dict.fromkeys(forward)}
    positions, width, height = _positions(_ordered(services, columns, chains.values()))
    most = max((each.calls for each in calls.values()), default=1)
    fan_out, fan_in = Counter(parent for parent, _ in edges), Counter(child for _, child in edges)
    drawn = []
    for edge, turned in zip(edges, forward, strict=True):
        call, is_back = calls[edge], edge in back
        if is_back:
            path, label = _returning(positions[edge[0]], positions[edge[1]])
        else:
            path, label = _flowing([positions[each] for each in chains[turned]], fan_in[edge[1]] > fan_out[edge[0]])
        thickness = 1.25 + 5 * math.log1p(call.calls) / math.log1p(most)
        drawn.append(Edge(*edge, call.calls, call.errors, path, round(thickness, 2), *label, is_back))
    lowest = max((edge.label_y + 2 * _MARGIN for edge in drawn if edge.back), default=0)
    return ServiceMap(
        nodes=tuple(Node(name, loads[name], positions[name][0], positions[name][1] - _HEIGHT / 2) for name in services),
        edges=tuple(drawn),
        width=width,
        height=max(height, lowest),
        left_out=len(loads) - len(services),
    )


def _loads(calls: Iterable[Dependency], statistics: Iterable[OperationStatistics]) -> dict[str, Load]:
    asked: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for operation in statistics:
        entry = operation.kind in _ENTRY_KINDS
        asked[operation.service] += operation.calls if entry else 0
        failed[operation.service] += operation.errors if entry else 0
    called: Counter[str] = Counter()
    called_failed: Counter[str] = Counter()
    for call in calls:
        called[call.parent] += 0
        called[call.child] += call.calls
        called_failed[call.child] += call.errors
    loads = {name: Load(count, failed[name]) for name, count in asked.items()}
    for name, count in called.items():  # one that records no server spans is as busy as others found it
        if not loads.get(name, Load()).calls:
            loads[name] = Load(count, called_failed[name])
    return loads


def _back_edges(services: Sequence[str], edges: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Edges without which there is no cycle: those that a depth-first walk finds to lead to where it came from."""
    following: dict[str, list[str]] = defaultdict(list)
    for parent, child in edges:
        following[parent].append(child)
    called = {child for _, child in edges}
    back: set[tuple[str, str]] = set()
    done: set[str] = set()
    for start in sorted(services, key=lambda name: (name in called, -len(following[name]), name)):
        if start in done:
            continue
        path = {start: iter(following[start])}
        while path:
            here = next(reversed(path))
            below = next(path[here], None)
            if below is None:
                done.add(here)
                del path[here]
            elif below in path:
                back.add((here, below))
            elif below not in done:
                path[below] = iter(following[below])
    return back


def _columns(services: Sequence[str], edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Each service's column: one more than the last of its callers'. The edges have no cycle."""
    following: dict[str, set[str]] = defaultdict(set)
    for parent, child in edges:
        following[parent].add(child)
    waiting = Counter(child for children in following.values() for child in children)
    columns = dict.fromkeys(services, 0)
    ready = [name for name in services if not waiting[name]]
    for name in ready:
        for child in sorted(following[name]):
            columns[child] = max(columns[child], columns[name] + 1)
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    return columns


def _chain(edge: tuple[str, str], columns: dict[str, int]) -> list[_Vertex]:
    parent, child = edge
    between = range(columns[parent] + 1, columns[child])
    return [parent, *((parent, child, column) for column in between), child]


def _ordered(
    services: Sequence[str], columns: dict[str, int], chains: Iterable[Sequence[_Vertex]]
) -> list[list[_Vertex]]:
    """The columns' vertices from top to bottom, with few crossings."""
    layers: list[list[_Vertex]] = [[] for _ in range(max(columns.values(), default=-1) + 1)]
    for name in services:
        layers[columns[name]].append(name)
    before: dict[_Vertex, list[_Vertex]] = defaultdict(list)
    after: dict[_Vertex, list[_Vertex]] = defaultdict(list)
    for chain in chains:
        for column, waypoint in enumerate(chain[1:-1], columns[str(chain[0])] + 1):
            layers[column].append(waypoint)
        for left, right in pairwise(chain):
            after[left].append(right)
            before[right].append(left)
    rank: dict[_Vertex, float] = {}
    for layer in layers:
        rank.update((vertex, _share(index, layer)) for index, vertex in enumerate(layer))
    for sweep in range(_SWEEPS):
        neighbours, order = (after, reversed(layers)) if sweep % 2 else (before, iter(layers))
        for layer in order:
            means = {vertex: _mean([rank[each] for each in neighbours[vertex]], rank[vertex]) for vertex in layer}
            layer.sort(key=means.__getitem__)
            rank.update((vertex, _share(index, layer)) for index, vertex in enumerate(layer))
    return layers


def _share(index: int, layer: Sequence[_Vertex]) -> float:
    return (index + 0.5) / len(layer)


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _positions(layers: Sequence[Sequence[_Vertex]]) -> tuple[dict[_Vertex, tuple[float, float]], float, float]:
    """Where each vertex's left edge and vertical middle are, and the size of the whole."""
    heights = [
        sum(_HEIGHT if isinstance(vertex, str) else _WAYPOINT_HEIGHT for vertex in layer) + _ROW_GAP * (len(layer) - 1)
        for layer in layers
    ]
    tallest = max(heights, default=0)
    positions: dict[_Vertex, tuple[float, float]] = {}
    for column, (layer, height) in enumerate(zip(layers, heights, strict=True)):
        x = _MARGIN + column * (_WIDTH + _COLUMN_GAP)
        y = _MARGIN + (tallest - height) / 2
        for vertex in layer:
            own = _HEIGHT if isinstance(vertex, str) else _WAYPOINT_HEIGHT
            positions[vertex] = (x, y + own / 2)
            y += own + _ROW_GAP
    width = 2 * _MARGIN + len(layers) * (_WIDTH + _COLUMN_GAP) - _COLUMN_GAP
    return positions, max(width, 0), tallest + 2 * _MARGIN


def _flowing(points: Sequence[tuple[float, float]], label_at_parent: bool) -> tuple[str, tuple[float, float]]:
    """A curve to the right through ``points``; the label is where fewer edges meet."""
    x, y = points[0][0] + _WIDTH, points[0][1]
    parts = [f"M{x:g} {y:g}"]
    curves = []
    for index, (left, to_y) in enumerate(points[1:], 1):
        middle = (x + left) / 2
        parts.append(f"C{middle:g} {y:g} {middle:g} {to_y:g} {left:g} {to_y:g}")
        curves.append((x, y, left, to_y))
        x, y = left, to_y
        if index < len(points) - 1:
            x += _WIDTH
            parts.append(f"H{x:g}")
    start_x, start_y, end_x, end_y = curves[0] if label_at_parent else curves[-1]
    along = 0.36 if label_at_parent else 0.64
    # The share of the height such an S has climbed at `along` of its width.
    climbed = along * along * (3 - 2 * along)
    return "".join(parts), (
        round(start_x + along * (end_x - start_x), 1),
        round(start_y + climbed * (end_y - start_y) - 6, 1),
    )


def _returning(parent: tuple[float, float], child: tuple[float, float]) -> tuple[str, tuple[float, float]]:
    """A curve back to the left, beneath both services."""
    start_x, end_x = parent[0] + _WIDTH * 0.6, child[0] + _WIDTH * 0.4
    start_y, end_y = parent[1] + _HEIGHT / 2, child[1] + _HEIGHT / 2
    bottom = max(start_y, end_y) + _ROW_GAP + 14
    path = f"M{start_x:g} {start_y:g}C{start_x:g} {bottom:g} {end_x:g} {bottom:g} {end_x:g} {end_y:g}"
    middle = (start_y + 6 * bottom + end_y) / 8 - 6
    return path, (round((start_x + end_x) / 2, 1), round(middle, 1))
