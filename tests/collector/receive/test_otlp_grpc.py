"""OTLP/gRPC: what is taken, what is refused and how, over real sockets and a real store."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from causal_otel.collector.failed_logins import FailedLogins
from causal_otel.collector.receive.intake import BODY_LIMIT, Intake
from causal_otel.collector.receive.otlp_grpc import grpc_server
from causal_otel.collector.security import Access
from causal_otel.collector.span_metrics import SpanMetrics
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer
from causal_otel.collector.tokens import Tokens
from causal_otel.transports.otlp_grpc import GrpcTransport
from causal_otel.transports.transport import Verdict
from tests.collector.running import now, one_span
from tests.collector.spans import request, span, spans_of, trace_id, traces
from tests.waiting import wait_until

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@contextlib.contextmanager
def _serving(directory: Path, access: Access | None = None, **options: Any) -> Iterator[str]:
    """A receiver over the store in ``directory``; yields its address."""
    writer = Writer(directory, **options)
    writer.start()
    loop = asyncio.new_event_loop()
    ready, stop, found = threading.Event(), asyncio.Event(), []

    async def run() -> None:
        server, port = grpc_server(Intake(writer, SpanMetrics()), access or Access(), host="127.0.0.1", port=0)
        await server.start()
        found.append(port)
        ready.set()
        await stop.wait()
        await server.stop(5)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    try:
        assert ready.wait(20)
        yield f"127.0.0.1:{found[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
        writer.close(10)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a receiver over an empty store in ``tmp_path``."""
    with _serving(tmp_path) as found:
        yield found


def _export(address: str, body: bytes, compression: Any = grpc.Compression.NoCompression, **metadata: str) -> bytes:
    pairs = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
    with grpc.insecure_channel(address, compression=compression) as channel:
        answer: bytes = channel.unary_unary(_METHOD)(body, timeout=30, metadata=pairs)
        return answer


def _refused(address: str, body: bytes, **metadata: str) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        _export(address, body, **metadata)
    return caught.value


def _names(directory: Path, trace: int) -> list[str]:
    with Reader(directory) as reader:
        found = reader.trace(trace_id(trace))
    return [] if found is None else sorted(each.name for each in spans_of(found))


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
def test_spans_are_on_disk_when_acknowledged(address: str, tmp_path: Path, compression: Any) -> None:
    """A call returns when its spans can be read, however it is compressed."""
    body = request(traces(span("a", trace=1, start=now()), span("b", trace=1, start=now())))
    assert _export(address, body, compression) == b""
    assert _names(tmp_path, 1) == ["a", "b"]


def test_empty_request_is_fine(address: str) -> None:
    """A call without spans succeeds."""
    assert _export(address, b"") == b""


def test_partial_success_tells_how_many_were_rejected(address: str, tmp_path: Path) -> None:
    """Spans without valid ids are rejected and counted in the answer; the others are kept."""
    answer = _export(address, request(traces(span("good", trace=2, start=now()), span(span_id=b"x"))))
    assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 1
    assert _names(tmp_path, 2) == ["good"]


def test_what_cannot_be_read_is_refused(address: str) -> None:
    """Bytes that are no request get INVALID_ARGUMENT, which no client sends again."""
    error = _refused(address, b"\xff no protobuf")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ExportTraceServiceRequest" in error.details()


def test_too_large_is_refused(address: str) -> None:
    """A message larger than the limit is refused, before and after decompression."""
    assert _refused(address, bytes(BODY_LIMIT + 1)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError) as caught:
        _export(address, bytes(8 * BODY_LIMIT), grpc.Compression.Gzip)
    assert len(gzip.compress(bytes(8 * BODY_LIMIT))) < BODY_LIMIT
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_full_queue_is_answered_with_when_to_try_again(tmp_path: Path) -> None:
    """While too much waits to be written, a call gets UNAVAILABLE with RetryInfo, and nothing of it is kept."""
    with _serving(tmp_path, queue_bytes=10) as address:
        error = _refused(address, one_span(3))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert _retry_seconds(error) >= 1
        assert _names(tmp_path, 3) == []


def test_too_many_wrong_tokens_are_answered_with_when_to_try_again(tmp_path: Path) -> None:
    """While 32 wrong tokens of an address wait, a call with the right one is told to come again, so no span is lost."""
    failed = FailedLogins(first=60, longest=60)
    with (
        _serving(tmp_path, Access(Tokens("secret"), failed_logins=failed)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        call = channel.unary_unary(_METHOD)
        waiting = [call.future(b"", timeout=60, metadata=[("authorization", "Bearer other")]) for _ in range(32)]
        wait_until(lambda: failed.busy("127.0.0.1"))
        # A channel of its own: one connection takes 32 calls at a time.
        with (
            grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as another,
            pytest.raises(grpc.RpcError) as caught,
        ):
            another.unary_unary(_METHOD)(one_span(5), timeout=60, metadata=[("authorization", "Bearer secret")])
        ours = GrpcTransport(f"http://{address}", insecure=True, headers={"authorization": "Bearer secret"})
        outcome = ours.send(one_span(5), time.monotonic() + 60)
        ours.close()
        for each in waiting:
            each.cancel()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert _retry_seconds(caught.value) == 5
        assert (outcome.verdict, outcome.retry_after) == (Verdict.BUSY, 5)


def _retry_seconds(error: Any) -> int:
    """What ``RetryInfo`` among the details of a failure says."""
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    (detail,) = Status.FromString(details).details
    retry = RetryInfo()
    assert detail.Unpack(retry)
    seconds: int = retry.retry_delay.seconds
    return seconds


def test_token_is_asked_for(tmp_path: Path) -> None:
    """With a token set, only calls that have it in their metadata are taken."""
    with _serving(tmp_path, Access(Tokens("secret"))) as address:
        assert _refused(address, one_span(4)).code() is grpc.StatusCode.UNAUTHENTICATED
        wrong = _refused(address, one_span(4), authorization="Bearer other")
        assert wrong.code() is grpc.StatusCode.UNAUTHENTICATED
        assert _export(address, one_span(4), authorization="Bearer secret") == b""
        assert _export(address, one_span(4, "more"), x_causal_otel_token="secret") == b""
        assert _names(tmp_path, 4) == ["more", "work"]


@pytest.mark.asyncio
async def test_port_in_use_is_an_error(tmp_path: Path) -> None:
    """Two servers never share a port: the second one is told."""
    with _serving(tmp_path) as address:
        host, _, port = address.partition(":")
        intake = Intake(Writer(tmp_path / "other"), SpanMetrics())
        with pytest.raises(OSError, match=port):
            grpc_server(intake, Access(), host=host, port=int(port))


def test_metrics_are_refused_with_how_to_switch_them_off(address: str) -> None:
    """What the collector does not take is not implemented, which no exporter tries again, with the variable to set."""
    method = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method)(b"", timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "set OTEL_METRICS_EXPORTER=none" in caught.value.details()
