"""The description of every query API of the collector, OpenAPI 3.1, at ``/openapi.json``."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from causal_otel.collector.jaeger.openapi_schemas import KINDS, enveloped, object_of, ref, schemas

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from causal_otel.collector.jaeger.openapi_schemas import Schema

__all__ = ["document", "routes"]

_DURATION = "a duration as Go writes it: 1.5s, 100ms, 250us"
_MICROSECONDS = "Unix time in microseconds"
_MILLISECONDS = "milliseconds"


def document() -> Schema:
    """The description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "causal_otel collector",
            "version": version("causal-otel"),
            "description": "Search the traces that are kept. /api is Jaeger's older query API, /api/v3 its newer one.",
        },
        "paths": _legacy_paths() | _v3_paths() | _other_paths(),
        "components": {"schemas": schemas()},
    }


def routes() -> list[BaseRoute]:
    """The route of the description."""
    body = json.dumps(document(), separators=(",", ":")).encode()

    async def answer(_: Request) -> Response:
        return Response(body, media_type="application/json")

    return [Route("/openapi.json", answer)]


def _legacy_paths() -> Schema:
    pretty = _query("prettyPrint", "whether the JSON is indented: anything but false")
    raw = _query("raw", "whether tags and logs keep their order: true or false")
    span_kind = _query("spanKind", "a span kind", {"type": "string", "enum": KINDS})
    trace_id = _path("trace_id", "at most 32 hexadecimal digits")
    window = [
        _query("start", _MICROSECONDS, {"type": "integer", "format": "int64"}),
        _query("end", f"{_MICROSECONDS}; now", {"type": "integer", "format": "int64"}),
    ]
    search = [
        _query("service", "the service's name; required unless there is a traceID"),
        _query("operation", "the span's name"),
        _list("tag", "a tag, key:value"),
        _list("tags", 'tags as a JSON object of strings, {"http.route": "/orders"}'),
        _query("minDuration", f"of the span, {_DURATION}"),
        _query("maxDuration", f"of the span, {_DURATION}"),
        _query("limit", "how many traces at most: 1500", {"type": "integer", "format": "int32", "default": 100}),
        _list("traceID", "read these traces, instead of a search"),
        *window,
    ]
    metric = [
        _list("service", "the services' names; required"),
        _query("quantile", "of latencies, which need it: above 0, at most 1", {"type": "number"}),
        _query("groupByOperation", "true or false"),
        _list("spanKind", "span kinds; server"),
        _query("endTs", "Unix time in milliseconds; now", {"type": "integer"}),
        _query("lookback", f"{_MILLISECONDS}; an hour", {"type": "integer"}),
        _query(
            "step",
            f"{_MILLISECONDS} from point to point; 5000, or more where points would be too many",
            {"type": "integer"},
        ),
        _query("ratePer", f"{_MILLISECONDS} before a point that it tells of, to the hour; 600000", {"type": "integer"}),
    ]
    error = ref("LegacyError")
    traces = enveloped({"type": "array", "items": ref("LegacyTrace")})
    names: Schema = {"type": "array", "items": {"type": "string"}}

    def get(summary: str, data: Schema | None, parameters: list[Schema], *failures: int) -> Schema:
        return {"get": _operation(summary, data, [*parameters, pretty], error, failures)}

    return {
        "/api/services": get("The services' names", enveloped(names), []),
        "/api/services/{service}/operations": get(
            "The names of a service's operations",
            enveloped({"anyOf": [names, {"type": "null"}]}),
            [_path("service", "the service's name")],
        ),
        "/api/operations": get(
            "A service's operations",
            enveloped({"type": "array", "items": ref("Operation")}),
            [_query("service", "the service's name", required=True), span_kind],
            400,
        ),
        "/api/traces": get("Search traces", traces, [*search, raw], 400),
        "/api/traces/{trace_id}": get("Read a trace", traces, [trace_id, *window, raw], 400, 404),
        "/api/dependencies": get(
            "Which service calls which",
            enveloped({"type": "array", "items": ref("Dependency")}),
            [
                _query("endTs", "Unix time in milliseconds; now", {"type": "integer", "format": "int64"}),
                _query("lookback", f"{_MILLISECONDS}; a day", {"type": "integer", "format": "int64"}),
                _query("service", "only calls from or to it"),
            ],
            400,
        ),
        "/api/transform": {
            "post": _operation("OTLP JSON in Jaeger's form", traces, [pretty], error, (400, 413))
            | {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}
        },
        "/api/archive/{trace_id}": {
            "post": _operation("There is no archive", None, [trace_id], error, (400, 404, 501)),
        },
        "/api/metrics/minstep": get(
            "Milliseconds between points of which each tells something else",
            enveloped({"type": "integer", "minimum": 1}),
            [],
        ),
        "/api/metrics/{metric}": get(
            "Latencies in milliseconds, calls a second, or the share of calls with an error, by the hour",
            ref("MetricFamily"),
            [_path("metric", "latencies, calls or errors"), *metric],
            400,
            404,
        ),
        "/api/quality-metrics": get("Not kept", None, [], 501),
        "/api/deep-dependencies": get("Not kept", None, [], 501),
    }


def _v3_paths() -> Schema:
    error = ref("Error")
    moment = {"type": "string", "format": "date-time"}
    search = [
        _query("query.serviceName", "the service's name"),
        _query("query.operationName", "the span's name"),
        _query("query.attributes", "tags as a JSON object of strings"),
        _query("query.startTimeMin", "RFC 3339", moment, required=True),
        _query("query.startTimeMax", "RFC 3339", moment, required=True),
        _query("query.durationMin", f"of the span, {_DURATION}"),
        _query("query.durationMax", f"of the span, {_DURATION}"),
        _query("query.searchDepth", "how many traces at most: 1500", {"type": "integer", "minimum": 0, "default": 100}),
    ]
    names: Schema = {"type": "array", "items": {"type": "string"}}
    traces = object_of({"result": ref("TracesData"), "warnings": names}, "result")
    summary = {"type": "array", "items": ref("Summary")}
    summaries = object_of({"summaries": summary, "warnings": names}, "summaries")

    def get(summary: str, data: Schema, parameters: list[Schema], *failures: int) -> Schema:
        return {"get": _operation(summary, data, parameters, error, failures)}

    raw = {"type": "boolean"}
    return {
        "/api/v3/services": get("The services' names", object_of({"services": names}), []),
        "/api/v3/operations": get(
            "A service's operations",
            object_of({"operations": {"type": "array", "items": ref("Operation")}}, "operations"),
            [
                _query("service", "the service's name"),
                _query("spanKind", "a span kind", {"type": "string", "enum": KINDS}),
            ],
        ),
        "/api/v3/trace-summaries": get("Search traces, each in one line", summaries, search, 400),
        "/api/v3/traces": get(
            "Search traces", traces, [*search, _query("query.rawTraces", "times as they came", raw)], 400, 404
        ),
        "/api/v3/traces/{trace_id}": get(
            "Read a trace",
            traces,
            [
                _path("trace_id", "at most 32 hexadecimal digits"),
                _query("startTime", "RFC 3339", moment),
                _query("endTime", "RFC 3339", moment),
                _query("rawTraces", "times as they came", raw),
            ],
            400,
            404,
        ),
    }


def _other_paths() -> Schema:
    service = _query("service", "the service that samples", required=True)
    strategy = {"description": "its strategy", "content": {"application/json": {"schema": {"type": "object"}}}}
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/api/sampling": {
            "get": {
                "summary": "How a service is to sample, for Jaeger's remote samplers",
                "parameters": [service],
                "responses": {"200": strategy, "400": {"description": "not one service", "content": text}},
            }
        },
        "/status.json": {
            "get": _operation("What the collector holds and does", {"type": "object"}, [], ref("Error"), ())
        },
        "/metrics": {
            "get": {
                "summary": "The same for Prometheus",
                "responses": {"200": {"description": "Prometheus text", "content": text}},
            }
        },
    }


def _operation(
    summary: str, answer: Schema | None, parameters: list[Schema], error: Schema, failures: tuple[int, ...]
) -> Schema:
    reasons = {400: "malformed", 404: "not there", 413: "too large", 501: "not available"}
    responses = {} if answer is None else {"200": _content("found", answer)}
    responses |= {str(status): _content(reasons[status], error) for status in failures}
    return {"summary": summary, "parameters": parameters, "responses": responses}


def _content(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _query(name: str, description: str, schema: Schema | None = None, *, required: bool = False) -> Schema:
    where = {"name": name, "in": "query", "required": required}
    return where | {"description": description, "schema": schema or {"type": "string"}}


def _list(name: str, description: str) -> Schema:
    return _query(name, description, {"type": "array", "items": {"type": "string"}})


def _path(name: str, description: str) -> Schema:
    return _query(name, description, {"type": "string", "minLength": 1}, required=True) | {"in": "path"}
