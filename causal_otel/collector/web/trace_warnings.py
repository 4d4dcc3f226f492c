"""What is wrong with a trace, in the line above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.units import format_duration

if TYPE_CHECKING:
    from causal_otel.collector.analysis import TraceView

__all__ = ["skews", "warnings"]

_MOST_SERVICES = 5


def warnings(view: TraceView) -> list[str]:
    """A sentence for each thing."""
    found = []
    marked = [span for span in view.spans if span.warnings]
    orphans = sum(span.orphan for span in marked)
    if orphans:
        found.append(
            f"{_spans(orphans)} a parent that is not here: it may be on its way still, was not sampled, or was lost."
        )
    untimed = sum(span.untimed for span in marked)
    if untimed:
        are = (
            "1 span has an impossible time and stands"
            if untimed == 1
            else f"{untimed} spans have impossible times and stand"
        )
        found.append(f"{are} at the edge.")
    others = sum(not (span.orphan or span.skew or span.untimed) for span in marked)
    if others:
        found.append(f"{others} span{'s have' if others > 1 else ' has'} a warning; the details say which.")
    return found


def skews(view: TraceView) -> list[str]:
    """What has to be added to the times of which services, the most first: ``payments -1.2 s``."""
    found: dict[str, int] = {}
    for span in view.spans:
        if span.skew and abs(span.skew) > abs(found.get(span.service, 0)):
            found[span.service] = span.skew
    ordered = sorted(found.items(), key=lambda each: (-abs(each[1]), each[0]))
    said = [f"{service} {'+' if skew > 0 else ''}{format_duration(skew)}" for service, skew in ordered]
    return said[:_MOST_SERVICES] + (["others"] if len(said) > _MOST_SERVICES else [])


def _spans(count: int) -> str:
    return "1 span names" if count == 1 else f"{count} spans name"
