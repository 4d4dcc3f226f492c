"""A span's details as the page shows them: everything that was received, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causal_otel.causality.explanation.categories import HOLDER
from causal_otel.causality.explanation.shares import percent
from causal_otel.causality.spans.stalls import is_stall, shares_of_stall
from causal_otel.collector.attributes import plain_dict, text
from causal_otel.collector.units import format_duration
from causal_otel.collector.web.bars import Axis, PartView, parts
from causal_otel.collector.web.legend import path_says
from causal_otel.collector.web.profile_view import ProfileView, profile_view
from causal_otel.collector.web.trace_logs import LogList, of_span
from causal_otel.names import CAUSAL_LINK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from causal_otel.causality.critical_path import TaskRun, Until
    from causal_otel.collector.analysis import Explained, SpanView, TraceLogsView, TraceView
    from causal_otel.collector.query import LinkingSpan

__all__ = ["LONG", "LONGEST", "Event", "Relation", "SpanDetails", "TaskRelation", "says_of_linking", "span_details"]

LONG = 300
"""Characters beyond which a value is folded."""

LONGEST = 200_000
"""Characters of a value that the page shows; the JSON has all."""

_MOST = 5
"""Segments of the critical path, and tasks, that are told one by one."""

_MOST_LINKING = 20
"""Spans of other traces that link to one and are told one by one."""

_LINKED = {
    "detached": "detached from",
    HOLDER: "waited for what was held by",
    "sender": "scheduled by",
    "reschedule": "scheduled by",
    "retry": "tried again after",
    "redelivery": "delivered again after",
    "chain": "follows in a chain",
    "callback": "called back by",
    "errback": "called back on the error of",
    "chord-header": "waited for the chord's member",
    "group": "follows the group's",
}
"""What a span says of another that it links to, by the link's role."""

_LINKING = {
    "detached": "started, without waiting for it,",
    HOLDER: "was waited for by",
    "sender": "scheduled",
    "reschedule": "scheduled",
    "retry": "was tried again as",
    "redelivery": "was delivered again as",
    "chain": "is followed in a chain by",
    "callback": "called back",
    "errback": "called back on its error",
    "chord-header": "was waited for by the chord's",
    "group": "is followed by the group's",
}
"""What a span says of another that links to it."""

_OF_TASKS = _LINKING.keys() - {"detached", HOLDER}
"""The roles of links that only tasks have."""

_Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the span, ``offset`` after its start."""

    name: str
    offset: str
    attributes: _Pairs


@dataclass(frozen=True, slots=True)
class Relation:
    """A link from or to another span. ``name`` is empty if that is not in this trace, where ``here`` is False."""

    says: str
    trace_id: str
    span_id: str
    href: str
    here: bool
    name: str
    attributes: _Pairs


@dataclass(frozen=True, slots=True)
class TaskRelation:
    """What a span has to do with an asyncio task; ``other`` is the span at the other end, if there is one."""

    says: str
    other: SpanView | None = None
    after: str = ""

    @property
    def name(self) -> str:
        """What the other span is called."""
        return _name(self.other)


@dataclass(frozen=True, slots=True)
class SpanDetails:
    """What the page shows of ``span`` when it is opened.

    ``parts`` are where its time went, ``shares`` what a stall of the event loop was spent on, ``path`` its parts of the
    critical path, and how each is known, ``profile`` what code ran in its own time, ``linking`` how many spans of other
    traces link to it.
    """

    span: SpanView
    colour: int
    parent_here: bool
    offset: str
    notes: tuple[str, ...]
    parts: tuple[PartView, ...]
    shares: tuple[str, ...]
    path: tuple[str, ...]
    profile: ProfileView | None
    tasks: tuple[TaskRelation, ...]
    attributes: _Pairs
    events: tuple[Event, ...]
    links: tuple[Relation, ...]
    linking: int
    logs: LogList
    resource: _Pairs
    scope: _Pairs


def span_details(
    explained: Explained, span: SpanView, colour: int, logs: TraceLogsView, linking: Sequence[LinkingSpan] = ()
) -> SpanDetails:
    """Put together what is shown of ``span``, one of the trace's.

    Args:
        explained: the trace.
        span: which one.
        colour: of its service.
        logs: the trace's log records.
        linking: the spans of other traces that link to it.
    """
    trace, message = explained.view, span.message
    notes = [warning[0].upper() + warning[1:] + "." for warning in span.warnings]
    lost = (
        (message.dropped_attributes_count, "attribute"),
        (message.dropped_events_count, "event"),
        (message.dropped_links_count, "link"),
    )
    notes += [f"The sender has dropped {number} {noun}{'' if number == 1 else 's'}." for number, noun in lost if number]
    attributes = _pairs(span.attributes)
    if message.trace_state:
        attributes += (("tracestate", message.trace_state),)
    scope: _Pairs = (("name", span.scope.name),) if span.scope.name else ()
    if span.scope.version:
        scope += (("version", span.scope.version),)
    return SpanDetails(
        span=span,
        colour=colour,
        parent_here=span.parent is not None and span.parent.span_id == span.parent_id,
        offset=format_duration(span.start - trace.start),
        notes=tuple(notes),
        parts=parts(explained, span, Axis(span.start, max(1, span.duration))),
        shares=tuple(_shares(span)),
        path=tuple(_path(explained, span)),
        profile=profile_view(span.attributes),
        tasks=tuple(_tasks(explained, span)),
        attributes=attributes,
        events=tuple(
            Event(event.name, format_duration(event.time - span.start), _pairs(event.attributes))
            for event in span.events
        ),
        links=(*_links(trace, span), *_linked_from(trace, span), *map(_linking, linking[:_MOST_LINKING])),
        linking=len(linking),
        logs=of_span(logs, span.span_id, trace.start),
        resource=_pairs(span.resource),
        scope=scope + _pairs(plain_dict(span.scope.attributes)),
    )


def _shares(span: SpanView) -> Iterator[str]:
    if is_stall(span):
        for what, spent in shares_of_stall(span).items():
            yield f"{what} {format_duration(spent)}, {percent(spent / max(1, span.duration))}"


def _path(explained: Explained, span: SpanView) -> Iterator[str]:
    trace = explained.view
    goes_on = trace.root is not None and trace.end > trace.root.end
    ways: tuple[Until, ...] = ("answer", "end") if goes_on else ("answer",)
    for until in ways:
        path = explained.path(until)
        whole = max(1, sum(segment.duration for segment in path))
        mine = [segment for segment in path if segment.span is span]
        to = "the answer" if until == "answer" else "the end of all work"
        for segment in mine[:_MOST]:
            spent, at = segment.duration, format_duration(segment.local_start - trace.start)
            share = percent(spent / whole)
            yield f"To {to}: {format_duration(spent)}, {share} of it, from {at} on; {path_says(segment)}."
        if left := mine[_MOST:]:
            spent = sum(segment.duration for segment in left)
            yield f"To {to}: {len(left)} more times, together {format_duration(spent)}."


def _tasks(explained: Explained, span: SpanView) -> Iterator[TaskRelation]:
    """The task that it ran in; what tasks it has started, and waited for."""
    start = explained.view.start
    own = explained.task_of.get(span.index)
    if own is not None:
        yield from _own_task(own, start)
    started = [run for run in explained.tasks if run.started_in is span]
    waited = [run for run in explained.tasks if run.waited_in is span]
    for run in started[:_MOST]:
        at = format_duration(run.first.start - start)
        yield TaskRelation(f"Started task {run.title}:", run.first, f"from {at} on")
    if len(started) > _MOST:
        yield TaskRelation(f"Started {len(started) - _MOST} more.")
    for run in sorted(waited, key=lambda each: -each.last.end)[:_MOST]:
        until = format_duration(run.last.end - start)
        yield TaskRelation(f"Waited for task {run.title}:", run.last, f"until {until}")
    if len(waited) > _MOST:
        yield TaskRelation(f"Waited for {len(waited) - _MOST} more, which ended before.")


def _own_task(run: TaskRun[SpanView], start: int) -> Iterator[TaskRelation]:
    if run.started_in is None:
        yield TaskRelation(f"Ran in task {run.title}.")
    else:
        yield TaskRelation(f"Ran in task {run.title}, which was started in", run.started_in)
    if run.fate == "unawaited":
        yield TaskRelation("Nobody waited for that task.")
    elif run.waited_in is not None:
        until = format_duration(run.last.end - start)
        yield TaskRelation(f"Task {run.waiter} waited for it in", run.waited_in, f"until {until}")
    elif run.waiter is not None:
        yield TaskRelation(f"Task {run.waiter} waited for it.")


def _pairs(values: Mapping[str, Any]) -> _Pairs:
    return tuple(sorted((key, text(value)) for key, value in values.items()))


def _links(trace: TraceView, span: SpanView) -> list[Relation]:
    found = []
    for link in span.links:
        other = trace.span(link.span_id) if link.trace_id == trace.trace_id else None
        found.append(
            Relation(
                says=_LINKED.get(str(link.attributes.get(CAUSAL_LINK)), "links to"),
                trace_id=link.trace_id,
                span_id=link.span_id,
                href=_address(link.trace_id, link.span_id),
                here=other is not None,
                name=_name(other),
                attributes=_pairs(link.attributes),
            )
        )
    return found


def _linked_from(trace: TraceView, span: SpanView) -> list[Relation]:
    """Links in this trace that name the span."""
    wanted = span.message.trace_id, span.message.span_id
    return [
        Relation(
            says="started, without waiting for it," if other.detached else "linked from",
            trace_id=trace.trace_id,
            span_id=other.span_id,
            href=_address(trace.trace_id, other.span_id),
            here=True,
            name=_name(other),
            attributes=(),
        )
        for other in trace.spans
        if any((link.trace_id, link.span_id) == wanted for link in other.message.links)
    ]


def says_of_linking(linking: Sequence[LinkingSpan], *, cut: bool) -> str:
    """What a row's mark says of the spans of other traces that link to it; ``cut``: there may be more."""
    number = f"{len(linking)}+" if cut else str(len(linking))
    if not all(each.role in _OF_TASKS for each in linking):
        return f"{number} linked here"
    return f"{number} {'task' if number == '1' else 'tasks'} linked here"


def _linking(other: LinkingSpan) -> Relation:
    trace_id, span_id = other.trace_id.hex(), other.span_id.hex()
    return Relation(
        says=_LINKING.get(other.role, "linked from"),
        trace_id=trace_id,
        span_id=span_id,
        href=_address(trace_id, span_id),
        here=False,
        name=f"{other.service} {other.operation}",
        attributes=(),
    )


def _address(trace_id: str, span_id: str) -> str:
    """The ids are hexadecimal, so there is nothing to escape."""
    return f"/trace/{trace_id}?span={span_id}#s-{span_id}"


def _name(span: SpanView | None) -> str:
    return f"{span.service} {span.name}" if span is not None else ""
