"""Jaeger's newer query API, ``/api/v3``: what Jaeger's pages call since 2.15.

Parameters have the names of protobuf's JSON, ``query.serviceName``; the names of the protocol files,
``query.service_name``, and older ones are taken as well. Times are RFC 3339, durations as Go writes them. Traces are
OTLP JSON, except that attributes without a value are empty strings, a resource without ``service.name`` gets
Jaeger's name for that, and unless raw traces are asked for no span ends before it starts: Jaeger's pages insist.

An answer has at most :data:`~causal_otel.collector.jaeger.answers.MAX_TRACES` traces and ends with the trace that
reaches :data:`~causal_otel.collector.jaeger.answers.MAX_SPANS` spans; ``warnings`` says when there were more.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.attributes import KINDS, MISSING_SERVICE
from causal_otel.collector.expressions import tags as tags_wanted
from causal_otel.collector.jaeger import parameters
from causal_otel.collector.jaeger.answers import MAX_TRACES, Refused, endpoint, json_answer, load
from causal_otel.collector.query import Query
from causal_otel.collector.receive import otlp_json
from causal_otel.names import SERVICE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from causal_otel.collector.query import Summary
    from causal_otel.collector.reading import Reading

__all__ = ["failure", "routes"]

_DEFAULT_DEPTH = 100

_SERVICE = ("query.serviceName", "query.service_name")
_OPERATION = ("query.operationName", "query.operation_name", "query.span_name")
_START = ("query.startTimeMin", "query.start_time_min")
_END = ("query.startTimeMax", "query.start_time_max")
_SHORTEST = ("query.durationMin", "query.duration_min")
_LONGEST = ("query.durationMax", "query.duration_max")
_DEPTH = ("query.searchDepth", "query.search_depth", "query.num_traces")
_RAW = ("query.rawTraces", "query.raw_traces")
_SLOW = "the search took too long and was ended: ask for a shorter time or add conditions"


def routes(reading: Reading) -> list[BaseRoute]:
    """The routes of the API over what ``reading`` reads."""
    api = _V3(reading)
    return [
        endpoint("/api/v3/services", api.services, failure),
        endpoint("/api/v3/operations", api.operations, failure),
        endpoint("/api/v3/trace-summaries", api.summaries, failure),
        endpoint("/api/v3/traces", api.search, failure),
        endpoint("/api/v3/traces/{trace_id}", api.trace, failure),
    ]


def failure(status: int, message: str) -> dict[str, Any]:
    """The document of an error."""
    return {"error": {"httpCode": status, "message": message}}


class _V3:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._reader = reading.reader

    async def services(self, _: Request) -> Response:
        return json_answer({"services": await to_thread.run_sync(self._reader.services)})

    async def operations(self, request: Request) -> Response:
        service = request.query_params.get("service", "")
        kind, _ = _first(request.query_params, "spanKind", "span_kind")
        known = not kind or kind in KINDS
        found = await to_thread.run_sync(self._reader.operations, service, kind or None) if known else []
        return json_answer(
            {
                "operations": [
                    {"name": each.name, "spanKind": "internal" if each.kind == "unspecified" else each.kind}
                    for each in found
                ]
            }
        )

    async def summaries(self, request: Request) -> Response:
        query = _query(request.query_params)
        found = await to_thread.run_sync(self._reader.search, query)

        def told(summaries: list[Summary]) -> Response:
            warnings = _warnings([] if found.complete else [_SLOW])
            return json_answer({"summaries": [_summary(each) for each in summaries]} | warnings)

        return await self._reading.summaries(found.trace_ids, told)

    async def search(self, request: Request) -> Response:
        query = _query(request.query_params)
        raw = _boolean(request.query_params, *_RAW)
        found = await self._reading.search(query)

        def read() -> Response:
            traces, all_read = load(self._reader, found.trace_ids)
            warnings = [] if found.complete else [_SLOW]
            if not all_read:
                warnings.append(f"only {len(traces)} of {len(found.trace_ids)} traces fit in one answer")
            return _found(traces, raw, warnings)

        return await self._reading.traces(found.trace_ids, read)

    async def trace(self, request: Request) -> Response:
        params = request.query_params
        with _named("trace_id"):
            trace_id = parameters.parse_trace_id(request.path_params["trace_id"])
        # Jaeger's stores may need the time to find a trace; here it only has to be well-formed.
        _time(params, "startTime", "start_time")
        _time(params, "endTime", "end_time")
        raw = _boolean(params, "rawTraces", "raw_traces")
        return await self._reading.traces([trace_id], lambda: _found(load(self._reader, [trace_id])[0], raw, []))


def _found(traces: list[TracesData], raw: bool, warnings: list[str]) -> Response:
    if not traces:
        raise Refused(404, "No traces found")
    merged = TracesData()
    for trace in traces:
        merged.MergeFrom(trace)
    _complete(merged, raw)
    return json_answer({"result": otlp_json.to_dict(merged)} | _warnings(warnings))


def _warnings(warnings: list[str]) -> dict[str, Any]:
    return {"warnings": warnings} if warnings else {}


def _complete(traces: TracesData, raw: bool) -> None:
    """Fill in what Jaeger's pages need, see the module's text."""
    for group in traces.resource_spans:
        _fill(group.resource.attributes)
        if not any(pair.key == SERVICE_NAME for pair in group.resource.attributes):
            group.resource.attributes.add(key=SERVICE_NAME).value.string_value = MISSING_SERVICE
        for scoped in group.scope_spans:
            _fill(scoped.scope.attributes)
            for span in scoped.spans:
                _fill(span.attributes)
                for part in (*span.events, *span.links):
                    _fill(part.attributes)
                if not raw and span.end_time_unix_nano < span.start_time_unix_nano:
                    span.end_time_unix_nano = span.start_time_unix_nano


def _fill(pairs: Iterable[KeyValue]) -> None:
    for pair in pairs:
        _fill_value(pair.value)


def _fill_value(value: AnyValue) -> None:
    kind = value.WhichOneof("value")
    if kind is None:
        value.string_value = ""
    elif kind == "array_value":
        for item in value.array_value.values:
            _fill_value(item)
    elif kind == "kvlist_value":
        _fill(value.kvlist_value.values)


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        "traceId": summary.trace_id.hex(),
        "rootServiceName": summary.root_service,
        "rootOperationName": summary.root_operation,
        "minStartTimeUnixNano": str(summary.start),
        "maxEndTimeUnixNano": str(summary.end),
        "spanCount": summary.spans,
        "errorSpanCount": summary.errors,
        "orphanSpanCount": summary.orphans,
        "services": [
            {"name": each.name, "spanCount": each.spans, "errorSpanCount": each.errors} for each in summary.services
        ],
    }


def _query(params: QueryParams) -> Query:
    if params.get("query.filter"):
        raise Refused(400, "query.filter is not supported: use query.attributes and the other parameters")
    start, end = _time(params, *_START), _time(params, *_END)
    if start is None or end is None:
        raise Refused(400, f"{_START[1]} and {_END[1]} are required")
    if start >= end:
        raise Refused(400, f"{_first(params, *_START)[1]} must be before {_first(params, *_END)[1]}")
    shortest, longest = _duration(params, *_SHORTEST), _duration(params, *_LONGEST)
    if shortest is not None and longest is not None and longest < shortest:
        raise Refused(400, f"{_first(params, *_LONGEST)[1]} must not be less than {_first(params, *_SHORTEST)[1]}")
    with _named("query.attributes"):
        tags = parameters.parse_string_map(params.get("query.attributes") or "{}")
    return Query(
        start=max(0, start),
        end=end,
        service=_first(params, *_SERVICE)[0] or None,
        operation=_first(params, *_OPERATION)[0] or None,
        where=tags_wanted(tags.items()),
        shortest=shortest,
        longest=longest,
        limit=_depth(params),
    )


def _depth(params: QueryParams) -> int:
    text, name = _first(params, *_DEPTH)
    if not text:
        return _DEFAULT_DEPTH
    with _named(name):
        if name == "query.num_traces":
            depth = parameters.parse_integer(text, function="Atoi")
        else:
            depth = parameters.parse_unsigned(text)
    return min(depth, MAX_TRACES) if depth > 0 else _DEFAULT_DEPTH


def _first(params: QueryParams, *names: str) -> tuple[str, str]:
    """The first of ``names`` that has a value, with that value; the last one and an empty value if none has."""
    for name in names:
        value = params.get(name)
        if value:
            return value, name
    return "", names[-1]


def _time(params: QueryParams, *names: str) -> int | None:
    text, name = _first(params, *names)
    with _named(name):
        return parameters.parse_timestamp(text) if text else None


def _duration(params: QueryParams, *names: str) -> int | None:
    text, name = _first(params, *names)
    with _named(name):
        return (parameters.parse_duration(text) or None) if text else None


def _boolean(params: QueryParams, *names: str) -> bool:
    text, name = _first(params, *names)
    with _named(name):
        return parameters.parse_boolean(text) if text else False


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Refuse the request if the value of the parameter is malformed."""
    try:
        yield
    except parameters.Malformed as error:
        raise Refused(400, f"malformed parameter {name}: {error}") from None
