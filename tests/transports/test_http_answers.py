"""What counts as an answer of OTLP over HTTP, and what of somebody else's."""

from __future__ import annotations

import gzip

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from causal_otel.transports.otlp_http import HttpTransport
from causal_otel.transports.transport import Verdict
from tests.export.requests import PAYLOAD, soon
from tests.faults.scripted import answer, scripted

REJECTED = ExportTraceServiceResponse(
    partial_success={"rejected_spans": 2, "error_message": "too old"}  # type: ignore[arg-type]
).SerializeToString()


@pytest.mark.parametrize(
    ("headers", "body", "rejected", "detail"),
    [
        ({"Content-Type": "application/x-protobuf"}, b"", 0, ""),
        ({}, b"", 0, ""),
        ({"Content-Type": "text/html"}, b"", 0, ""),
        ({}, REJECTED, 2, "too old"),
        ({"Content-Type": "Application/X-Protobuf; v=1"}, REJECTED, 2, "too old"),
        (
            {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"},
            gzip.compress(REJECTED, mtime=0),
            2,
            "too old",
        ),
        ({"Content-Type": "application/json"}, b"{}", 0, ""),
        ({"Content-Type": "application/json; charset=utf-8"}, b'{"partialSuccess":{}}', 0, ""),
        (
            {"Content-Type": "application/json"},
            b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}',
            *(2, "too old"),
        ),
        ({"Content-Type": "application/json"}, b'{"partialSuccess":{"rejectedSpans":-2}}', 0, ""),
        ({}, b'{"partialSuccess":{"rejectedSpans":2}}', 2, ""),
    ],
)
def test_answers_that_accept(headers: dict[str, str], body: bytes, rejected: int, detail: str) -> None:
    """An answer of OTLP is read, in protobuf and in JSON; an empty one is the empty message, whatever its type."""
    with scripted(answer(200, headers, body)) as collector:
        outcome = HttpTransport(collector.url).send(PAYLOAD, soon())
    assert (outcome.verdict, outcome.rejected, outcome.detail) == (Verdict.DELIVERED, rejected, detail)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, b"<html>Please log in</html>"),
        ({"Content-Type": "text/html"}, b"<html>" + b"x" * 200_000),
        (
            {"Content-Type": "text/html", "Content-Encoding": "gzip"},
            gzip.compress(b"<html>Please log in</html>", mtime=0),
        ),
        ({"Content-Type": "text/plain"}, b"OK"),
        ({"Content-Type": "application/x-protobuf"}, b"\xff\xff"),
        ({"Content-Type": "application/json"}, b"[]"),
        ({"Content-Type": "application/json"}, b"<html>"),
        ({"Content-Type": "application/json"}, b"[" * 60_000),
        ({}, b"<html>Please log in</html>"),
    ],
)
@pytest.mark.parametrize("status", [200, 202])
def test_answers_of_somebody_else(status: int, headers: dict[str, str], body: bytes) -> None:
    """A 200 that is no answer of OTLP, such as a login page, has delivered nothing, and says what it is."""
    with scripted(answer(status, headers, body)) as collector:
        outcome = HttpTransport(collector.url).send(PAYLOAD, soon())
    assert (outcome.verdict, outcome.kind) == (Verdict.MISCONFIGURED, str(status))
    assert (headers.get("Content-Type", "of no type").partition(";")[0]) in outcome.detail
    assert "check the endpoint" in outcome.advice


@pytest.mark.parametrize(
    "text",
    [
        b"http: request body too large",
        b"Request Entity Too Large",
        b"the message is too big",
    ],
)
def test_too_large_by_another_status(text: bytes) -> None:
    """Some servers say 400 to what is too large; their words tell, and other words of a 400 do not."""
    with scripted(answer(400, {}, text), answer(400, {}, b"attribute value too large")) as collector:
        transport = HttpTransport(collector.url)
        assert transport.send(PAYLOAD, soon()).verdict is Verdict.TOO_LARGE
        assert transport.send(PAYLOAD, soon()).verdict is Verdict.REFUSED
