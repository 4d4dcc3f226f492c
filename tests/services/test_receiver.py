"""The receiver: it takes what is OTLP, refuses with a reason what is not, and tells what has arrived."""

from __future__ import annotations

import gzip
import time
import urllib.error
import urllib.request
import zlib
from typing import Any

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.services import received
from tests.services.receiver import BODY_LIMIT, SPAN_LIMIT


def post(
    receiver: received.ReceivedSpans, body: bytes, encoding: str = "identity", content_type: str | None = None
) -> tuple[int, bytes]:
    """The receiver's answer to an export: HTTP status and body."""
    headers = {"Content-Type": content_type or "application/x-protobuf", "Content-Encoding": encoding}
    request = urllib.request.Request(f"{receiver.endpoint}/v1/traces", body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            assert response.headers["content-type"] == "application/x-protobuf"
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def small_spans(count: int, trace_id: bytes = bytes([7] * 16)) -> bytes:
    """An export request of ``count`` spans named by their number."""
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    for number in range(count):
        spans.add(trace_id=trace_id, span_id=bytes([1] * 8), name=str(number))
    return bytes(message.SerializeToString())


@pytest.mark.parametrize("compression", list(Compression))
def test_receiver_takes_what_the_official_exporter_sends(
    compression: Compression, receiver: received.ReceivedSpans
) -> None:
    """Real SDK spans, sent by the official exporter with any of its compressions, come out as they went in."""
    provider = TracerProvider(resource=Resource({"service.name": "shop", "host.cpus": 2}))
    exporter = OTLPSpanExporter(f"{receiver.endpoint}/v1/traces", compression=compression, timeout=60)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test-scope", "1.0")
    attributes: dict[str, Any] = {"text": "é", "whole": 2**53 + 1, "real": 0.5, "yes": True, "list": ["a", "b"]}
    odd: dict[str, Any] = {"raw": b"\x00\xff", "nan": float("nan"), "huge": float("inf")}
    began = time.time_ns()
    try:
        with tracer.start_as_current_span("GET /", kind=trace.SpanKind.SERVER, attributes=attributes) as root:
            link = trace.Link(trace.SpanContext(5, 6, is_remote=True), {"why": "test"})
            child = tracer.start_span("query", kind=trace.SpanKind.CLIENT, links=[link], attributes=odd)
            child.add_event("retry", {"attempt": 1}, timestamp=123)
            child.set_status(trace.StatusCode.ERROR, "no such table")
            child.end()
    finally:
        provider.shutdown()
    spans = receiver.wait_for(lambda spans: len(spans) == 2)
    query, get = spans
    context = root.get_span_context()
    assert get["trace_id"] == query["trace_id"] == trace.format_trace_id(context.trace_id)
    assert (get["span_id"], get["parent_span_id"]) == (trace.format_span_id(context.span_id), None)
    assert query["parent_span_id"] == get["span_id"]
    assert [(span["name"], span["kind"]) for span in spans] == [("query", "CLIENT"), ("GET /", "SERVER")]
    assert get["status"] == {"code": "UNSET", "message": ""}
    assert query["status"] == {"code": "ERROR", "message": "no such table"}
    assert get["attributes"] == attributes
    assert query["attributes"] == {"raw": "AP8=", "nan": "NaN", "huge": "Infinity"}
    assert query["events"] == [{"name": "retry", "time": 123, "attributes": {"attempt": 1}}]
    assert query["links"] == [
        {"trace_id": f"{5:032x}", "span_id": f"{6:016x}", "trace_state": "", "attributes": {"why": "test"}}
    ]
    assert get["service"] == "shop"
    assert get["resource"] == {"service.name": "shop", "host.cpus": 2}
    assert get["scope"] == "test-scope"
    assert get["start"] <= query["start"] <= query["end"] <= get["end"]
    assert began <= get["start"]
    assert get["end"] <= time.time_ns()


def test_receiver_filters_by_trace_and_index(receiver: received.ReceivedSpans) -> None:
    """Spans can be asked for by trace and from an index on, which goes on counting after they are cleared."""
    other = bytes([9] * 16)
    assert post(receiver, small_spans(2))[0] == 200
    assert post(receiver, small_spans(1, other))[0] == 200
    every = receiver.spans()
    assert [span["name"] for span in every] == ["0", "1", "0"]
    assert receiver.spans(other.hex().upper()) == every[2:]
    assert receiver.spans(since=every[1]["index"]) == every[1:]
    assert receiver.spans(since=every[-1]["index"] + 1) == []
    receiver.clear()
    assert receiver.spans() == []
    post(receiver, small_spans(1))
    assert [span["index"] for span in receiver.spans()] == [every[-1]["index"] + 1]
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        receiver.spans(since=-1)
    caught.value.close()


@pytest.mark.parametrize(
    ("body", "encoding", "status", "message"),
    [
        pytest.param(b"\xff\xff\xff", "identity", 400, "not an ExportTraceServiceRequest", id="garbage"),
        pytest.param(b"not gzip", "gzip", 400, "not gzip", id="not-gzip"),
        pytest.param(b"not deflate", "deflate", 400, "not deflate", id="not-deflate"),
        pytest.param(gzip.compress(small_spans(9))[:-9], "gzip", 400, "cut short", id="cut-short"),
        pytest.param(gzip.compress(b"\xff\xff\xff"), "gzip", 400, "not an Export", id="compressed-garbage"),
        pytest.param(small_spans(1), "br", 415, "must be gzip, deflate or identity", id="unknown-encoding"),
        pytest.param(zlib.compress(bytes(BODY_LIMIT + 1)), "deflate", 413, "decompresses to more", id="bomb"),
        pytest.param(bytes(BODY_LIMIT + 1), "identity", 413, "larger than", id="too-large"),
    ],
)
def test_receiver_refuses_what_is_no_export(
    body: bytes, encoding: str, status: int, message: str, receiver: received.ReceivedSpans
) -> None:
    """What cannot be decoded is refused with the right status and a message, and the receiver goes on serving."""
    answered, answer = post(receiver, body, encoding)
    assert answered == status
    assert message in Status.FromString(answer).message
    assert receiver.spans() == []
    assert post(receiver, gzip.compress(small_spans(1)), "gzip") == (200, b"")
    assert len(receiver.spans()) == 1


def test_receiver_refuses_other_content_types(receiver: received.ReceivedSpans) -> None:
    """JSON is refused as an unsupported type, not mistaken for broken protobuf."""
    status, answer = post(receiver, b"{}", content_type="application/json; charset=utf-8")
    assert status == 415
    assert "must be application/x-protobuf, not application/json" in Status.FromString(answer).message


def test_receiver_rejects_spans_without_ids(receiver: received.ReceivedSpans) -> None:
    """Spans with invalid ids are counted in a partial success; the others are kept."""
    message = ExportTraceServiceRequest.FromString(small_spans(2))
    message.resource_spans[0].scope_spans[0].spans[0].trace_id = bytes(16)
    status, answer = post(receiver, message.SerializeToString())
    assert status == 200
    assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 1
    assert [span["name"] for span in receiver.spans()] == ["1"]


def test_receiver_drops_the_oldest_spans(receiver: received.ReceivedSpans) -> None:
    """Beyond its limit the receiver forgets the oldest spans first."""
    old = bytes([8] * 16)
    post(receiver, small_spans(3, old))
    assert len(receiver.spans(old.hex())) == 3
    half = small_spans(SPAN_LIMIT // 2)
    post(receiver, half)
    post(receiver, half)
    assert receiver.spans(old.hex()) == []
    receiver.clear()


def test_waiting_for_spans_ends(receiver: received.ReceivedSpans) -> None:
    """Waiting for what never comes ends with a TimeoutError that tells what did come."""
    post(receiver, small_spans(2))
    with pytest.raises(TimeoutError, match=r"after 0\.1 s: 2 spans: 0 \(\), 1 \(\)"):
        receiver.wait_for(lambda spans: len(spans) == 3, timeout=0.1)
    assert len(receiver.wait_for(lambda spans: len(spans) == 2, timeout=0.1, trace_id="07" * 16)) == 2
