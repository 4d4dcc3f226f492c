"""Jaeger's older query API, ``/api``: what Grafana, Jaeger's pages until 2.19 and most scripts call.

Times are Unix time in microseconds, except in ``/api/dependencies``: milliseconds. Every answer has the same envelope.
A search must name a service, as Jaeger's storage would have it; :mod:`.v3` searches without one as well. An answer has
at most :data:`~causal_otel.collector.jaeger.answers.MAX_TRACES` traces and ends with the trace that reaches
:data:`~causal_otel.collector.jaeger.answers.MAX_SPANS` spans; ``errors`` says when there were more.

Jaeger's demonstration data (``/api/quality-metrics``, ``/api/deep-dependencies``) is not made up here: 501.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.expressions import tags as tags_wanted
from causal_otel.collector.jaeger import metrics, parameters
from causal_otel.collector.jaeger.answers import MAX_TRACES, TOO_MUCH, Refused, endpoint, load
from causal_otel.collector.jaeger.legacy_model import short_id, ui_trace
from causal_otel.collector.jaeger.legacy_requests import answer, boolean, enveloped, failure, integer, named
from causal_otel.collector.query import Query
from causal_otel.collector.reading import LARGE_DOCUMENT
from causal_otel.collector.receive import otlp_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from causal_otel.collector.query import Found
    from causal_otel.collector.reading import Reading

__all__ = ["BODY_LIMIT", "routes"]

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes that a document for ``/api/transform`` may have."""

_MICROSECOND = 1000
_MILLISECOND = 1_000_000
_DAY = 86_400 * 10**9
_LOOKBACK = 2 * _DAY  # of a search
_DEFAULT_LIMIT = 100


def routes(reading: Reading, *, now: Callable[[], int] = time.time_ns) -> list[BaseRoute]:
    """The routes of the API over what ``reading`` reads; ``now`` is Unix time in nanoseconds."""
    api = _Legacy(reading, now)
    return [
        endpoint("/api/services", api.services, failure),
        endpoint("/api/services/{service:path}/operations", api.operation_names, failure),
        endpoint("/api/operations", api.operations, failure),
        endpoint("/api/traces", api.search, failure),
        endpoint("/api/traces/{trace_id}", api.trace, failure),
        endpoint("/api/archive/{trace_id}", api.archive, failure, method="POST"),
        endpoint("/api/transform", api.transform, failure, method="POST"),
        endpoint("/api/dependencies", api.dependencies, failure),
        *metrics.routes(reading, now),
        endpoint("/api/quality-metrics", _not_kept, failure),
        endpoint("/api/deep-dependencies", _not_kept, failure),
    ]


class _Legacy:
    def __init__(self, reading: Reading, now: Callable[[], int]) -> None:
        self._reading = reading
        self._reader = reading.reader
        self._now = now

    async def services(self, request: Request) -> Response:
        found = await to_thread.run_sync(self._reader.services)
        return answer(request, enveloped(found, total=len(found)))

    async def operation_names(self, request: Request) -> Response:
        found = await to_thread.run_sync(self._reader.operations, request.path_params["service"])
        names = sorted({each.name for each in found})
        return answer(request, enveloped(names or None, total=len(names)))

    async def operations(self, request: Request) -> Response:
        service = request.query_params.get("service")
        if not service:
            raise Refused(400, "parameter 'service' is required")
        kind = request.query_params.get("spanKind") or None
        known = kind is None or kind in KINDS
        found = await to_thread.run_sync(self._reader.operations, service, kind) if known else []
        data = [{"name": each.name, "spanKind": "" if each.kind == "unspecified" else each.kind} for each in found]
        return answer(request, enveloped(data, total=len(data)))

    async def search(self, request: Request) -> Response:
        params = request.query_params
        query = self._query(params)
        with named("cannot parse traceID param: "):
            trace_ids = [parameters.parse_trace_id(text) for text in params.getlist("traceID")]
        raw = boolean(params, "raw")
        if trace_ids:
            asked = list(dict.fromkeys(trace_ids))
            return await self._reading.traces(asked, lambda: self._by_ids(request, asked, raw))
        if query.service is None:
            raise Refused(400, "parameter 'service' is required")
        if query.start >= query.end:
            raise Refused(400, "invalid parameter: start time must be before end time")
        if query.shortest is not None and query.longest is not None and query.longest < query.shortest:
            raise Refused(400, "'maxDuration' should be greater than 'minDuration'")
        if query.start < 0 or (query.shortest or 0) < 0:
            return answer(request, enveloped([]))  # as in Jaeger: no such time, no such duration
        found = await self._reading.search(query)
        return await self._reading.traces(found.trace_ids, lambda: self._found(request, found, raw))

    async def trace(self, request: Request) -> Response:
        trace_id = _trace_id(request)
        # Jaeger's stores may need the time to find a trace; here it only has to be well-formed.
        integer(request.query_params, "start")
        integer(request.query_params, "end")
        raw = boolean(request.query_params, "raw")

        def read() -> Response:
            trace = self._reader.trace(trace_id)
            if trace is None:
                raise Refused(404, "trace not found")
            return answer(request, enveloped([ui_trace(trace, adjusted=not raw)]))

        return await self._reading.traces([trace_id], read)

    async def archive(self, request: Request) -> Response:
        if not await to_thread.run_sync(self._reader.span_count, [_trace_id(request)]):
            raise Refused(404, "trace not found")
        raise Refused(501, "archive span storage was not configured")

    async def dependencies(self, request: Request) -> Response:
        params = request.query_params
        until, lookback = integer(params, "endTs"), integer(params, "lookback")
        end = self._now() if until is None else until * _MILLISECOND
        start = end - (_DAY if lookback is None else lookback * _MILLISECOND)
        service = params.get("service")
        window = max(0, parameters.clamped(start)), parameters.clamped(end)
        reader = self._reader.bounded()
        found = await to_thread.run_sync(reader.dependencies, *window) if start <= end else []
        if reader.since > window[0]:
            raise Refused(503, TOO_MUCH)
        return answer(
            request,
            enveloped(
                [
                    {"parent": each.parent, "child": each.child, "callCount": each.calls}
                    for each in found
                    if not service or service in (each.parent, each.child)
                ]
            ),
        )

    async def transform(self, request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise Refused(413, f"the document is larger than {BODY_LIMIT} bytes: upload fewer traces at once")

        def transformed() -> Response:
            try:
                traces = _by_trace(otlp_json.loads(bytes(body)))
            except ValueError as error:
                raise Refused(400, f"cannot unmarshal OTLP: {error}") from None
            return answer(request, enveloped([ui_trace(trace, notes=False, adjusted=False) for trace in traces]))

        return await self._reading.run(transformed, large=len(body) >= LARGE_DOCUMENT)

    def _query(self, params: QueryParams) -> Query:
        now = self._now()
        start, end = integer(params, "start"), integer(params, "end")
        last = now if end is None else end * _MICROSECOND
        tags = _tags(params)
        with named():
            limit = parameters.parse_integer(params.get("limit") or str(_DEFAULT_LIMIT), bits=32)
        return Query(
            start=parameters.clamped(last - _LOOKBACK if start is None else start * _MICROSECOND),
            end=parameters.clamped(last),
            service=params.get("service") or None,
            operation=params.get("operation") or None,
            where=tags_wanted(tags.items()),
            shortest=_duration(params, "minDuration"),
            longest=_duration(params, "maxDuration"),
            limit=min(limit, MAX_TRACES) if limit > 0 else _DEFAULT_LIMIT,
        )

    def _found(self, request: Request, found: Found, raw: bool) -> Response:
        traces, all_read = load(self._reader, found.trace_ids)
        errors = []
        if not found.complete:
            errors.append({"msg": "the search took too long and was ended: ask for a shorter time or add conditions"})
        if not all_read:
            errors.append({"msg": f"only {len(traces)} of {len(found.trace_ids)} traces fit in one answer"})
        return answer(request, enveloped([ui_trace(trace, adjusted=not raw) for trace in traces], errors=errors))

    def _by_ids(self, request: Request, trace_ids: list[bytes], raw: bool) -> Response:
        traces, all_read = load(self._reader, trace_ids)
        documents = [ui_trace(trace, adjusted=not raw) for trace in traces]
        there = {document["traceID"] for document in documents}
        why = "trace not found" if all_read else "trace not found, or too much for one answer: ask for it by itself"
        missing = [short_id(trace_id) for trace_id in trace_ids]
        errors = [{"msg": why, "traceID": each} for each in missing if each not in there]
        return answer(request, enveloped(documents, errors=errors))


def _by_trace(document: TracesData) -> list[TracesData]:
    """A message for each trace in ``document``, in the order in which they first appear."""
    traces: dict[bytes, TracesData] = {}
    for group in document.resource_spans:
        for scoped in group.scope_spans:
            targets: dict[bytes, Any] = {}
            for span in scoped.spans:
                if len(span.trace_id) != 16 or len(span.span_id) != 8:
                    raise ValueError(f"span {span.name!r}: a trace id has 32 hexadecimal digits, a span id 16")
                if span.trace_id not in targets:
                    trace = traces.setdefault(span.trace_id, TracesData())
                    part = trace.resource_spans.add(resource=group.resource, schema_url=group.schema_url)
                    targets[span.trace_id] = part.scope_spans.add(scope=scoped.scope, schema_url=scoped.schema_url)
                targets[span.trace_id].spans.append(span)
    return list(traces.values())


async def _not_kept(request: Request) -> Response:
    raise Refused(501, f"nothing is kept that {request.url.path} could tell")


def _trace_id(request: Request) -> bytes:
    with named():
        return parameters.parse_trace_id(request.path_params["trace_id"])


def _duration(params: QueryParams, name: str) -> int | None:
    text = params.get(name)
    with named(f"unable to parse param '{name}': "):
        return (parameters.parse_duration(text) or None) if text else None


def _tags(params: QueryParams) -> dict[str, str]:
    tags: dict[str, str] = {}
    for text in params.getlist("tag"):
        key, separator, value = text.partition(":")
        if not separator:
            raise Refused(400, f"malformed 'tag' parameter, expecting key:value, received: {text}")
        tags[key] = value
    for text in params.getlist("tags"):
        with named("malformed 'tags' parameter, cannot unmarshal JSON: "):
            tags |= parameters.parse_string_map(text)
    return tags
