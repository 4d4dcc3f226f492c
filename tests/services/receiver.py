"""A small OTLP/HTTP receiver that keeps spans and metrics in memory, for tests and benchmarks.

    python -m tests.services.receiver --port 4318

It listens on loopback only. ``POST /v1/traces`` takes protobuf, plain, gzip or deflate; ``GET /spans`` answers with a
flat JSON list of :class:`~tests.services.received.ReceivedSpan`, narrowed by ``?trace_id=`` and ``?since=``;
``DELETE /spans`` forgets them; ``GET /`` says 204. ``/v1/metrics`` and ``/points`` are the same for the points of
metrics, :class:`~tests.services.received.ReceivedPoint`. :func:`~tests.services.received.receiver` starts one.

It must not be traced, hence a process of its own that never calls ``install()``.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import math
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

import uvicorn
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from causal_otel.testing.process import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from starlette.requests import Request

    from tests.services.received import ReceivedPoint, ReceivedSpan

__all__ = ["BODY_LIMIT", "SPAN_LIMIT", "Receiver", "main"]

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes that one request may hold, before as well as after decompression."""

SPAN_LIMIT = 100_000
"""Spans kept; beyond it the oldest are dropped."""

_PROTOBUF = "application/x-protobuf"
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class Receiver:
    """The spans kept, and the application that takes and shows them: ``app``."""

    def __init__(self) -> None:
        self._spans: deque[ReceivedSpan] = deque(maxlen=SPAN_LIMIT)
        self._received = 0
        self._points: deque[ReceivedPoint] = deque(maxlen=SPAN_LIMIT)
        self.app = Starlette(
            routes=[
                Route("/", self._health, methods=["GET"]),
                Route("/v1/traces", self._export, methods=["POST"]),
                Route("/spans", self._list, methods=["GET"]),
                Route("/spans", self._clear, methods=["DELETE"]),
                Route("/v1/metrics", self._export_metrics, methods=["POST"]),
                Route("/points", self._list_points, methods=["GET"]),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return Response(status_code=204)

    async def _export(self, request: Request) -> Response:
        try:
            message = ExportTraceServiceRequest.FromString(await _body(request))
        except DecodeError as error:
            return _refusal(_Refused(400, f"not an ExportTraceServiceRequest: {error}"))
        except _Refused as refused:
            return _refusal(refused)
        answer = ExportTraceServiceResponse()
        rejected = self._keep(message)
        if rejected:
            answer.partial_success.rejected_spans = rejected
            answer.partial_success.error_message = "a trace id is 16 bytes, a span id 8, and neither all zero"
        return Response(answer.SerializeToString(), media_type=_PROTOBUF)

    async def _list(self, request: Request) -> Response:
        trace_id = request.query_params.get("trace_id", "").lower()
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            return PlainTextResponse("since must be a whole number, an index", status_code=400)
        oldest = self._received - len(self._spans)
        spans = itertools.islice(self._spans, max(0, int(since) - oldest), None)
        return JSONResponse([span for span in spans if not trace_id or span["trace_id"] == trace_id])

    async def _export_metrics(self, request: Request) -> Response:
        try:
            message = ExportMetricsServiceRequest.FromString(await _body(request))
        except DecodeError as error:
            return _refusal(_Refused(400, f"not an ExportMetricsServiceRequest: {error}"))
        except _Refused as refused:
            return _refusal(refused)
        self._points += _points(message, dict(request.headers))
        return Response(ExportMetricsServiceResponse().SerializeToString(), media_type=_PROTOBUF)

    async def _list_points(self, _: Request) -> Response:
        return JSONResponse(list(self._points))

    async def _clear(self, _: Request) -> Response:
        self._spans.clear()
        self._points.clear()
        return Response(status_code=204)

    def _keep(self, message: ExportTraceServiceRequest) -> int:
        """Keep the message's spans; returns how many of them have no valid ids."""
        rejected = 0
        for group in message.resource_spans:
            resource = _attributes(group.resource.attributes)
            for scoped in group.scope_spans:
                for span in scoped.spans:
                    if len(span.trace_id) == 16 and any(span.trace_id) and len(span.span_id) == 8 and any(span.span_id):
                        self._spans.append(_flat(span, self._received, resource, scoped.scope.name))
                        self._received += 1
                    else:
                        rejected += 1
        return rejected


class _Refused(Exception):
    """The request is at fault; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _refusal(refused: _Refused) -> Response:
    # OTLP wants a google.rpc.Status as the body of every failure; 3 is INVALID_ARGUMENT.
    body = Status(code=3, message=str(refused)).SerializeToString()
    return Response(body, status_code=refused.status, media_type=_PROTOBUF)


async def _body(request: Request) -> bytes:
    """The request's body, decompressed."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != _PROTOBUF:
        raise _Refused(415, f"the content type must be {_PROTOBUF}, not {content_type or 'absent'}")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", *_WINDOW_BITS):
        raise _Refused(415, f"the content encoding must be gzip, deflate or identity, not {encoding}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise _Refused(413, f"the body is larger than {BODY_LIMIT} bytes")
    return bytes(body) if encoding == "identity" else _decompress(bytes(body), encoding)


def _decompress(body: bytes, encoding: str) -> bytes:
    decompressor = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = decompressor.decompress(body, BODY_LIMIT + 1)
    except zlib.error as error:
        raise _Refused(400, f"not {encoding}: {error}") from None
    if len(plain) > BODY_LIMIT:
        raise _Refused(413, f"the body decompresses to more than {BODY_LIMIT} bytes")
    if not decompressor.eof or decompressor.unused_data:
        raise _Refused(400, f"the {encoding} data is cut short or followed by something else")
    return plain


def _flat(span: Span, index: int, resource: dict[str, Any], scope: str) -> ReceivedSpan:
    return {
        "index": index,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex() or None,
        "trace_state": span.trace_state,
        "flags": span.flags,
        "name": span.name,
        "kind": _name(Span.SpanKind, span.kind, "SPAN_KIND_"),
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "status": {
            "code": _name(SpanStatus.StatusCode, span.status.code, "STATUS_CODE_"),
            "message": span.status.message,
        },
        "attributes": _attributes(span.attributes),
        "events": [
            {"name": event.name, "time": event.time_unix_nano, "attributes": _attributes(event.attributes)}
            for event in span.events
        ],
        "links": [
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "trace_state": link.trace_state,
                "attributes": _attributes(link.attributes),
            }
            for link in span.links
        ],
        "service": str(resource.get("service.name", "")),
        "resource": resource,
        "scope": scope,
    }


def _points(message: ExportMetricsServiceRequest, headers: dict[str, str]) -> Iterable[ReceivedPoint]:
    for group in message.resource_metrics:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_metrics:
            for metric in scoped.metrics:
                kind = metric.WhichOneof("data") or ""
                data = getattr(metric, kind)
                for point in data.data_points:
                    histogram = kind == "histogram"
                    yield {
                        "name": metric.name,
                        "unit": metric.unit,
                        "kind": kind,
                        "temporality": getattr(data, "aggregation_temporality", 0),
                        "attributes": _attributes(point.attributes),
                        "start": point.start_time_unix_nano,
                        "time": point.time_unix_nano,
                        "count": point.count if histogram else 1,
                        "sum": point.sum if histogram else getattr(point, point.WhichOneof("value")),
                        "min": point.min if histogram else 0,
                        "max": point.max if histogram else 0,
                        "buckets": list(point.bucket_counts) if histogram else [],
                        "bounds": list(point.explicit_bounds) if histogram else [],
                        "service": str(resource.get("service.name", "")),
                        "resource": resource,
                        "scope": scoped.scope.name,
                        "headers": headers,
                    }


def _name(enum: Any, number: int, prefix: str) -> str:
    try:
        return str(enum.Name(number)).removeprefix(prefix)
    except ValueError:  # a later protocol may know more
        return str(number)


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    plain = getattr(value, kind)
    if isinstance(plain, bytes):
        return base64.b64encode(plain).decode()
    if isinstance(plain, float) and not math.isfinite(plain):  # JSON has no such numbers; protobuf's JSON spells them
        return "NaN" if math.isnan(plain) else "Infinity" if plain > 0 else "-Infinity"
    return plain


def main() -> None:
    """Serve on loopback until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.services.receiver", description="OTLP/HTTP receiver.")
    parser.add_argument("--port", type=int, default=4318, help="port on 127.0.0.1 (default: %(default)s)")
    arguments = parser.parse_args()
    uvicorn.run(
        Receiver().app,
        host=LOOPBACK,
        port=arguments.port,
        log_level="warning",
        lifespan="off",
        ws="none",
        # Longer than an exporter is idle between two batches: a connection closed under it would cost it a retry.
        timeout_keep_alive=300,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
