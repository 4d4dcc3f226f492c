"""OTLP/gRPC: our bytes over the official exporter's channel, one attempt at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from causal_otel.export.transport import Outcome, Verdict, partial_success

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GrpcTransport"]

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

_OPTIONS = (
    # gRPC waits up to two minutes before it connects again, whatever we ask of it meanwhile.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5000),
)
_RETRYABLE = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
"""The codes after which a request may be sent again (OTLP, "Failures"); RESOURCE_EXHAUSTED only where it says when."""


class GrpcTransport:
    """Calls the trace service at ``url``. Needs the extra ``grpc``.

    Args:
        url: scheme and authority.
        insecure: whether to go without TLS.
        headers: of every request.
        compression: ``none`` or ``gzip``.
        certificate: the file of the CA certificates to check the server's against; empty: the usual ones.
        client_certificate: the file of our own; empty: none.
        client_key: the file of its key.
    """

    def __init__(
        self,
        url: str,
        *,
        insecure: bool,
        headers: Mapping[str, str] | None = None,
        compression: str = "none",
        certificate: str = "",
        client_certificate: str = "",
        client_key: str = "",
    ) -> None:
        self._url = url
        self._insecure = insecure
        self._files = (certificate, client_key, client_certificate)
        self._compression = compression
        self._metadata = tuple((key.lower(), value) for key, value in (headers or {}).items())
        self._load()

    def _load(self) -> None:
        """Make the channel, and import whatever a call and its answer may need."""
        import grpc  # type: ignore[import-untyped]
        from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # noqa: F401
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: F401

        self._error: type[Exception] = grpc.RpcError
        compression = grpc.Compression.Gzip if self._compression == "gzip" else grpc.Compression.NoCompression
        credentials = None
        if not self._insecure:
            credentials = grpc.ssl_channel_credentials(*map(_contents, self._files))
        self._channel = self._official(credentials, compression) or self._own(credentials, compression)
        # Without serializers bytes go out and come in as they are.
        self._export = self._channel.unary_unary(_METHOD)

    def _official(self, credentials: Any, compression: Any) -> Any:
        """The official exporter's channel (user agent, credential provider); None where it keeps it elsewhere."""
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        options: Any = _OPTIONS
        exporter = OTLPSpanExporter(
            endpoint=self._url,
            insecure=self._insecure,
            credentials=credentials,
            headers=self._metadata,
            compression=compression,
            channel_options=options,
        )
        return getattr(exporter, "_channel", None)

    def _own(self, credentials: Any, compression: Any) -> Any:
        import grpc

        target = urlsplit(self._url).netloc or self._url
        if credentials is None:
            return grpc.insecure_channel(target, compression=compression, options=_OPTIONS)
        return grpc.secure_channel(target, credentials, compression=compression, options=_OPTIONS)

    def send(self, payload: bytes, deadline: float) -> Outcome:
        """Call once."""
        left = deadline - time.monotonic()
        if left <= 0:
            return Outcome(Verdict.UNREACHABLE, "timeout", "no time left")
        try:
            answer = self._export(payload, timeout=left, metadata=self._metadata)
        except self._error as error:
            return _understood(error)
        except Exception as error:  # such as a channel closed by the end of the process
            return Outcome(Verdict.UNREACHABLE, type(error).__qualname__, str(error))
        rejected, detail = partial_success(answer)
        return Outcome(Verdict.DELIVERED, "rejected" if rejected else "", detail, rejected=rejected)

    def close(self) -> None:
        """Close the channel; a call under way ends."""
        self._channel.close()

    def abandon(self) -> None:
        """Nothing: gRPC's own fork hooks see to what was inherited."""


def _understood(error: Any) -> Outcome:
    code = error.code().name
    detail = str(error.details() or "")
    wait = _retry_delay(error)
    if code == "RESOURCE_EXHAUSTED" and wait is None:
        return Outcome(Verdict.REFUSED, code, detail)
    if wait is not None and (code in _RETRYABLE or code == "RESOURCE_EXHAUSTED"):
        return Outcome(Verdict.BUSY, code, detail, wait)
    if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):  # what gRPC itself says when nobody answers
        return Outcome(Verdict.UNREACHABLE, code, detail)
    return Outcome(Verdict.BUSY if code in _RETRYABLE else Verdict.REFUSED, code, detail)


def _retry_delay(error: Any) -> float | None:
    """The ``RetryInfo`` among a failure's details, in seconds."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    found = RetryInfo()
    try:
        for key, value in error.trailing_metadata() or ():
            if key == "google.rpc.retryinfo-bin":
                found.ParseFromString(value)
                break
            if key == "grpc-status-details-bin" and any(
                detail.Unpack(found) for detail in Status.FromString(value).details
            ):
                break
        else:
            return None
    except DecodeError:
        return None
    return float(found.retry_delay.seconds + found.retry_delay.nanos / 1e9)


def _contents(path: str) -> bytes | None:
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()
