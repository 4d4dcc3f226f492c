"""N+1: the same statement again and again, one after the other, where one for all would do."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, call, finding, together
from causal_otel.causality.explanation.findings.statements import origin, statement
from causal_otel.causality.explanation.parts import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span, SpanT

__all__ = ["find", "one_after_another", "series"]

_LEAST = 5
_LEAST_SHARE = 0.01
_OVERLAP = 1.1
"""How much longer than together they may have taken one by one: whoever asks for several at once has thought of it."""


def find(scene: Scene) -> Iterator[Finding]:
    """One for each statement that one span has issued many times, with where the code did so."""
    for spans in series(scene):
        spent = together(spans)
        if scene.share(spent, begin(spans[0])) >= _LEAST_SHARE:
            said = f"{call(spans[0])} ×{len(spans)} one after another, {format_duration(spent)}{origin(spans[0])}: N+1"
            yield finding(scene, "n_plus_one", said, spent, spans)


def series(scene: Scene) -> Iterator[list[Span]]:
    """The calls of each statement that one parent has made many times, one after the other; in the trace's order."""
    return one_after_another(scene.spans, statement, _LEAST)


def one_after_another(
    spans: Iterable[SpanT], same: Callable[[SpanT], Hashable], least: int, *, roots: bool = False
) -> Iterator[list[SpanT]]:
    """The same calls of one parent, many times, one after the other.

    Args:
        spans: of one trace or of several, parents before their children.
        same: what is equal of calls that are the same.
        least: how many are many.
        roots: whether calls without a parent are looked at as well, as if they had one.
    """
    for group in _groups(spans, same, least, roots):
        group.sort(key=lambda span: (span.start, span.end, span.span_id))
        if len(group) >= least and sum(span.duration for span in group) <= _OVERLAP * together(group):
            yield group


def _groups(
    spans: Iterable[SpanT], same: Callable[[SpanT], Hashable], least: int, roots: bool
) -> Iterator[list[SpanT]]:
    """The same calls below one parent, or each below a span of its own of one name below one parent."""
    direct: defaultdict[tuple[Span | None, Hashable], list[SpanT]] = defaultdict(list)
    for span in spans:
        if span.kind == "client" and (span.parent is not None or roots):
            direct[span.parent, same(span)].append(span)
    spread: defaultdict[Hashable, list[SpanT]] = defaultdict(list)
    for (parent, what), some in direct.items():
        if len(some) >= least:
            yield some
        elif len(some) == 1 and parent is not None and parent.kind == "internal" and (parent.parent or roots):
            spread[parent.parent, parent.name, what].append(some[0])
    yield from spread.values()
