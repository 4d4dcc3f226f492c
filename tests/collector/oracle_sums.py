"""Sums over spans as the store's tables tell them, each counted from the spans themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from causal_otel.collector.attributes import kind_name, plain_dict, service_name, text
from causal_otel.collector.figures import CallSum, MeasureSum, Selected, Series, SeriesSum, Step
from causal_otel.collector.matching import span_duration
from causal_otel.collector.own_frames import own_frame
from causal_otel.collector.store.histogram import Histogram
from causal_otel.collector.systems import system_of

__all__ = ["calls", "measures", "series"]

_HOUR = 3600 * 10**9
_STEPS: dict[Step, Callable[[int], int]] = {
    "minute": lambda start: start // (_HOUR // 60) * (_HOUR // 60),
    "hour": lambda start: start // _HOUR * _HOUR,
    "day": lambda start: start // (24 * _HOUR) * 24 * _HOUR,
    "all": lambda start: 0,
}
_SECONDS = (
    *("causal.receive", "causal.threadpool.wait", "causal.discovery", "causal.pool.wait", "causal.connect"),
    *("causal.pool.setup", "causal.lock.wait", "causal.retry.wait", "causal.server", "causal.fetch", "causal.send"),
    *("causal.loop.blocked", "causal.queue.wait", "causal.prefetch.wait", "causal.cpu", "causal.gc"),
    "causal.loop.ready.wait",
)


class _Seen(NamedTuple):
    span: Span
    series: Series
    attributes: dict[str, Any]
    scope: str


def _seen(trace: TracesData) -> Iterator[_Seen]:
    for group in trace.resource_spans:
        for scoped in group.scope_spans:
            for span in scoped.spans:
                yield _Seen(span, _series(group, span), plain_dict(span.attributes), _scope(scoped))


def _scope(scoped: ScopeSpans) -> str:
    return str(scoped.scope.name)


def _series(group: ResourceSpans, span: Span) -> Series:
    version = text(plain_dict(group.resource.attributes).get("service.version"))
    root = not span.parent_span_id.strip(b"\0")
    return Series(service_name(group.resource), span.name, kind_name(span), system_of(span), version, root)


def _is_selected(series: Series, selected: Selected) -> bool:
    wanted = {"service": selected.service, "operation": selected.operation, "kind": selected.kind}
    wanted |= {"system": selected.system, "version": selected.version}
    entry = series.root or series.kind in ("server", "consumer")
    return all(value in (None, getattr(series, name)) for name, value in wanted.items()) and (
        entry or not selected.entries
    )


def _within(span: Span, start: int, end: int) -> bool:
    return start // _HOUR <= span.start_time_unix_nano // _HOUR <= end // _HOUR


def series(traces: Iterable[TracesData], selected: Selected, start: int, end: int, step: Step) -> list[SeriesSum]:
    """How series went."""
    found: dict[tuple[Series, int], list[Span]] = {}
    for trace in traces:
        for seen in _seen(trace):
            if _within(seen.span, start, end) and _is_selected(seen.series, selected):
                found.setdefault((seen.series, _STEPS[step](seen.span.start_time_unix_nano)), []).append(seen.span)
    return [_series_sum(key, at, spans) for (key, at), spans in found.items()]


def _series_sum(key: Series, at: int, spans: list[Span]) -> SeriesSum:
    durations, failures = Histogram(), Histogram()
    for span in spans:
        durations.add(span_duration(span))
        if span.status.code == Status.STATUS_CODE_ERROR:
            failures.add(span_duration(span))
    lengths = [span_duration(span) for span in spans]
    failed = sum(failures.counts.values())
    return SeriesSum(key, at, len(spans), failed, sum(lengths), max(lengths), durations, failures)


def measures(
    traces: Iterable[TracesData], selected: Selected, start: int, end: int, step: Step, keys: Collection[str]
) -> list[MeasureSum]:
    """What their spans told."""
    found: dict[tuple[Series, int, str, str], list[tuple[int, bytes]]] = {}
    for trace in traces:
        told: list[tuple[_Seen, str, str, int]] = []
        for seen in _seen(trace):
            for key, label, value in _told(seen):
                told.append((seen, key, label, value))
        told += _below(trace)
        for seen, key, label, value in told:
            if _within(seen.span, start, end) and _is_selected(seen.series, selected) and (not keys or key in keys):
                at = _STEPS[step](seen.span.start_time_unix_nano)
                found.setdefault((seen.series, at, key, label), []).append((value, seen.span.trace_id))
    return [
        MeasureSum(*key, len(values), sum(value for value, _ in values), *max(values, key=lambda each: each[0]))
        for key, values in found.items()
    ]


def _below(trace: TracesData) -> Iterator[tuple[_Seen, str, str, int]]:
    """What is told below each span that begins something in its service, by whatever span it is of the same service."""
    by_id = {each.span.span_id: each for each in _seen(trace)}
    for each in by_id.values():
        if each.series.entry:
            continue
        above: _Seen | None = each
        for _ in by_id:  # spans that name each other as parents are below nothing
            if above is None or above.series.entry:
                break
            above = by_id.get(above.span.parent_span_id)
            if above is not None and above.series.service != each.series.service:
                above = None
        else:
            above = None
        if above is None:
            continue
        parts = [told for told in _told(each) if told[0] in _SECONDS[:11] and told[1] != "before"]
        parts += [told for told in _told(each) if told[1] == "before"]
        for key, _, value in parts:
            yield above, key, "below", value
        left = span_duration(each.span) - sum(value for _, label, value in parts if label != "before")
        if each.series.kind in ("client", "producer") and left > 0:
            yield above, "called", each.series.system, left


def _told(seen: _Seen) -> Iterator[tuple[str, str, int]]:
    given = seen.attributes
    pool = f"{given.get('server.address', '')}"
    if "server.port" in given:
        pool += f":{given['server.port']}"
    if "db.namespace" in given:
        pool += f"/{given['db.namespace']}"
    pool = f"{given.get('db.system.name', '')} {pool}".strip()
    for key in _SECONDS:
        if given.get(key):
            label = pool if key == "causal.pool.wait" else ""
            if key in ("causal.queue.wait", "causal.prefetch.wait"):
                label = given.get("messaging.destination.name", "")
            if key == "causal.threadpool.wait" and seen.scope != "causal_otel.asgi":
                label = "before"
            yield key, label, round(given[key] * 1e9)
    for key in ("causal.pool.size", "causal.pool.waiting"):
        if key in given:
            yield key, pool, given[key]
    for key in ("causal.cancelled", "causal.task.unawaited"):
        if given.get(key) is True:
            yield key, "", 1
    if "causal.block.frame" in given:
        yield "causal.block.frame", given["causal.block.frame"], span_duration(seen.span)
    if seen.span.status.code == Status.STATUS_CODE_ERROR:
        yield "error.type", _error(seen), span_duration(seen.span)


def _error(seen: _Seen) -> str:
    exceptions = [plain_dict(each.attributes) for each in seen.span.events if each.name == "exception"]
    last = exceptions[-1] if exceptions else {}
    kind = text(last.get("exception.type")) or text(seen.attributes.get("error.type")) or "error"
    return f"{kind[:100]}\n{own_frame(text(last.get('exception.stacktrace')))[:100]}"


def calls(traces: Iterable[TracesData], parent: Selected, child: Selected, start: int, end: int) -> list[CallSum]:
    """Who called whom: of a trace that goes on after midnight, on the day of its beginning."""
    found: dict[tuple[Series, Series], list[Span]] = {}
    for trace in traces:
        seen = list(_seen(trace))
        by_id = {each.span.span_id: each.series for each in seen}
        for each in seen:
            above = by_id.get(each.span.parent_span_id)
            first, at, last = (_STEPS["day"](time) for time in (start, each.span.start_time_unix_nano, end))
            if above is None or not first <= at <= last:
                continue
            if _is_selected(above, parent) and _is_selected(each.series, child):
                found.setdefault((above, each.series), []).append(each.span)
    return [
        CallSum(
            *key,
            len(spans),
            sum(span.status.code == Status.STATUS_CODE_ERROR for span in spans),
            sum(map(span_duration, spans)),
        )
        for key, spans in found.items()
    ]
