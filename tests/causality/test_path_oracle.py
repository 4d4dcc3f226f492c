"""The path of random traces, whatever is wrong with them, beside the definition walked through unit by unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import event, given, settings
from hypothesis import strategies as st

from causal_otel.causality.critical_path import Until, critical_path
from tests.causality.path_oracle import Oracle
from tests.causality.traces import PlainLink, PlainSpan, PlainTrace, plain_trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.causality.critical_path import Segment

_NAMES = "abcdefghij"
_ROLES = (None, "chord-header", "retry", "chain", "group", "sender")


@st.composite
def _traces(draw: st.DrawFn) -> PlainTrace:
    """Spans that mostly lie in their parents and were waited for: else nothing but the root would be on the path."""
    spans: list[PlainSpan] = []
    with_tasks = draw(st.booleans())
    for name in _NAMES[: draw(st.integers(3, len(_NAMES)))]:
        one_in_six = st.integers(0, 5).map(lambda number: number == 5)
        parent = draw(st.sampled_from(spans)) if spans and not (len(spans) > 3 and draw(one_in_six)) else None
        first, last = (parent.start, parent.end) if parent is not None and not draw(one_in_six) else (0, 16)
        start, end = sorted((draw(st.integers(first, last)), draw(st.integers(first, last)))) if spans else (0, 16)
        kind = draw(st.sampled_from(("internal", "client", "server", "producer")))
        span = PlainSpan(name, start, end, parent, kind=kind)
        if parent is not None:
            span.service = "shop" if draw(one_in_six) else parent.service
            span.local_root = draw(one_in_six)
        if with_tasks:
            span.task = draw(st.none() | st.integers(1, 4))
            span.waiter = draw(st.none() | st.integers(1, 5))
            span.unawaited = span.waiter is None and draw(one_in_six)
        odd = draw(st.integers(0, 24))
        span.detached, span.open_only, span.untimed = odd == 0, odd == 1, odd == 2
        span.skew = {3: 3, 4: -2}.get(odd, 0)
        if odd > 16:
            role, target = draw(st.sampled_from(_ROLES)), draw(st.sampled_from(_NAMES))
            span.kind = draw(st.sampled_from((kind, "consumer")))
            span.links.append(PlainLink("t", target, {"causal.link": role} if role else {}))
        spans.append(span)
    return plain_trace(spans)


@settings(deadline=None)
@given(_traces(), st.sampled_from(("answer", "end")), st.none() | st.sampled_from(_NAMES))
def test_path_is_what_its_definition_says(trace: PlainTrace, until: Until, root: str | None) -> None:
    """For any trace, and any span of it, each unit of time is whose it is by the definition."""
    top = None if root is None else trace.span(root)
    segments = critical_path(trace, top, until)
    assert _owners(segments) == Oracle(trace, until).owners(top)
    event(f"to the {until}: {len(segments)} segments, {len({each.via for each in segments})} ways")


def _owners(segments: Sequence[Segment[PlainSpan]]) -> list[str]:
    """Whose each unit is; the segments have to follow one another."""
    owners: list[str] = []
    for before, each in zip((None, *segments), segments, strict=False):
        assert before is None or before.end == each.start
        assert each.start < each.end
        name = f"until {each.span.name}" if each.waiting else each.span.name
        owners += [name] * (each.end - each.start)
    return owners
