"""Prometheus' text format, version 0.0.4, as far as the collector speaks it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["CONTENT_TYPE", "Family", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Prometheus takes a NUL for the end of the page, and would take nothing of it.
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\0": "\N{REPLACEMENT CHARACTER}"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


class Family:
    """A metric with all its series.

    Args:
        name: of the metric, a valid one.
        kind: its type.
        help: what it counts, one line.
    """

    def __init__(self, name: str, kind: Literal["counter", "gauge", "histogram"], help: str) -> None:
        self._name = name
        self._lines = [f"# HELP {name} {help.translate(_HELP_ESCAPES)}", f"# TYPE {name} {kind}"]

    def add(self, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Add a series of a counter or gauge."""
        self._add("", value, labels or {})

    def add_histogram(
        self, bounds: Sequence[float], cumulative: Sequence[int], total: float, labels: Mapping[str, str]
    ) -> None:
        """Add a series of a histogram.

        Args:
            bounds: the buckets' upper bounds, ascending, without infinity.
            cumulative: how many observations were at most each bound, and all of them.
            total: the observations' sum.
            labels: the series' labels.
        """
        for bound, count in zip((*bounds, math.inf), cumulative, strict=True):
            self._add("_bucket", count, {**labels, "le": _number(bound)})
        self._add("_sum", total, labels)
        self._add("_count", cumulative[-1], labels)

    def _add(self, suffix: str, value: float, labels: Mapping[str, str]) -> None:
        inner = ",".join(f'{key}="{value.translate(_LABEL_ESCAPES)}"' for key, value in labels.items())
        self._lines.append(f"{self._name}{suffix}{f'{{{inner}}}' if inner else ''} {_number(value)}")

    def __str__(self) -> str:
        return "\n".join(self._lines)


def render(families: Iterable[Family]) -> bytes:
    """The page."""
    text = "".join(f"{family}\n" for family in families)
    return text.encode(errors="replace")  # a lone surrogate has no UTF-8


def _number(value: float) -> str:
    if isinstance(value, float) and math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(value)
