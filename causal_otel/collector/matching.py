"""Whether a trace satisfies a query, and the summary of a trace.

The store finds candidates by its indexes, and :func:`matching_span` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from causal_otel.collector.attributes import kind_name, plain, service_name, tags, text
from causal_otel.collector.conditions import on_duration, on_text, on_values
from causal_otel.collector.expressions import (
    And,
    Compare,
    Expression,
    Field,
    Has,
    Not,
    Or,
    leaves,
    only_service,
    whole,
)
from causal_otel.collector.query import Query, Summary
from causal_otel.collector.service_counts import service_counts
from causal_otel.collector.systems import system_of
from causal_otel.collector.times import is_time, length

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, TracesData

__all__ = ["Matched", "matched", "matching_span", "span_duration", "status_name", "summary"]


def span_duration(span: Span) -> int:
    """Nanoseconds from start to end; 0 if they are no real times, see :func:`~causal_otel.collector.times.length`."""
    return length(span.start_time_unix_nano, span.end_time_unix_nano)


def status_name(span: Span) -> str:
    """The span's status as queries name it."""
    return _STATUSES.get(span.status.code, "unset")


class Matched(NamedTuple):
    """A span with its resource and its scope."""

    span: Span
    resource: Resource
    scope: InstrumentationScope


def matching_span(trace: TracesData, query: Query) -> Span | None:
    """The span that starts last of those that satisfy all of ``query``'s conditions, or None."""
    found = matched(trace, query)
    return None if found is None else found.span


def matched(trace: TracesData, query: Query) -> Matched | None:
    """The same span with what it is of."""
    best: Matched | None = None
    latest = -1
    wanted = _wanted(query)
    for group in trace.resource_spans:
        service = service_name(group.resource)
        if wanted.service not in (None, service):
            continue
        of_resource = [
            (pair.key, text(plain(pair.value))) for pair in group.resource.attributes if pair.key in wanted.keys
        ]
        for scoped in group.scope_spans:
            for span in scoped.spans:
                start = span.start_time_unix_nano
                if not query.start <= start <= query.end or start <= latest:
                    continue
                if wanted.holds is None or wanted.holds(_Subject(span, scoped, service, of_resource, wanted.keys)):
                    best, latest = Matched(span, group.resource, scoped.scope), start
    return best


class _Subject:
    """A span about which conditions are decided."""

    __slots__ = ("_keys", "_of_resource", "_scoped", "_values", "service", "span")

    def __init__(
        self, span: Span, scoped: ScopeSpans, service: str, of_resource: list[tuple[str, str]], keys: Collection[str]
    ) -> None:
        self.span = span
        self.service = service
        self._scoped = scoped
        self._of_resource = of_resource
        self._keys = keys
        self._values: dict[str, list[str]] | None = None

    def texts(self, key: str) -> list[str]:
        """The values of a tag, which is one of ``keys``."""
        if self._values is None:
            self._values = {each: [] for each in self._keys}
            for name, value in chain(tags(self.span, self._scoped.scope, self._keys), self._of_resource):
                if name in self._values:
                    self._values[name].append(value)
        return self._values[key]


_STATUSES = {Status.STATUS_CODE_ERROR: "error", Status.STATUS_CODE_OK: "ok"}
_FIELDS: dict[str, Callable[[_Subject], str]] = {
    "service": lambda subject: subject.service,
    "operation": lambda subject: subject.span.name,
    "kind": lambda subject: kind_name(subject.span),
    "system": lambda subject: system_of(subject.span),
    "status": lambda subject: status_name(subject.span),
    "root": lambda subject: "false" if subject.span.parent_span_id else "true",
}


class _Wanted(NamedTuple):
    """A query's conditions, ready to be decided.

    Attributes:
        holds: decides; None: any span will do.
        keys: the tags that are asked about.
        service: the only one whose spans can satisfy them; None: any.
    """

    holds: Callable[[_Subject], bool] | None
    keys: frozenset[str]
    service: str | None


@lru_cache(maxsize=64)
def _wanted(query: Query) -> _Wanted:
    expression = whole(query)
    keys = frozenset(each.key for each in leaves(expression) if not isinstance(each, Field))
    return _Wanted(None if expression is None else _decided(expression), keys, only_service(expression))


def _decided(expression: Expression) -> Callable[[_Subject], bool]:
    """Whether a span satisfies an expression, as a function of the span."""
    if isinstance(expression, Not):
        part = _decided(expression.part)
        return lambda subject: not part(subject)
    if isinstance(expression, And | Or):
        # What is quickly told first: tags have to be collected.
        parts = [_decided(each) for each in sorted(expression.parts, key=_effort)]
        if isinstance(expression, And):
            return lambda subject: all(part(subject) for part in parts)
        return lambda subject: any(part(subject) for part in parts)
    if isinstance(expression, Has):
        key = expression.key
        return lambda subject: any(value != "false" for value in subject.texts(key))
    if isinstance(expression, Compare):
        key, compare = expression.key, on_values(expression)
        return lambda subject: compare(subject.texts(key))
    if expression.name == "duration":
        bounded = on_duration(expression)
        return lambda subject: bounded(span_duration(subject.span))
    value_of, test = _FIELDS[expression.name], on_text(expression)
    return lambda subject: test(value_of(subject))


def _effort(expression: Expression) -> int:
    return 0 if isinstance(expression, Field) and expression.name != "system" else 1


def summary(trace: TracesData) -> Summary:
    """The one-line summary of a trace that has at least one span.

    Raises:
        ValueError: It has none.
    """
    spans = [
        (span, service_name(group.resource))
        for group in trace.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]
    if not spans:
        raise ValueError("a trace without spans has no summary")
    present = {span.span_id for span, _ in spans}
    # An earlier start is better; a true root beats an orphan, an orphan any other: in a cycle nobody is a root.
    root, root_service = min(
        spans,
        key=lambda each: (
            bool(each[0].parent_span_id),
            each[0].parent_span_id in present,
            each[0].start_time_unix_nano,
        ),
    )
    errors = [service for span, service in spans if span.status.code == Status.STATUS_CODE_ERROR]
    # A span that has no time of its own must not stretch those that have.
    timed = [span for span, _ in spans if is_time(span.start_time_unix_nano)] or [span for span, _ in spans]
    start = min(span.start_time_unix_nano for span in timed)
    return Summary(
        trace_id=root.trace_id,
        root_service=root_service,
        root_operation=root.name,
        root_kind=kind_name(root),
        start=start,
        end=max(span.start_time_unix_nano + span_duration(span) for span in timed),
        spans=len(spans),
        errors=len(errors),
        orphans=sum(bool(span.parent_span_id) and span.parent_span_id not in present for span, _ in spans),
        services=service_counts([service for _, service in spans], errors),
    )
