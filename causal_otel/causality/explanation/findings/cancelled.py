"""What was given up before it was done: by the client that went away, or by a timeout."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, alike, call, finding, times
from causal_otel.causality.spans.targets import named
from causal_otel.names import CAUSAL_CANCELLED, ERROR_TYPE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["find"]

_GONE = "client_disconnected"
_SHOWN = 3


def find(scene: Scene) -> Iterator[Finding]:
    """One for a request whose client has gone, with what it was doing; else one for each kind of call."""
    left = {span.index: span for span in scene.spans if span.attributes.get(CAUSAL_CANCELLED) is True}
    below = _below_requests(scene.spans, left)
    for request in scene.spans:
        if _is_gone(request):
            victims = below.get(request.index, [])
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


def _is_gone(span: Span) -> bool:
    return span.kind == "server" and span.attributes.get(ERROR_TYPE) == _GONE


def _below_requests(spans: Sequence[Span], cancelled: Collection[int]) -> dict[int, list[Span]]:
    """Of what was cancelled, that which is below a request whose client has gone, by the first of those above it."""
    first: dict[int, int] = {}
    found: defaultdict[int, list[Span]] = defaultdict(list)
    for span in spans:  # parents before their children
        above = None if span.parent is None else first.get(span.parent.index)
        if above is not None:
            first[span.index] = above
            if span.index in cancelled:
                found[above].append(span)
        elif _is_gone(span):
            first[span.index] = span.index
    return found


def _innermost(spans: Sequence[Span]) -> list[Span]:
    """Those of which no other is a child: a cancellation marks all that were waiting for it."""
    parents = {span.parent.index for span in spans if span.parent is not None}
    return [span for span in spans if span.index not in parents]
