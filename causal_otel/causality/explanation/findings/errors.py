"""What failed first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.causality.explanation.failures import failure
from causal_otel.causality.explanation.findings.finding import Finding, call, finding
from causal_otel.names import ERROR_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation.scene import Scene

__all__ = ["find"]

_LONGEST = 160
_GONE = "client_disconnected"  # of which "cancelled" tells more


def find(scene: Scene) -> Iterator[Finding]:
    """One, for the failure that came first of those that come of no other, with how many more there are."""
    failed = [span for span in scene.spans if span.error and span.attributes.get(ERROR_TYPE) != _GONE]
    above = set()
    for span in reversed(failed):
        at = span.parent
        while at is not None and at.index not in above:
            above.add(at.index)
            at = at.parent
    sources = [span for span in failed if span.index not in above]
    if not sources:
        return
    first = min(sources, key=lambda span: (span.end, span.start, span.span_id))
    others = f"; {len(sources) - 1} more failed by themselves" if len(sources) > 1 else ""
    because = failure(first, _LONGEST)
    said = f"{call(first)} failed first{f': {because}' if because else ''}{others}"
    yield finding(scene, "error", said, first.duration, [first], failure=True)
