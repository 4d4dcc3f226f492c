"""Log records over HTTP and gRPC, sent to a collector in a process: what is kept, refused, and said of it."""

from __future__ import annotations

import gzip
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.sdk.trace import TracerProvider

from causal_otel.collector.receive import otlp_json
from causal_otel.collector.receive.intake import BODY_LIMIT
from causal_otel.collector.store.reader import Reader
from tests.collector.records import bodies, log_request, record
from tests.collector.running import OTLP_HEADERS, Running, running
from tests.collector.spans import trace_id

_TOKEN = "secret-token"
_METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    """A collector with a token, and its directory."""
    directory = tmp_path_factory.mktemp("logs")
    with running(directory, environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": _TOKEN}) as found:
        yield found, directory


def _post(collector: Running, body: bytes, **headers: str) -> httpx.Response:
    given = {**OTLP_HEADERS, "authorization": f"Bearer {_TOKEN}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{collector.http}/v1/logs", content=body, headers=given, trust_env=False, timeout=30)


def _said(directory: Path, trace: int) -> list[str]:
    with Reader(directory) as reader:
        found = reader.logs(trace_id(trace))
    return [] if found is None else bodies(found.message)


def test_over_http(collector: tuple[Running, Path]) -> None:
    """Protobuf and JSON, also packed, are kept when acknowledged; who names no trace is told; limits are the same."""
    running, directory = collector
    answer = _post(running, gzip.compress(log_request(record("packed", trace=1))), content_encoding="gzip")
    assert (answer.status_code, answer.content) == (200, b"")
    document = otlp_json.dumps(LogsData.FromString(log_request(record("json", trace=1), record("lost", trace=0))))
    answer = _post(running, document, content_type="application/json")
    assert answer.status_code == 200
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedLogRecords"] == "1"
    assert "outside a span" in partial["errorMessage"]
    assert _said(directory, 1) == ["json", "packed"]
    assert _post(running, b"\xff").status_code == 400
    assert _post(running, b"{}", content_type="text/plain").status_code == 415
    assert _post(running, b"\0" * (BODY_LIMIT + 1)).status_code == 413
    assert _post(running, b"", authorization="Bearer wrong").status_code == 401
    found = httpx.get(f"{running.pages}/status.json", headers={"authorization": f"Bearer {_TOKEN}"}, trust_env=False)
    assert found.json()["writer"]["logs"] >= 2
    assert found.json()["writer"]["logs_rejected"] == 1


def test_over_grpc(collector: tuple[Running, Path]) -> None:
    """LogsService/Export keeps what it acknowledges, and needs the token."""
    running, directory = collector
    with grpc.insecure_channel(running.grpc.removeprefix("http://")) as channel:
        export: Any = channel.unary_unary(_METHOD)
        metadata = (("authorization", f"Bearer {_TOKEN}"),)
        body = log_request(record("called", trace=2), record("lost", trace=0))
        answer = ExportLogsServiceResponse.FromString(export(body, metadata=metadata, timeout=30))
        assert answer.partial_success.rejected_log_records == 1
        with pytest.raises(grpc.RpcError) as caught:
            export(body, timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as caught:
            export(b"\xff", metadata=metadata, timeout=30)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _said(directory, 2) == ["called"]


def test_from_the_official_sdk(collector: tuple[Running, Path]) -> None:
    """What OpenTelemetry's own handler and exporter send of `logging` is kept in the trace that it was logged in."""
    running, directory = collector
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
        from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

        provider = LoggerProvider()
        exporter = OTLPLogExporter(f"{running.http}/v1/logs", headers={"authorization": f"Bearer {_TOKEN}"})
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        handler = LoggingHandler(logger_provider=provider)
        record = logging.LogRecord("theirs", logging.ERROR, __file__, 1, "went %s", ("wrong",), None)
        with TracerProvider().get_tracer("x").start_as_current_span("x") as span:
            handler.emit(record)
        provider.shutdown()
    assert _said(directory, span.get_span_context().trace_id) == ["went wrong"]


def test_json_has_hexadecimal_ids() -> None:
    """A record as OTLP JSON has its ids in hexadecimal, its times as strings, and is read as it was."""
    message = LogsData.FromString(log_request(record("a", trace=0xABC, span=0xDEF, tags={"k": "v"})))
    written = json.loads(otlp_json.dumps(message))["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    assert (written["traceId"], written["spanId"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert isinstance(written["timeUnixNano"], str)
    assert otlp_json.read(otlp_json.dumps(message), LogsData()) == message
