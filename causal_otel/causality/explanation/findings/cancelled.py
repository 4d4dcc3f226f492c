"""What was given up before it was done: by the client that went away, or by a timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, alike, call, finding, times
from causal_otel.causality.explanation.targets import named
from causal_otel.names import CAUSAL_CANCELLED, ERROR_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["find"]

_GONE = "client_disconnected"
_SHOWN = 3


def find(scene: Scene) -> Iterator[Finding]:
    """One for a request whose client has gone, with what it was doing; else one for each kind of call."""
    left = {span.index: span for span in scene.spans if span.attributes.get(CAUSAL_CANCELLED) is True}
    for request in scene.spans:
        if request.kind == "server" and request.attributes.get(ERROR_TYPE) == _GONE:
            victims = [span for span in left.values() if _below(span, request)]
            for span in (request, *victims):
                left.pop(span.index, None)
            said = f"{named(request.name)}: the client went away after {format_duration(request.duration)}"
            if innermost := _innermost(victims):
                calls = ", ".join(map(call, innermost[:_SHOWN]))
                said += f", while {calls} {'was' if len(innermost) == 1 else 'were'} under way"
            yield finding(scene, "cancelled", said, request.duration, [request, *victims], failure=True)
    for spans in alike(_innermost(list(left.values()))):
        longest = spans[0].duration
        upto = "up to " if len(spans) > 1 else ""
        said = f"{call(spans[0])}{times(spans)} was cancelled after {upto}{format_duration(longest)}"
        yield finding(scene, "cancelled", said, longest, spans, failure=True)


def _below(span: Span, request: Span) -> bool:
    at = span.parent
    while at is not None and at is not request:
        at = at.parent
    return at is request


def _innermost(spans: Sequence[Span]) -> list[Span]:
    """Those of which no other is a child: a cancellation marks all that were waiting for it."""
    parents = {span.parent.index for span in spans if span.parent is not None}
    return [span for span in spans if span.index not in parents]
