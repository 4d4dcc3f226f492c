"""A span's profile as a flame graph: what code ran in its own time. Drawn from an attribute, which may be anybody's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from causal_otel.causality.folded import hottest, stacks
from causal_otel.collector.units import format_duration
from causal_otel.names import CAUSAL_PROFILE, CAUSAL_PROFILE_PERIOD, CAUSAL_PROFILE_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["Frame", "HotLine", "ProfileView", "profile_view"]

_MOST_FRAMES = 400
_DEEPEST = 64
_LEAST_WIDTH = 0.4
"""Per cent of the graph, from which on a frame is drawn."""
_MOST_HOT = 8
_LONGEST_PERIOD = 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: its row from 0, its place and width in per cent, and what it is."""

    row: int
    x: float
    width: float
    name: str
    says: str


@dataclass(frozen=True, slots=True)
class HotLine:
    """A line of code that ran itself, and in what share of the samples."""

    name: str
    share: float
    says: str


@dataclass(frozen=True, slots=True)
class ProfileView:
    """What is shown of a profile.

    Attributes:
        says: how much was seen, in words.
        frames: those that are drawn, from above.
        rows: how many rows of them there are.
        left_out: how many frames are too narrow, too deep or too many to be drawn.
        hot: the lines that ran most, the first of them.
    """

    says: str
    frames: tuple[Frame, ...]
    rows: int
    left_out: int
    hot: tuple[HotLine, ...]


@dataclass(slots=True)
class _Node:
    samples: int = 0
    below: dict[str, _Node] = field(default_factory=dict)


def profile_view(attributes: Mapping[str, Any]) -> ProfileView | None:
    """The flame graph of a span with these attributes; None: it has no profile."""
    text = attributes.get(CAUSAL_PROFILE)
    profile = stacks(text) if isinstance(text, str) else []
    shown = sum(count for _, count in profile)
    if not shown:
        return None
    period = _period(attributes)
    told = attributes.get(CAUSAL_PROFILE_SAMPLES)
    samples = max(shown, told) if isinstance(told, int) and not isinstance(told, bool) else shown
    root = _Node(shown)
    for frames, count in profile:
        at = root
        for frame in frames:
            at = at.below.setdefault(frame, _Node())
            at.samples += count
    laid_out = list(_laid_out(root, period))
    drawn = [frame for frame in laid_out if frame.width >= _LEAST_WIDTH and frame.row < _DEEPEST][:_MOST_FRAMES]
    return ProfileView(
        says=_seen(samples, period) + (f"; {samples - shown} of them have no room here" if samples > shown else ""),
        frames=tuple(drawn),
        rows=1 + max((frame.row for frame in drawn), default=-1),
        left_out=len(laid_out) - len(drawn),
        hot=tuple(HotLine(name, count / shown, _seen(count, period)) for name, count in hottest(profile)[:_MOST_HOT]),
    )


def _period(attributes: Mapping[str, Any]) -> float:
    """Seconds from one sample to the next; 0: it is not told."""
    found = attributes.get(CAUSAL_PROFILE_PERIOD)
    if not isinstance(found, (int, float)) or not math.isfinite(found):
        return 0.0
    return found if 0 < found <= _LONGEST_PERIOD else 0.0


def _seen(samples: int, period: float) -> str:
    noun = "1 sample" if samples == 1 else f"{samples} samples"
    return f"{noun}, about {format_duration(round(samples * period * 1e9))}" if period else noun


def _laid_out(root: _Node, period: float) -> Iterator[Frame]:
    """Row by row, from above; siblings by how often they were seen."""
    row: list[tuple[_Node, float]] = [(root, 0.0)]
    number = 0
    while row:
        below: list[tuple[_Node, float]] = []
        for node, x in row:
            for name, child in sorted(node.below.items(), key=lambda each: (-each[1].samples, each[0])):
                width = 100 * child.samples / root.samples
                yield Frame(number, x, width, name, f"{name}: {_seen(child.samples, period)}")
                below.append((child, x))
                x += width
        row = below
        number += 1
