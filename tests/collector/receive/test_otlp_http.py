"""OTLP/HTTP: what is taken, what is refused and how, over real sockets and a real store."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from causal_otel.collector.receive import otlp_json, services
from causal_otel.collector.receive.intake import BODY_LIMIT, Intake
from causal_otel.collector.receive.otlp_http import otlp_app, refusal
from causal_otel.collector.security import Access, Guard
from causal_otel.collector.span_metrics import SpanMetrics
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer
from causal_otel.collector.tokens import Tokens
from tests.collector.running import now, one_span
from tests.collector.spans import merged, request, span, spans_of, trace_id, traces
from tests.patches.http_server import serve
from tests.waiting import wait_until

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"


class Receiver:
    """The receiver under test, and the store behind it."""

    def __init__(self, url: str, intake: Intake, directory: Path) -> None:
        self.url = f"{url}/v1/traces"
        self.intake = intake
        self._directory = directory

    def post(self, body: bytes | Iterator[bytes], content_type: str = _PROTOBUF, **headers: str) -> httpx.Response:
        given = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.post(self.url, content=body, headers=given, trust_env=False, timeout=60)

    def names(self, trace: int) -> list[str]:
        with Reader(self._directory) as reader:
            found = reader.trace(trace_id(trace))
        return [] if found is None else sorted(each.name for each in spans_of(found))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver over an empty store."""
    writer = Writer(tmp_path)
    writer.start()
    intake = Intake(writer, SpanMetrics())
    try:
        with serve(otlp_app(intake)) as url:
            yield Receiver(url, intake, tmp_path)
    finally:
        writer.close(10)


def _status(response: httpx.Response) -> Status:
    """The ``google.rpc.Status`` that an error has to have as its body."""
    assert response.headers["content-type"] == _PROTOBUF
    status = Status.FromString(response.content)
    assert status.message
    return status


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("identity", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress)],
)
@pytest.mark.parametrize("content_type", [_PROTOBUF, _JSON])
def test_spans_are_on_disk_when_acknowledged(
    receiver: Receiver, encoding: str, encode: type, content_type: str
) -> None:
    """A request in any form is answered 200 in its own form, and its spans can be read at once."""
    message = traces(span("a", trace=7, start=now()), span("b", trace=7, start=now()))
    body = request(message) if content_type == _PROTOBUF else otlp_json.dumps(message)
    response = receiver.post(encode(body), content_type + "; charset=utf-8", content_encoding=encoding)
    assert response.status_code == 200
    assert response.headers["content-type"] == content_type
    assert response.content == (b"" if content_type == _PROTOBUF else b"{}")
    assert receiver.names(7) == ["a", "b"]


@pytest.mark.parametrize(("content_type", "body"), [(_PROTOBUF, b""), (_JSON, b"{}")])
def test_empty_request_is_fine(receiver: Receiver, content_type: str, body: bytes) -> None:
    """A request without spans, which is how clients ask whether anybody is there, is answered 200."""
    assert receiver.post(body, content_type).status_code == 200


def test_partial_success_tells_how_many_were_rejected(receiver: Receiver) -> None:
    """Spans without valid ids are rejected and counted in the answer; the others of the request are kept."""
    message = traces(span("good", trace=8, start=now()), span("bad", trace_id=b"short"), span("zero", span_id=bytes(8)))
    response = receiver.post(request(message))
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert (response.status_code, partial.rejected_spans) == (200, 2)
    assert partial.error_message
    assert receiver.names(8) == ["good"]
    assert receiver.intake.outcomes["http", "partial"] == 1


def test_partial_success_in_json(receiver: Receiver) -> None:
    """In JSON the count is a string, as protobuf's JSON has 64-bit integers."""
    response = receiver.post(otlp_json.dumps(traces(span(span_id=bytes(8)))), _JSON)
    assert response.json()["partialSuccess"]["rejectedSpans"] == "1"


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"\xff no protobuf", "identity", 400),
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"cut" * 1000)[:-10], "gzip", 400),
        (gzip.compress(b"") + b"more", "gzip", 400),
        (b"no deflate", "deflate", 400),
        (b"", "br", 415),
        (gzip.compress(bytes(BODY_LIMIT + 1)), "gzip", 413),
        (zlib.compress(bytes(BODY_LIMIT + 1)), "deflate", 413),
        (bytes(BODY_LIMIT + 1), "identity", 413),
    ],
    ids=["protobuf", "gzip", "cut", "trailing", "deflate", "br", "gzip-bomb", "deflate-bomb", "large"],
)
def test_what_cannot_be_read_is_refused(receiver: Receiver, body: bytes, encoding: str, status: int) -> None:
    """Bad bytes and bodies too large, before or after decompression, get a 4xx with a Status that says why."""
    response = receiver.post(body, content_encoding=encoding)
    assert response.status_code == status
    assert _status(response).code == Code.INVALID_ARGUMENT
    assert receiver.post(one_span(9)).status_code == 200, "the next request is taken"
    assert receiver.intake.outcomes == {("http", "invalid"): 1, ("http", "accepted"): 1}


def test_large_body_of_unknown_length_is_refused(receiver: Receiver) -> None:
    """A chunked body is refused once it is too large, and its sender gets to see the answer."""
    response = receiver.post(iter([bytes(1024 * 1024)] * (BODY_LIMIT // 1024 // 1024 + 4)))
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON: Expecting value"),
        (b"[]", "not OTLP JSON: an object"),
        (b"{", "not JSON: Expecting property"),
        (b'{"resourceSpans": 3}', "not OTLP JSON: resourceSpans: a list"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xy"}]}]}]}', "not OTLP JSON: resourceSpans[0]."),
    ],
)
def test_bad_json_is_refused_in_json(receiver: Receiver, body: bytes, reason: str) -> None:
    """What is no OTLP JSON gets a 400 whose Status is JSON and says what is wrong."""
    response = receiver.post(body, _JSON)
    assert response.status_code == 400
    assert response.headers["content-type"] == _JSON
    assert response.json()["code"] == Code.INVALID_ARGUMENT
    assert response.json()["message"].startswith(reason)


@pytest.mark.parametrize("content_type", [_PROTOBUF, _JSON])
def test_metrics_are_refused_with_how_to_switch_them_off(receiver: Receiver, content_type: str) -> None:
    """What the collector does not take is answered 404, in the request's own form, with the variable to set."""
    response = httpx.post(
        receiver.url.replace("/v1/traces", "/v1/metrics"),
        content=b"{}" if content_type == _JSON else b"",
        headers={"content-type": content_type},
        trust_env=False,
    )
    assert (response.status_code, response.headers["content-type"]) == (404, content_type)
    message = response.json()["message"] if content_type == _JSON else Status.FromString(response.content).message
    assert "set OTEL_METRICS_EXPORTER=none" in message


def test_official_exporters_do_not_try_again(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """OpenTelemetry's own exporter gives up at once; it shows no answer, so our own log has the sentence, once."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import MetricsData

    services._told.clear()
    url = receiver.url.replace("/v1/traces", "/v1/metrics")
    done = OTLPMetricExporter(endpoint=url).export(MetricsData(resource_metrics=[]))
    assert done.name == "FAILURE"
    (ours,) = [record.getMessage() for record in caplog.records if record.name.startswith("causal_otel")]
    assert ours.startswith("causal_otel: metrics are sent here: this collector takes traces and logs: ")
    assert "set OTEL_METRICS_EXPORTER=none" in ours
    assert "code: 404" in caplog.text
    assert "retry" not in caplog.text.lower()


@pytest.mark.parametrize("content_type", ["text/plain", ""])
def test_other_content_types_are_refused(receiver: Receiver, content_type: str) -> None:
    """A content type that OTLP does not have gets a 415 that names those it has."""
    response = receiver.post(b"x", content_type)
    assert response.status_code == 415
    assert "application/x-protobuf or application/json" in response.json()["message"]


def test_other_methods_and_paths(receiver: Receiver) -> None:
    """GET is answered 405 and another path 404, each with a Status."""
    headers = {"content-type": _PROTOBUF}
    wrong_method = httpx.get(receiver.url, headers=headers, trust_env=False)
    assert wrong_method.status_code == 405
    assert wrong_method.headers["allow"] == "POST"
    _status(wrong_method)
    wrong_path = httpx.post(receiver.url.replace("traces", "metrics"), headers=headers, trust_env=False)
    assert wrong_path.status_code == 404
    _status(wrong_path)


def test_full_queue_is_answered_with_when_to_try_again(tmp_path: Path) -> None:
    """While too much waits to be written, a request is answered 429 with Retry-After, and nothing of it is kept."""
    writer = Writer(tmp_path, queue_bytes=10)
    writer.start()
    try:
        with serve(otlp_app(Intake(writer, SpanMetrics()))) as url:
            receiver = Receiver(url, Intake(writer, SpanMetrics()), tmp_path)
            response = receiver.post(one_span(1))
            assert response.status_code == 429
            assert int(response.headers["retry-after"]) >= 1
            assert _status(response).code == Code.RESOURCE_EXHAUSTED
            assert receiver.names(1) == []
    finally:
        writer.close(10)


def test_client_that_leaves_loses_nothing(receiver: Receiver) -> None:
    """A request whose client has gone before the answer is kept all the same."""
    body = one_span(11)
    host, port = urlsplit(receiver.url).netloc.split(":")
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: {host}\r\nContent-Type: {_PROTOBUF}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
    wait_until(lambda: receiver.names(11) == ["work"])


def test_refusals_of_the_guard_have_a_status(tmp_path: Path) -> None:
    """Without the token OTLP is refused with 401 and a Status; a large body is read before, so the answer arrives."""
    writer = Writer(tmp_path)
    writer.start()
    try:
        app = Guard(otlp_app(Intake(writer, SpanMetrics())), Access(Tokens("secret")), refusal=refusal)
        with serve(app) as url:
            receiver = Receiver(url, Intake(writer, SpanMetrics()), tmp_path)
            response = receiver.post(bytes(8 * 1024 * 1024))
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert _status(response).code == Code.UNAUTHENTICATED
            assert receiver.post(one_span(1), authorization="Bearer secret").status_code == 200
            assert receiver.post(b"{}", _JSON).json()["code"] == Code.UNAUTHENTICATED
    finally:
        writer.close(10)


def test_counts_follow_what_was_kept(receiver: Receiver) -> None:
    """A request sent again after it was kept is acknowledged, and its spans are there once."""
    body = request(merged(traces(span("once", trace=12, id=1, start=now()))))
    assert [receiver.post(body).status_code for _ in range(3)] == [200] * 3
    assert receiver.names(12) == ["once"]
