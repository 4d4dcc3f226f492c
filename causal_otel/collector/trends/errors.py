"""What fails: errors grouped by their type and the application's own frame, as the store sums them up."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from causal_otel.causality.explanation.failures import failure
from causal_otel.collector.analysis import build
from causal_otel.collector.attributes import text
from causal_otel.collector.error_labels import ErrorLabel, error_of, searches, split
from causal_otel.collector.figures import Selected
from causal_otel.collector.query import Query
from causal_otel.names import ERROR_TYPE, EXCEPTION_STACKTRACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.collector.figures import MeasureSum, Series, Sums
    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.trends.periods import Period

    class Whole(Protocol):
        """The part of a reader that has whole traces."""

        def trace(self, trace_id: bytes) -> TracesData | None: ...

        def span_count(self, trace_ids: Sequence[bytes]) -> int: ...


__all__ = ["SORTS", "ErrorExample", "ErrorGroup", "Errors", "FailedOperation", "errors", "example", "examples"]

_Key = TypeVar("_Key", bound=tuple[str, ...])

_EXAMPLES = 20
_LOOKED_AT = 60
"""Traces with an error of a type that are looked at for examples of a group."""
_MOST_SPANS = 20_000
"""Spans of a trace that is read for an example. Of a larger one there is just the link."""
_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class FailedOperation:
    """An operation that failed so, and how many of its spans did."""

    service: str
    operation: str
    kind: str
    system: str
    count: int


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors of one type from one frame of the application.

    Attributes:
        label: the type and the frame.
        count: how many spans failed so. An error that passes through several spans of a trace counts in each.
        requests: how many of these begin something in their service: a request, a message, or a trace.
        total: how long these spans took together, in nanoseconds.
        first: when the hour, or the day, begins in which the first of them started, as far as was looked back.
        last: likewise of the last one.
        trend: how many there were in each step of the period.
        operations: that failed so, most spans first.
        versions: service, version and how many spans; an empty version: it does not tell one.
        trace_id: a trace that has it: of those in the last step the one whose failed span took longest.
        new: whether there was none in the time before, which is as long; None: nothing is known of that.
    """

    label: ErrorLabel
    count: int
    requests: int
    total: int
    first: int
    last: int
    trend: tuple[int, ...]
    operations: tuple[FailedOperation, ...]
    versions: tuple[tuple[str, str, int], ...]
    trace_id: bytes
    new: bool | None

    @property
    def services(self) -> tuple[tuple[str, int], ...]:
        """The services that failed so and how many of their spans did, most first."""
        counted: Counter[str] = Counter()
        for each in self.operations:
            counted[each.service] += each.count
        return tuple(sorted(counted.items(), key=lambda each: (-each[1], each[0])))


@dataclass(frozen=True, slots=True)
class Errors:
    """All groups, most spans first, and how many spans failed in all."""

    groups: tuple[ErrorGroup, ...]
    count: int


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """A trace with an error of a group.

    Attributes:
        trace_id: 16 bytes.
        trace: the trace; None: it is too large to be read for this.
        span: the innermost span in it that failed so; None likewise.
        told: how many spans of the trace failed so.
    """

    trace_id: bytes
    trace: TraceView | None = None
    span: SpanView | None = None
    told: int = 0

    @property
    def message(self) -> str:
        """What it says besides its type, on one line."""
        if self.span is None:
            return ""
        said, kind = failure(self.span, _LONGEST_MESSAGE), error_of(self.span).type
        for name in (kind, kind.rpartition(".")[2]):
            said = "" if said == name else said.removeprefix(f"{name}: ")
        return said

    @property
    def stack(self) -> str:
        """The stack trace of its last exception."""
        events = [] if self.span is None else [each for each in self.span.events if each.name == "exception"]
        return text(events[-1].attributes.get(EXCEPTION_STACKTRACE)) if events else ""


SORTS: dict[str, Callable[[ErrorGroup], int]] = {
    "count": lambda each: each.count,
    "requests": lambda each: each.requests,
    "last": lambda each: each.last,
    "first": lambda each: each.first,
    "total": lambda each: each.total,
}
"""The orders of groups, the largest first."""


def errors(
    reader: Sums, selected: Selected, period: Period, wants: Callable[[Series], bool] = lambda series: True
) -> Errors:
    """Group the errors of a time.

    Args:
        reader: what has them.
        selected: of which series.
        period: the time.
        wants: of these, which ones.
    """
    read = reader.measures(selected, period.start, period.end, period.step, (ERROR_TYPE,))
    told = [each for each in read if wants(each.series)]
    by_label: defaultdict[str, list[MeasureSum]] = defaultdict(list)
    for each in told:
        by_label[each.label].append(each)
    known = _before(reader, selected, period, wants) if told else None
    groups = [_group(label, sums, period, known) for label, sums in by_label.items()]
    groups.sort(key=lambda each: (-each.count, each.label))
    return Errors(tuple(groups), sum(each.spans for each in told))


def example(reader: Whole, group: ErrorGroup) -> ErrorExample:
    """The group's trace, and the innermost span in it that failed so."""
    return _example(reader, group.label, group.trace_id)


def examples(
    reader: TraceReader, group: ErrorGroup, selected: Selected, period: Period, *, seconds: float = 1.0
) -> list[ErrorExample]:
    """Some of the newest traces that have errors of a group, the newest first, for about so many seconds."""
    until = time.monotonic() + seconds
    found: dict[bytes, ErrorExample] = {}
    for query in _queries(group.label, selected, period):
        for trace_id in reader.search(query, seconds=seconds / 2).trace_ids:
            if time.monotonic() >= until or len(found) >= _EXAMPLES:
                break
            if trace_id not in found and (looked_at := _example(reader, group.label, trace_id)).told:
                found[trace_id] = looked_at
    if not found:
        found[group.trace_id] = example(reader, group)
    return sorted(found.values(), key=lambda each: -(0 if each.span is None else each.span.start))


def _before(reader: Sums, selected: Selected, period: Period, wants: Callable[[Series], bool]) -> frozenset[str] | None:
    """The labels of the time before; None: nothing is kept of it, or there was no time to read all of it."""
    before = period.before
    sums = reader.measures(selected, before.start, before.end, "all", (ERROR_TYPE,))
    labels = frozenset(each.label for each in sums if wants(each.series))
    if reader.since > before.start:
        return None
    if labels or any(wants(each.series) for each in reader.series(selected, before.start, before.end, "all")):
        return labels
    return None


def _group(label: str, sums: Sequence[MeasureSum], period: Period, known: frozenset[str] | None) -> ErrorGroup:
    operations: Counter[tuple[str, str, str, str]] = Counter()
    versions: Counter[tuple[str, str]] = Counter()
    for each in sums:
        series = each.series
        operations[series.service, series.operation, series.kind, series.system] += each.spans
        versions[series.service, series.version] += each.spans
    last = max(each.start for each in sums)
    newest = max((each for each in sums if each.start == last), key=lambda each: each.largest)
    return ErrorGroup(
        label=split(label),
        count=sum(each.spans for each in sums),
        requests=sum(each.spans for each in sums if each.series.entry),
        total=sum(each.total for each in sums),
        first=min(each.start for each in sums),
        last=last,
        trend=period.trend((each.start, each.spans) for each in sums),
        operations=tuple(FailedOperation(*key, count) for key, count in _most_first(operations)),
        versions=tuple((*key, count) for key, count in _most_first(versions)),
        trace_id=newest.trace,
        new=None if known is None else label not in known,
    )


def _most_first(counted: Counter[_Key]) -> Iterable[tuple[_Key, int]]:
    return sorted(counted.items(), key=lambda each: (-each[1], each[0]))


def _queries(label: ErrorLabel, selected: Selected, period: Period) -> Iterator[Query]:
    """What finds traces with such an error."""
    for where in searches(label):
        yield Query(
            start=period.start,
            end=period.end,
            service=selected.service,
            operation=selected.operation,
            kind=selected.kind,
            errors=True,
            limit=_LOOKED_AT,
            where=where,
        )


def _example(reader: Whole, label: ErrorLabel, trace_id: bytes) -> ErrorExample:
    if reader.span_count([trace_id]) > _MOST_SPANS:
        return ErrorExample(trace_id)
    message = reader.trace(trace_id)
    if message is None:  # its day was removed just now
        return ErrorExample(trace_id)
    view = build(message)
    failed = [span for span in view.spans if span.error and error_of(span) == label]
    # Spans stand before all that is below them: the last of the deepest is nobody's parent among those that failed so.
    innermost = max(failed, key=lambda span: span.depth, default=None)
    return ErrorExample(trace_id, view, innermost, len(failed))
