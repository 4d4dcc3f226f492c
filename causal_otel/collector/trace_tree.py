"""The spans of a trace put in order, whatever state they are in: :func:`build`."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags

from causal_otel._internal.durations import format_duration
from causal_otel.collector.attributes import plain_dict, service_name, text
from causal_otel.collector.service_counts import service_counts
from causal_otel.collector.times import LONGEST, is_time
from causal_otel.collector.view import SpanView, TraceView
from causal_otel.names import (
    CAUSAL_LINK,
    CAUSAL_OPEN,
    CAUSAL_TASK,
    CAUSAL_TASK_UNAWAITED,
    CAUSAL_TASK_WAITER,
    HOST_ID,
    HOST_NAME,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

__all__ = ["build", "corrected"]

_ELSEWHERE = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
"""The flags of a span whose parent is known to be in another process."""

_HAS_IS_REMOTE = int(SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)

_FOR_OTHERS = frozenset({Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER})

_AT_THE_EDGE = "it stands at the edge, without a length"


_READ = frozenset({CAUSAL_OPEN, CAUSAL_TASK, CAUSAL_TASK_UNAWAITED, CAUSAL_TASK_WAITER})

_IN_BYTES = tuple(key.encode() for key in (CAUSAL_OPEN, CAUSAL_TASK))
"""One of these is in the bytes of a trace of which any span has one of those."""


def build(trace: TracesData) -> TraceView:
    """The trace's spans as a tree, in time linear but for sorting.

    Nothing is refused. A span whose parent is missing is a root, spans whose parents go in a circle are cut loose at
    the earliest of them, and of several spans with one id, the children's own service's or the earliest gets the
    children. A span without a time that can be meant stands at the edge of those that have one, without a length. What
    is wrong with a span is in its ``warnings``.
    """
    found = list(_spans(trace))
    _place_untimed(found)
    return _arranged(found)


def corrected(view: TraceView) -> TraceView:
    """A trace with what its spans' clocks seem to differ by added to their times. The messages are as they were."""
    found = []
    for span in view.spans:
        moved = SpanView(span.message, span.service, span.resource, span.scope)
        moved.detached, moved.open_only = span.detached, span.open_only
        moved.task, moved.waiter, moved.unawaited = span.task, span.waiter, span.unawaited
        moved.start, moved.end, moved.duration = span.start + span.skew, span.end + span.skew, span.duration
        moved.untimed = span.untimed
        if span.untimed:
            moved.warnings = tuple(each for each in span.warnings if each.endswith(_AT_THE_EDGE))
        elif span.skew:
            added = f"{'+' if span.skew > 0 else ''}{format_duration(span.skew)}"
            _warn(moved, f"its clock is corrected: {added} was added to its times")
        found.append(moved)
    return _arranged(found)


def _arranged(found: list[SpanView]) -> TraceView:
    """The trace of these spans."""
    _sort(found)
    roots = _connect(found)
    ordered = _depth_first(roots)
    for span in reversed(ordered):  # children before their parents
        span.self_time = _self_time(span) if span.children else span.duration
        if span.parent is not None and (span.error or span.errors_below):
            span.parent.errors_below += span.errors_below + span.error
    _look_at(ordered)
    start = min((span.start for span in ordered), default=0)
    root = min(roots, key=lambda span: (bool(span.parent_id), not span.orphan, span.start), default=None)
    return TraceView(
        trace_id=ordered[0].message.trace_id.hex() if ordered else "",
        spans=tuple(ordered),
        roots=tuple(roots),
        root=root,
        start=start,
        end=max((span.end for span in ordered), default=start),
        services=service_counts([span.service for span in ordered], [span.service for span in ordered if span.error]),
        errors=sum(span.error for span in ordered),
    )


def _spans(trace: TracesData) -> Iterator[SpanView]:
    # The attributes of 50,000 spans are half of what there is to read, and most traces have none of these.
    content = trace.SerializeToString()
    tells = any(key in content for key in _IN_BYTES)
    for group in trace.resource_spans:
        service, resource = service_name(group.resource), plain_dict(group.resource.attributes)
        for scoped in group.scope_spans:
            scope = scoped.scope
            for message in scoped.spans:
                span = SpanView(message, service, resource, scope)
                if tells:
                    _tell(span)
                if message.links:
                    span.detached = _detached(message)
                else:  # as nearly all: nobody has to find out again
                    span.links = ()
                yield span


def _tell(span: SpanView) -> None:
    """What its attributes say of its place among tasks; the others, the most, are not read."""
    for pair in [each for each in span.message.attributes if each.key in _READ]:
        key, value = pair.key, pair.value
        if key == CAUSAL_OPEN:
            span.open_only = value.bool_value
        elif key == CAUSAL_TASK_UNAWAITED:
            span.unawaited = value.bool_value
        elif key == CAUSAL_TASK and value.HasField("int_value"):
            span.task = value.int_value
        elif key == CAUSAL_TASK_WAITER and value.HasField("int_value"):
            span.waiter = value.int_value


def _place_untimed(spans: list[SpanView]) -> None:
    timed = [span for span in spans if is_time(span.start)]
    if not timed or len(timed) == len(spans):
        return
    first, last = min(span.start for span in timed), max(span.end for span in timed)
    for span in spans:
        if not is_time(span.start):
            _warn(span, f"it starts at {span.start}, which is no time: {_AT_THE_EDGE}")
            span.untimed = True
            span.duration = 0
            span.start = span.end = first if span.start < first else last


def _detached(span: Span) -> bool:
    for link in span.links:
        attributes = plain_dict(link.attributes)
        if attributes.get(CAUSAL_LINK) == "detached":
            return True
        # What OpenTelemetry's OpenTracing shim writes.
        if attributes.get("opentracing.ref_type") == "follows_from" and link.trace_id == span.trace_id:
            return True
    return False


def _sort(spans: list[SpanView]) -> None:
    """By start, then the longer first, then by id: the same, in whichever order they came."""
    spans.sort(key=attrgetter("start"))
    at, count = 0, len(spans)
    for number in range(1, count + 1):
        if number == count or spans[number].start != spans[at].start:
            if number - at > 1:  # comparing tuples of all would take several times as long
                spans[at:number] = sorted(spans[at:number], key=lambda span: (-span.end, span.span_id))
            at = number


def _connect(spans: list[SpanView]) -> list[SpanView]:
    """Tell parents and children of each other; ``spans`` are by their start. Returns the roots."""
    by_id = {span.span_id: span for span in reversed(spans)}
    chosen = _of_one_id(spans) if len(by_id) < len(spans) else {}
    in_order = True
    for index, span in enumerate(spans):
        span.index = index
    for index, span in enumerate(spans):
        named = span.message.parent_span_id
        if named:
            parent_id = named.hex()
            parent = by_id.get(parent_id)
            if parent is None:
                span.orphan = True
                _warn(span, "the span that it names as its parent is not in the trace")
                continue
            if chosen:
                parent = chosen.get((parent_id, span.service), parent)
            span.parent = parent
            in_order = in_order and parent.index < index
    if not in_order:  # where all parents are before their children, they cannot go in a circle
        _cut_circles(spans)
    roots = []
    for span in spans:
        parent = span.parent
        if parent is None:
            roots.append(span)
        else:
            parent.children.append(span)
            span.local_root = _from_elsewhere(span, parent)
    return roots


def _of_one_id(spans: list[SpanView]) -> dict[tuple[str, str], SpanView]:
    """Of several spans with one id the first of each service, by that id and the service.

    So each child finds its parent at once: looking through all of an id's spans for each child could take forever.
    """
    counts = Counter(span.span_id for span in spans)
    chosen: dict[tuple[str, str], SpanView] = {}
    for span in spans:
        if (count := counts[span.span_id]) > 1:
            _warn(span, f"{count} spans have this id")
            chosen.setdefault((span.span_id, span.service), span)
    return chosen


def _from_elsewhere(span: SpanView, parent: SpanView) -> bool:
    """Whether its parent is in another process.

    Where neither the two resources nor the span's flags tell, as with an exporter that writes none, a span that works
    for others is taken to.
    """
    if span.resource is not parent.resource and (span.service != parent.service or span.resource != parent.resource):
        return True
    flags = span.message.flags
    if flags & _HAS_IS_REMOTE:
        return flags & _ELSEWHERE == _ELSEWHERE
    return span.message.kind in _FOR_OTHERS


def _cut_circles(spans: list[SpanView]) -> None:
    """Make the earliest span of every circle of parents a root."""
    done: set[int] = set()
    for span in spans:
        if span.parent is None or id(span.parent) in done:  # as it is with nearly all: parents start before children
            done.add(id(span))
            continue
        way: dict[int, SpanView] = {}
        at: SpanView | None = span
        while at is not None and id(at) not in done and id(at) not in way:
            way[id(at)] = at
            at = at.parent
        if at is not None and id(at) in way:
            circle = [at]
            while circle[-1].parent is not at and circle[-1].parent is not None:
                circle.append(circle[-1].parent)
            first = min(circle, key=lambda each: (each.start, -each.end))
            first.parent = None
            _warn(first, "its parents go in a circle")
        done.update(way)


def _depth_first(roots: list[SpanView]) -> list[SpanView]:
    """All spans in the order of the tree, which are told their place in it."""
    ordered: list[SpanView] = []
    left = roots[::-1]
    while left:  # no recursion, since a trace may be deeper than Python's stack
        span = left.pop()
        span.index = len(ordered)
        ordered.append(span)
        if span.children:
            below = span.depth + 1
            for child in span.children:
                child.depth = below
            left += span.children[::-1]
    return ordered


def _self_time(span: SpanView) -> int:
    covered, until = 0, span.start
    for child in span.children:
        if child.end > until and not (child.detached or child.open_only):
            end = min(child.end, span.end)
            covered += max(0, end - max(child.start, until))
            until = max(until, end)
    return span.duration - covered


def _look_at(ordered: list[SpanView]) -> None:
    """Add the warnings of spans, parents before their children."""
    clocks: dict[int, str] = {}
    for span in ordered:
        if not span.duration:
            _look_at_times(span)
        parent = span.parent
        if parent is not None and (span.resource is not parent.resource or parent.skew):
            span.skew = _skew(span, parent, clocks)
            if span.skew and span.skew != parent.skew:
                side = "behind" if span.skew > 0 else "ahead of"
                _warn(span, f"its clock seems to be {format_duration(abs(span.skew))} {side} its parent's")


def _look_at_times(span: SpanView) -> None:
    early = span.message.start_time_unix_nano - span.message.end_time_unix_nano
    if early > 0:
        unended = not span.message.end_time_unix_nano
        _warn(span, "it has no end" if unended else f"it ends {format_duration(early)} before it starts")
    elif -early > LONGEST and not span.untimed:
        _warn(span, f"it ends at {span.message.end_time_unix_nano}, which is no time: it is drawn without a length")


def _skew(span: SpanView, parent: SpanView, clocks: dict[int, str]) -> int:
    """What has to be added to its times.

    Clocks can only be told to disagree between machines, when a child starts before its parent, or a server is called
    after its client has its answer. Such a server is put in the middle of its client's time.
    """
    if (
        span.untimed
        or parent.untimed
        or span.resource is parent.resource
        or _clock(span, clocks) == _clock(parent, clocks)
    ):
        return parent.skew
    start = parent.start + parent.skew
    if start <= span.start <= start + parent.duration:
        return 0
    called = span.kind == "server" and parent.kind == "client"
    if start <= span.start and not called:
        return 0
    slack = max(0, parent.duration - span.duration) // 2 if called else 0
    return start + slack - span.start


def _clock(span: SpanView, known: dict[int, str]) -> str:
    """What its clock is told from others by; ``known`` by the identity of its resource, which lives in the trace."""
    found = known.get(id(span.resource))
    if found is None:
        resource = span.resource
        found = known[id(resource)] = text(resource.get(HOST_ID) or resource.get(HOST_NAME) or span.service)
    return found


def _warn(span: SpanView, warning: str) -> None:
    span.warnings += (warning,)
