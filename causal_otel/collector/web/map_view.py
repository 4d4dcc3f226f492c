"""What of a topology a map shows, and how it is drawn: filters, focus, boxes and lines as coordinates for an SVG."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from causal_otel.collector.web.map_layout import BOX_HEIGHT, BOX_WIDTH, layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.collector.trends.topology import Edge, Node, Topology
    from causal_otel.collector.web.map_layout import Layout, Point

__all__ = ["EDGES", "NODES", "RATES", "ZOOMS", "Drawing", "DrawnEdge", "DrawnNode", "MapState", "draw", "shown"]

NODES = 60
"""Nodes drawn; the busiest are kept. More could not be read."""
EDGES = 250
"""Edges drawn, likewise."""

RATES: dict[str, tuple[str, float]] = {
    "": ("Any", 0.0),
    "1h": ("1 an hour", 1 / 3600),
    "1min": ("1 a minute", 1 / 60),
    "1s": ("1 a second", 1.0),
    "10s": ("10 a second", 10.0),
    "100s": ("100 a second", 100.0),
}
"""Rates that edges can have to be shown: what an address calls each, what the page does, and calls a second."""

ZOOMS = (25, 50, 75, 100, 125, 150, 200)
"""How large the drawing may be, in percent."""


@dataclass(frozen=True, slots=True)
class MapState:
    """The page's state, as its address has it; what the address says that does not exist is as by default.

    Attributes:
        lookback: a duration.
        focus: the name of a node: only what it calls and what calls it is shown.
        find: a part of the names of the nodes that are marked.
        rate: a key of :data:`RATES`: only edges with as many calls.
        errors: ``1``: only edges with errors.
        zoom: one of :data:`ZOOMS`, or ``fit``.
        drawing: ``1``: the drawing is shown also where the window is narrow.
    """

    lookback: str = "24h"
    focus: str = ""
    find: str = ""
    rate: str = ""
    errors: str = ""
    zoom: str = "100"
    drawing: str = ""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> MapState:
        """The state that an address's parameters describe."""
        values = {field.name: given.get(field.name, "") for field in fields(cls)}
        values["lookback"] = values["lookback"].strip()
        if values["rate"] not in RATES:
            values["rate"] = ""
        if values["zoom"] not in ("fit", *map(str, ZOOMS)):
            values["zoom"] = ""
        return cls(**{name: value for name, value in values.items() if value})

    def address(self, path: str = "/map", **changes: str) -> str:
        """The address of the map in this state, after ``changes``."""
        values = asdict(replace(self, **changes))
        given = {field.name: values[field.name] for field in fields(self) if values[field.name] != field.default}
        return f"{path}?{urlencode(given)}" if given else path

    def zoomed(self, step: int) -> str:
        """The address with the drawing a step larger (1) or smaller (-1)."""
        at = ZOOMS.index(100 if self.zoom == "fit" else int(self.zoom))
        return self.address(zoom=str(ZOOMS[min(max(at + step, 0), len(ZOOMS) - 1)]))


def shown(topology: Topology, state: MapState) -> Topology:
    """What is left of a topology by the state's filters and focus: if it has any, only nodes that an edge leads to."""
    least = RATES[state.rate][1] * topology.seconds
    edges = tuple(
        edge
        for edge in topology.edges
        if edge.calls >= least and (edge.errors or not state.errors) and state.focus in ("", edge.parent, edge.child)
    )
    if not (state.rate or state.errors or state.focus):
        return topology
    kept = {name for edge in edges for name in (edge.parent, edge.child)} | {state.focus}
    return replace(topology, nodes=tuple(node for node in topology.nodes if node.name in kept), edges=edges)


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A node and the upper left corner of its box."""

    node: Node
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """An edge and how it is drawn.

    Attributes:
        path: an SVG path, from caller to called.
        width: of its stroke.
        label: where its label's middle is; None: there is no room for it.
        back: whether it runs against the direction of the others, as one edge of every cycle does.
    """

    edge: Edge
    path: str
    width: float
    label: Point | None
    back: bool

    @property
    def severity(self) -> int:
        """0 without errors, 1 up to 1 %, 2 up to 5 %, 3 above."""
        share = self.edge.errors / self.edge.calls
        return 0 if not self.edge.errors else 1 if share <= 0.01 else 2 if share <= 0.05 else 3


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn map.

    Attributes:
        nodes: by name.
        edges: by the names of their nodes.
        width: of the whole.
        height: of the whole.
        nodes_left_out: how many were too many to draw.
        edges_left_out: how many edges between nodes that are drawn were.
    """

    nodes: tuple[DrawnNode, ...]
    edges: tuple[DrawnEdge, ...]
    width: float
    height: float
    nodes_left_out: int = 0
    edges_left_out: int = 0
    box_width = BOX_WIDTH
    box_height = BOX_HEIGHT


def draw(topology: Topology, keep: str = "") -> Drawing | None:
    """Draw a topology, of very large ones the busiest part.

    Args:
        topology: what is drawn.
        keep: a node that is drawn in any case.

    Returns:
        None if no drawing could be made.
    """
    touched = Counter({node.name: node.calls for node in topology.nodes})
    for edge in topology.edges:
        touched[edge.parent] += edge.calls
    busiest = sorted(topology.nodes, key=lambda node: (node.name != keep, -touched[node.name], node.name))
    nodes = sorted(busiest[:NODES], key=lambda node: node.name)
    place = {node.name: index for index, node in enumerate(nodes)}
    between = [edge for edge in topology.edges if edge.parent in place and edge.child in place]
    most = max((edge.calls for edge in between), default=1)
    for limit in (EDGES, EDGES // 3):
        busy = sorted(between, key=lambda edge: (-edge.calls, edge.parent, edge.child))[:limit]
        edges = sorted(busy, key=lambda edge: (edge.parent, edge.child))
        made = layout(len(nodes), [(place[edge.parent], place[edge.child]) for edge in edges])
        if made is not None:
            return Drawing(
                tuple(DrawnNode(node, *corner) for node, corner in zip(nodes, made.boxes, strict=True)),
                tuple(_drawn(edge, index, made, place, most) for index, edge in enumerate(edges)),
                made.width,
                made.height,
                len(topology.nodes) - len(nodes),
                len(between) - len(edges),
            )
    return None


def _drawn(edge: Edge, index: int, made: Layout, place: Mapping[str, int], most: int) -> DrawnEdge:
    line = made.lines[index]
    width = round(1.25 + 4 * math.log1p(edge.calls) / math.log1p(most), 2)
    back = made.boxes[place[edge.child]][0] <= made.boxes[place[edge.parent]][0]
    return DrawnEdge(edge, line.path, width, line.label, back)
