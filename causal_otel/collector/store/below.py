"""Where the time of requests, messages and traces went, by what the spans below their own told.

A request waits for a pool in the span of its query, not in its own. So what the spans of a service's part of a trace
tell is summed up for the span that begins this part as well. What went on at the same time counts more than once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.store.measures import BEFORE_LABEL, BELOW_LABEL, CALLED, INSIDE_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causal_otel.collector.store.incoming import Observation

__all__ = ["below"]


def below(observations: Sequence[Observation]) -> Iterator[tuple[Observation, str, str, int]]:
    """What is told below the spans that begin something: the span, and key, label and value of a measure below it.

    Args:
        observations: spans of one trace. Of those whose parents are not among them nothing is told.
    """
    by_id: dict[bytes, Observation] = {}
    for each in observations:
        series = each.series
        if series.is_entry or not (series.is_call or each.measures):
            continue
        if not by_id:
            by_id = {other.span_id: other for other in observations}
        entry = _entry(each, by_id)
        if entry is None:
            continue
        left = each.duration
        for key, label, value in each.measures:
            if key in INSIDE_KEYS:
                left -= 0 if label == BEFORE_LABEL else value
                yield entry, key, BELOW_LABEL, value
        if left > 0 and series.is_call:
            yield entry, CALLED, series.key.system, left


def _entry(span: Observation, by_id: dict[bytes, Observation]) -> Observation | None:
    """The nearest span above that begins something in the same service; None: it is not there."""
    service = span.series.service
    found = by_id.get(span.parent_id)
    for _ in range(len(by_id)):  # ids that name each other in a circle lead nowhere
        if found is None or found.series.service != service:
            return None
        if found.series.is_entry:
            return found
        found = by_id.get(found.parent_id)
    return None
