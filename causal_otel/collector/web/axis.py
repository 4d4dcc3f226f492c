"""The labels of a drawn axis, which waterfall, heat map and the status page's bars have alike."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AxisLabel"]


class AxisLabel(NamedTuple):
    """A place on an axis, in the units of the drawing (of the waterfall: per cent), and what is written there."""

    at: float
    label: str
