"""Where the time of calls went: what their spans waited for, what they called, and the rest, which is their own.

Of what begins something in its service (a request, a message) these are its own parts and those of the spans below it
in the same service. What went on at the same time counts more than once, in other words each of ten queries that were
sent at once counts whole: where the parts are more than the calls took, they are scaled down to that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.causality.spans.parts import BEFORE, INSIDE
from causal_otel.causality.spans.targets import system_name
from causal_otel.collector.analysis.where_time_went import BEFORE_LABELS, LABELS
from causal_otel.collector.store.measures import BEFORE_LABEL, CALLED
from causal_otel.names import CAUSAL_QUEUE_WAIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.collector.figures import MeasureSum
    from causal_otel.collector.trends.window import Window

__all__ = ["KEYS", "OWN", "TimePart", "TimeParts", "part_of", "time_parts", "time_parts_of_bins"]

KEYS = (*INSIDE, CAUSAL_QUEUE_WAIT, CALLED)
"""The measures that it is made of."""


class TimePart(NamedTuple):
    """A part of the time.

    Attributes:
        key: the attribute that tells it, :data:`~causal_otel.collector.store.measures.CALLED`, or ``own``.
        system: of calls, what was called, see :mod:`causal_otel.collector.systems`.
    """

    key: str
    system: str = ""

    @property
    def label(self) -> str:
        """What it is called: ``pool wait``, ``calls to PostgreSQL``."""
        if self.key == CALLED:
            return f"calls to {system_name(self.system) or 'HTTP' if self.system else 'something else'}"
        if self.key == OWN.key:
            return "own"
        return LABELS[self.key]

    @property
    def order(self) -> tuple[int, str]:
        """What happens first has the least; calls and the rest have the most."""
        return _PLACES[self.key], self.system


OWN = TimePart("own")
"""What nothing was measured of: the code's own time, and waits that nothing traces."""

_PLACES = {key: place for place, key in enumerate((*INSIDE, CALLED, OWN.key))}


@dataclass(slots=True)
class TimeParts:
    """Where time went, in nanoseconds.

    Attributes:
        total: of the calls.
        parts: what it consists of, those that are not 0: they add up to it. What happens first comes first.
        before: by what it is called, what passed before the calls began, which is no part of their time.
        scaled: by how much the parts had to be scaled down; 1 if they had not.
    """

    total: int
    parts: dict[TimePart, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    scaled: float = 1.0


def part_of(measure: MeasureSum) -> TimePart | None:
    """The part that a measure tells of; None: of what passed before the calls began, or of something else."""
    if measure.key not in _PLACES or (measure.key in BEFORE and measure.label == BEFORE_LABEL):
        return None
    return TimePart(measure.key, measure.label if measure.key == CALLED else "")


def time_parts(measures: Iterable[MeasureSum], total: int) -> TimeParts:
    """Where ``total`` nanoseconds went, which calls took that told ``measures`` of themselves."""
    found: dict[TimePart, int] = {}
    before: dict[str, int] = {}
    for each in measures:
        part = part_of(each)
        if part is not None:
            found[part] = found.get(part, 0) + each.total
        elif each.key in BEFORE:
            label = BEFORE_LABELS[each.key]
            before[label] = before.get(label, 0) + each.total
    measured = sum(found.values())
    scaled = 1.0
    if measured > total:
        scaled = total / measured
        found = {part: spent * total // measured for part, spent in found.items()}
    own = total - sum(found.values())
    if scaled == 1.0 and own:
        found[OWN] = own
    elif found:  # what integers lose
        found[max(found, key=lambda part: found[part])] += own
    parts = {part: found[part] for part in sorted(found, key=lambda part: part.order) if found[part]}
    return TimeParts(total, parts, before, scaled)


def time_parts_of_bins(measures: Iterable[MeasureSum], totals: Iterable[int], window: Window) -> list[TimeParts]:
    """Where time went in each bin of ``window``.

    Args:
        measures: by the steps of ``window``.
        totals: for each bin, how long its calls took together.
        window: the time.
    """
    by_start: dict[int, list[MeasureSum]] = {}
    for each in measures:
        by_start.setdefault(each.start, []).append(each)
    return [time_parts(by_start.get(each.start, ()), total) for each, total in zip(window.bins, totals, strict=True)]
