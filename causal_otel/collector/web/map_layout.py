"""Where the boxes and lines of a map are: a layered drawing, which graphlay computes.

All boxes are of one size, and so are all labels: what is drawn where depends on who calls whom alone. So the map
stands still while figures change, and a drawing is computed once for as long as nobody new is called. A process of its
own does that, because graphlay keeps the GIL: some 0.2 s for fifty services with two hundred calls. It is bounded, for
there are graphs for which no drawing is found in minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from causal_otel._internal.log import logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BOX_HEIGHT", "BOX_WIDTH", "LABEL_HEIGHT", "LABEL_WIDTH", "Layout", "Line", "layout"]

BOX_WIDTH, BOX_HEIGHT = 176, 48
LABEL_WIDTH, LABEL_HEIGHT = 84, 28

_MARGIN = 20
_CORNER = 6.0
_CAREFUL_EDGES = 60
"""Up to so many a better drawing is looked for, which takes four times as long."""
_PIVOTS = 1000
"""How long boxes are moved to straighten lines: without a bound it takes minutes for 80 services with 300 calls."""
_SECONDS = 20.0
"""Some twenty times what the largest drawing takes."""
_PROGRAM = """
import json, sys, graphlay
request = json.load(sys.stdin)
json.dump(graphlay.layout(request["graph"], options=request["options"]).to_dict(), sys.stdout)
"""
_SPACING = {
    "layer_gap": 44,
    "node_gap": 20,
    "dummy_gap": 12,
    "port_gap": 9,
    "port_stroke_clear": 7,
    "stub": 12,
    "bundle_lane_gap": 7,
    "edge_label_margin": 8,
    "edge_label_stack_gap": 4,
    "isolated_gap": 24,
    "isolated_max_columns": 6,
}

_logger = logger(__name__)

Point = tuple[float, float]
_Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class Line:
    """An edge: the corners that it goes through, from border to border, and where its label's middle is.

    There may be no room for a label.
    """

    points: tuple[Point, ...]
    label: Point | None

    @property
    def path(self) -> str:
        """The line as an SVG path with round corners."""
        first, last = self.points[0], self.points[-1]
        parts = [f"M{first[0]:g} {first[1]:g}"]
        for before, corner, after in zip(self.points, self.points[1:], self.points[2:], strict=False):
            arrives, leaves = _towards(corner, before), _towards(corner, after)
            parts.append(f"L{arrives[0]:g} {arrives[1]:g}Q{corner[0]:g} {corner[1]:g} {leaves[0]:g} {leaves[1]:g}")
        parts.append(f"L{last[0]:g} {last[1]:g}")
        return "".join(parts)


def _towards(corner: Point, other: Point) -> Point:
    """The point that is the corner's radius away from it, or half-way where that is nearer."""
    x, y = other[0] - corner[0], other[1] - corner[1]
    length = abs(x) + abs(y)
    share = min(0.5, _CORNER / length) if length else 0.0
    return round(corner[0] + x * share, 1), round(corner[1] + y * share, 1)


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing, whose upper left corner is 0, 0.

    Attributes:
        boxes: the upper left corner of each box.
        lines: one for each edge.
        width: of the whole.
        height: of the whole.
    """

    boxes: tuple[Point, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def layout(boxes: int, edges: Sequence[tuple[int, int]]) -> Layout | None:
    """Lay out boxes so that edges go to the right, but for one of each cycle. None: it takes too long, or cannot be.

    Args:
        boxes: how many.
        edges: from which box to which, each once and none from a box to itself.
    """
    if not _one_at_a_time.acquire(timeout=_SECONDS):
        return None
    try:
        return _layout(boxes, tuple(edges))
    finally:
        _one_at_a_time.release()


_one_at_a_time = threading.Lock()


@lru_cache(maxsize=32)
def _layout(boxes: int, edges: tuple[tuple[int, int], ...]) -> Layout | None:
    box = {"size": {"width": BOX_WIDTH, "height": BOX_HEIGHT}, "shape": "box"}
    label = {"width": LABEL_WIDTH, "height": LABEL_HEIGHT}
    graph = {
        "nodes": [box] * boxes,
        "edges": [{"source": parent, "target": child, "label_size": label} for parent, child in edges],
    }
    options = {
        "effort": "balanced" if len(edges) <= _CAREFUL_EDGES else "fast",
        "spacing": _SPACING,
        "tuning": {"coords": {"simplex_max_pivots": _PIVOTS}},
    }
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM],
            input=json.dumps({"graph": graph, "options": options}).encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        _logger.warning("the map is not drawn: it takes longer than %s seconds", _SECONDS)
        return None
    except (OSError, subprocess.SubprocessError) as error:
        told = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().rpartition("\n")[2]
        _logger.warning("the map is not drawn: %s", told or error)
        return None
    drawn = json.loads(answer.stdout)
    return _moved(
        [(each["center"]["x"] - BOX_WIDTH / 2, each["center"]["y"] - BOX_HEIGHT / 2) for each in drawn["nodes"]],
        drawn["edges"],
    )


def _point(point: dict[str, Any]) -> Point:
    return point["x"], point["y"]


def _moved(boxes: Sequence[Point], edges: Sequence[dict[str, Any]]) -> Layout:
    """The drawing with its upper left corner at 0, 0, with a margin around all that is drawn."""
    taken = [(x, y, x + BOX_WIDTH, y + BOX_HEIGHT) for x, y in boxes]
    lines: list[tuple[list[Point], Point | None]] = []
    for edge in edges:
        label = next((each for each in _places(edge) if _is_free(_around(each), taken)), None)
        if label is not None:
            taken.append(_around(label))
        lines.append(([_point(each) for each in edge["points"]], label))
    corners = [point for points, _ in lines for point in points]
    corners += [point for left, top, right, bottom in taken for point in ((left, top), (right, bottom))]
    left = min((x for x, _ in corners), default=0.0) - _MARGIN
    top = min((y for _, y in corners), default=0.0) - _MARGIN

    def moved(point: Point) -> Point:
        return round(point[0] - left, 1), round(point[1] - top, 1)

    return Layout(
        tuple(map(moved, boxes)),
        tuple(Line(tuple(map(moved, points)), label and moved(label)) for points, label in lines),
        round(max((x for x, _ in corners), default=0.0) - left + _MARGIN, 1),
        round(max((y for _, y in corners), default=0.0) - top + _MARGIN, 1),
    )


def _places(edge: dict[str, Any]) -> Iterator[Point]:
    """Where an edge's label may be, best first: on its line, else where graphlay has made room, which may be off it."""
    pieces = [(_point(left), _point(right)) for left, right in pairwise(edge["points"])]
    pieces.sort(key=lambda piece: -abs(piece[0][0] - piece[1][0]) - abs(piece[0][1] - piece[1][1]))
    for (x, y), (to_x, to_y) in pieces:
        for share in (0.5, 0.3, 0.7):
            yield x + (to_x - x) * share, y + (to_y - y) * share
    if anchor := edge.get("label_anchor"):
        yield _point(anchor)


def _around(label: Point) -> _Rectangle:
    x, y = label
    return x - LABEL_WIDTH / 2, y - LABEL_HEIGHT / 2, x + LABEL_WIDTH / 2, y + LABEL_HEIGHT / 2


def _is_free(place: _Rectangle, taken: Sequence[_Rectangle]) -> bool:
    left, top, right, bottom = place
    return not any(left < other[2] and other[0] < right and top < other[3] and other[1] < bottom for other in taken)
