"""OTLP over gRPC: one attempt, and what its answer is taken to mean; with a real gRPC server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from causal_otel.transports.otlp_grpc import GrpcTransport
from causal_otel.transports.transport import Verdict
from tests.export.requests import PAYLOAD, soon
from tests.faults.grpc_collector import GrpcCollector, Handler, grpc_serving
from tests.faults.scripted import refused_port

pytestmark = pytest.mark.usefixtures("no_otel_variables")


@pytest.fixture
def grpc_collector() -> Iterator[GrpcCollector]:
    with grpc_serving() as collector:
        yield collector


def _abort(code: grpc.StatusCode, *details: Any) -> Handler:
    def handle(_: bytes, context: Any) -> bytes:
        if details:
            status = Status(code=code.value[0], message="m")
            for detail in details:
                packed = AnyMessage()
                packed.Pack(detail)
                status.details.append(packed)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, "because")
        raise AssertionError

    return handle


class TestGrpc:
    def test_delivers(self, grpc_collector: GrpcCollector) -> None:
        """Our bytes arrive as they are, with our headers and the official exporter's user agent; gzip works."""
        for compression in ("none", "gzip"):
            transport = GrpcTransport(
                grpc_collector.url, insecure=True, headers={"Authorization": "x"}, compression=compression
            )
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            transport.close()
        body, metadata = grpc_collector.requests[-1]
        assert body == PAYLOAD
        assert metadata["authorization"] == "x"
        assert metadata["user-agent"].startswith("OTel-OTLP-Exporter-Python/")

    def test_partial_success(self, grpc_collector: GrpcCollector) -> None:
        """The number of rejected spans and the reason are read from the answer."""
        response = ExportTraceServiceResponse()
        response.partial_success.rejected_spans = 2
        response.partial_success.error_message = "too old"
        grpc_collector.handler = lambda request, context: response.SerializeToString()
        transport = GrpcTransport(grpc_collector.url, insecure=True)
        outcome = transport.send(PAYLOAD, soon())
        transport.close()
        assert (outcome.verdict, outcome.rejected, outcome.detail) == (Verdict.DELIVERED, 2, "too old")

    @pytest.mark.parametrize(
        ("code", "verdict"),
        [
            (grpc.StatusCode.INVALID_ARGUMENT, Verdict.REFUSED),
            (grpc.StatusCode.UNAUTHENTICATED, Verdict.MISCONFIGURED),
            (grpc.StatusCode.PERMISSION_DENIED, Verdict.MISCONFIGURED),
            (grpc.StatusCode.UNIMPLEMENTED, Verdict.MISCONFIGURED),
            (grpc.StatusCode.INTERNAL, Verdict.REFUSED),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, Verdict.REFUSED),
            (grpc.StatusCode.ABORTED, Verdict.BUSY),
            (grpc.StatusCode.DATA_LOSS, Verdict.BUSY),
            (grpc.StatusCode.UNAVAILABLE, Verdict.UNREACHABLE),
        ],
    )
    def test_codes(self, grpc_collector: GrpcCollector, code: grpc.StatusCode, verdict: Verdict) -> None:
        """Only the codes that OTLP lists invite another attempt; some are not about the spans."""
        grpc_collector.handler = _abort(code)
        transport = GrpcTransport(grpc_collector.url, insecure=True)
        outcome = transport.send(PAYLOAD, soon())
        transport.close()
        assert (outcome.verdict, outcome.kind, outcome.detail) == (verdict, code.name, "because")

    @pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE])
    def test_retry_info(self, grpc_collector: GrpcCollector, code: grpc.StatusCode) -> None:
        """RetryInfo says when to come again, and makes RESOURCE_EXHAUSTED an invitation."""
        grpc_collector.handler = _abort(code, RetryInfo(retry_delay=Duration(seconds=3, nanos=500_000_000)))
        transport = GrpcTransport(grpc_collector.url, insecure=True)
        outcome = transport.send(PAYLOAD, soon())
        transport.close()
        assert (outcome.verdict, outcome.retry_after) == (Verdict.BUSY, 3.5)

    def test_too_large(self) -> None:
        """A message that is larger than the server takes is known by what gRPC says of it."""
        with grpc_serving(options=[("grpc.max_receive_message_length", 10)]) as collector:
            transport = GrpcTransport(collector.url, insecure=True)
            outcome = transport.send(PAYLOAD + PAYLOAD, soon())
            transport.close()
        assert (outcome.verdict, outcome.kind) == (Verdict.TOO_LARGE, "RESOURCE_EXHAUSTED")

    def test_certificate_that_cannot_be_read(self, tmp_path: Path) -> None:
        """A file that is missing when the channel is made is told, and tried again by the next attempt."""
        transport = GrpcTransport("https://127.0.0.1:1", insecure=False, certificate=str(tmp_path / "ca.pem"))
        for _ in range(2):
            outcome = transport.send(PAYLOAD, soon())
            assert (outcome.verdict, outcome.kind) == (Verdict.UNREACHABLE, "FileNotFoundError")
        transport.close()
        assert transport.send(PAYLOAD, soon()).kind == "closed"

    def test_nobody_there(self) -> None:
        """Nobody listening is nobody's answer; so is a channel that was closed."""
        with refused_port() as port:
            transport = GrpcTransport(f"http://127.0.0.1:{port}", insecure=True)
            outcome = transport.send(PAYLOAD, soon(5))
        assert outcome.verdict is Verdict.UNREACHABLE
        transport.close()
        assert transport.send(PAYLOAD, soon()).verdict is Verdict.UNREACHABLE
