"""The meaning of every question, by brute force: what the store must answer, and a reader for tests without one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from causal_otel.collector.attributes import kind_name, service_name
from causal_otel.collector.figures import (
    FIGURES_SECONDS,
    CallSum,
    Dependency,
    MeasureSum,
    OperationStatistics,
    Selected,
    SeriesSum,
    Step,
)
from causal_otel.collector.heat import HeatMap
from causal_otel.collector.matching import matching_span, span_duration, summary
from causal_otel.collector.query import (
    SORTS,
    Counted,
    Cursor,
    DayVolume,
    Found,
    Linking,
    LinkingSpan,
    Operation,
    Query,
    Recent,
    Summary,
    TraceLogs,
    TraceReader,
    Volume,
)
from causal_otel.collector.store.histogram import Histogram
from causal_otel.collector.systems import system_of
from causal_otel.collector.vocabulary import SeriesCount, TagCounts, Vocabulary
from tests.collector import oracle_heat, oracle_sums

HOUR = 3600 * 10**9
BY_TIME = ("newest", "oldest")


class MemoryReader:
    """A :class:`~causal_otel.collector.query.TraceReader` over messages kept in a list."""

    def __init__(self, messages: Iterable[TracesData] = ()) -> None:
        self._traces: dict[bytes, TracesData] = {}
        self._contents: set[bytes] = set()
        self._order: dict[bytes, int] = {}
        self._received = 0
        self.records: dict[bytes, TraceLogs] = {}
        self._lock = threading.Lock()  # a test adds while a page's thread asks what is new
        for message in messages:
            self.add(message)

    def add(self, message: TracesData) -> None:
        """Keep the spans of ``message``, each once."""
        with self._lock:
            for group in message.resource_spans:
                for scoped in group.scope_spans:
                    for span in scoped.spans:
                        trace = self._traces.setdefault(span.trace_id, TracesData())
                        self._order.pop(span.trace_id, None)
                        self._received += 1
                        self._order[span.trace_id] = self._received
                        if (content := span.SerializeToString(deterministic=True)) in self._contents:
                            continue
                        self._contents.add(content)
                        target = next((each for each in trace.resource_spans if each.resource == group.resource), None)
                        if target is None:
                            target = trace.resource_spans.add(resource=group.resource, schema_url=group.schema_url)
                        inner = next((each for each in target.scope_spans if each.scope == scoped.scope), None)
                        if inner is None:
                            inner = target.scope_spans.add(scope=scoped.scope, schema_url=scoped.schema_url)
                        inner.spans.append(span)

    def services(self) -> list[str]:
        return sorted({service for trace in self._traces.values() for _, service in _spans(trace)})

    def operations(self, service: str, kind: str | None = None) -> list[Operation]:
        found = {
            Operation(span.name, kind_name(span))
            for trace in self._traces.values()
            for span, name in _spans(trace)
            if name == service
        }
        return sorted(each for each in found if kind is None or each.kind == kind)

    def vocabulary(self, *, seconds: float = 0.06) -> Vocabulary:
        counts = TagCounts()
        spans: Counter[tuple[str, str, str]] = Counter()
        for trace in self._traces.values():
            counts.add_trace(trace)
            spans.update((service, span.name, system_of(span)) for span, service in _spans(trace))
        series = sorted(
            (SeriesCount(*key, count) for key, count in spans.items()), key=lambda each: (-each.spans, each)
        )
        return Vocabulary(tuple(series), counts.values())

    def search(self, query: Query, *, seconds: float = 2.0) -> Found:
        places = self._places(query)
        if query.after is not None:
            places = places[self._rank(places, query, query.after) :]
        if query.before is not None:
            at = self._rank(places, query, query.before)
            places = [each for each in places[:at] if each != query.before]
            places = places[max(0, len(places) - query.limit) :]
        places = places[: query.limit]
        ids = tuple(place.trace_id for place in places)
        return Found(ids, True, None, *((places[0], places[-1]) if places else ()))

    def _places(self, query: Query) -> list[Cursor]:
        """The places of all traces that match, in the order of the query."""
        score = SORTS[query.sort]
        found = []
        for trace_id, trace in self._traces.items():
            if (span := matching_span(trace, query)) is not None:
                whole = summary(trace)
                start = span.start_time_unix_nano if query.sort in BY_TIME else whole.start
                found.append(Cursor(score(whole), start, trace_id))
        return sorted(found, key=partial(_key, query.sort))

    def _rank(self, places: list[Cursor], query: Query, place: Cursor) -> int:
        """How many places come before the next one after a place."""
        return sum(_key(query.sort, each) <= _key(query.sort, place) for each in places)

    def count(self, query: Query, *, seconds: float = 0.5) -> Counted:
        return Counted(len(self._places(query)))

    def heat(self, query: Query, *, columns: int = 60, seconds: float = 0.25) -> HeatMap:
        return oracle_heat.heat(self._traces.values(), query, columns)

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        return [summary(self._traces[trace_id]) for trace_id in trace_ids if trace_id in self._traces]

    def trace(self, trace_id: bytes) -> TracesData | None:
        return self._traces.get(trace_id)

    def traces(self, trace_ids: Iterable[bytes], *, within: tuple[int, int] | None = None) -> Iterator[TracesData]:
        return (self._traces[trace_id] for trace_id in trace_ids if trace_id in self._traces)

    def logs(self, trace_id: bytes, *, most: int = 5000) -> TraceLogs | None:
        return self.records.get(trace_id)

    def span_count(self, trace_ids: Sequence[bytes]) -> int:
        traces = [self._traces[trace_id] for trace_id in set(trace_ids) if trace_id in self._traces]
        return sum(1 for trace in traces for _ in _spans(trace))

    def linked_from(self, trace_id: bytes, limit: int = 200, *, seconds: float = 0.5) -> Linking:
        found = [
            LinkingSpan(
                span.trace_id,
                span.span_id,
                service,
                span.name,
                span.start_time_unix_nano,
                link.span_id,
                next((pair.value.string_value for pair in link.attributes if pair.key == "causal.link"), ""),
            )
            for trace in self._traces.values()
            for span, service in _spans(trace)
            for link in span.links
            if link.trace_id == trace_id != span.trace_id
        ]
        return Linking(tuple(found[:limit]), complete=len(found) <= limit)

    def dependencies(self, start: int, end: int) -> list[Dependency]:
        calls: dict[tuple[str, str], list[int]] = {}
        errors: Counter[tuple[str, str]] = Counter()
        for trace in self._traces.values():
            services = {span.span_id: service for span, service in _spans(trace)}
            for span, child in _spans(trace):
                parent = services.get(span.parent_span_id)
                if parent is None or parent == child or not _within(span, start, end):
                    continue
                calls.setdefault((parent, child), []).append(span_duration(span))
                errors[parent, child] += span.status.code == Status.STATUS_CODE_ERROR
        return [_dependency(edge, durations, errors[edge]) for edge, durations in sorted(calls.items())]

    def statistics(self, start: int, end: int, service: str | None = None) -> list[OperationStatistics]:
        spans: dict[tuple[str, str, str, str], list[Span]] = {}
        for trace in self._traces.values():
            for span, name in _spans(trace):
                if service in (None, name) and _within(span, start, end):
                    spans.setdefault((name, span.name, kind_name(span), system_of(span)), []).append(span)
        return [_statistics(*key, found) for key, found in sorted(spans.items())]

    def series(self, selected: Selected, start: int, end: int, step: Step) -> list[SeriesSum]:
        return oracle_sums.series(self._traces.values(), selected, start, end, step)

    def measures(
        self, selected: Selected, start: int, end: int, step: Step, keys: Collection[str] = ()
    ) -> list[MeasureSum]:
        return oracle_sums.measures(self._traces.values(), selected, start, end, step, keys)

    def calls(self, parent: Selected, child: Selected, start: int, end: int) -> list[CallSum]:
        return oracle_sums.calls(self._traces.values(), parent, child, start, end)

    @property
    def since(self) -> int:
        return 0

    def bounded(self, *, seconds: float = FIGURES_SECONDS) -> TraceReader:
        return self

    def volume(self) -> Volume:
        count = sum(1 for trace in self._traces.values() for _ in _spans(trace))
        return Volume((DayVolume("2026-11-22", count, len(self._traces), 0, False),) if count else ())

    def trace_ids(self, start: int, end: int) -> Iterable[bytes]:
        return list(self.search(Query(start, end, limit=len(self._traces))).trace_ids)[::-1]

    def recent(self, limit: int, *, service: str | None = None, errors: bool = False, after: object = None) -> Recent:
        assert after is None or isinstance(after, int)
        with self._lock:
            found = [
                whole.trace_id
                for whole in self.summaries(reversed(self._order))
                if self._order[whole.trace_id] > (after or 0)
                and (whole.errors or not errors)
                and (service is None or any(each.name == service for each in whole.services))
            ]
            more = 0 if after is None else max(0, len(found) - limit)
            return Recent(tuple(found[:limit]), more, max(self._order.values(), default=0))


def _dependency(edge: tuple[str, str], durations: list[int], errors: int) -> Dependency:
    counted = Histogram()
    for duration in durations:
        counted.add(duration)
    return Dependency(*edge, len(durations), errors, sum(durations), counted.quantile(0.5), counted.quantile(0.95))


def _key(sort: str, place: Cursor) -> tuple[int, int, int]:
    """What an order goes by, ascending."""
    number = int.from_bytes(place.trace_id)
    if sort == "newest":
        return 0, -place.start, number
    return (0, place.start, -number) if sort == "oldest" else (-place.size, -place.start, -number)


def _spans(trace: TracesData) -> Iterator[tuple[Span, str]]:
    for group in trace.resource_spans:
        service = service_name(group.resource)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                yield span, service


def _within(span: Span, start: int, end: int) -> bool:
    return start // HOUR <= span.start_time_unix_nano // HOUR <= end // HOUR


def _statistics(service: str, operation: str, kind: str, system: str, spans: list[Span]) -> OperationStatistics:
    durations = sorted(map(span_duration, spans))
    errors = sum(span.status.code == Status.STATUS_CODE_ERROR for span in spans)

    def rank(share: float) -> int:
        return durations[min(len(durations) - 1, int(share * len(durations)))]

    buckets = tuple(sorted(Counter(durations).items()))
    return OperationStatistics(
        service, operation, kind, system, len(spans), errors, sum(durations), durations[-1],
        rank(0.5), rank(0.95), rank(0.99), buckets,
    )  # fmt: skip
