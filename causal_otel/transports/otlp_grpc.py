"""OTLP/gRPC: our bytes over a channel, one attempt at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from causal_otel.transports._grpc_failures import proxy_of, understood
from causal_otel.transports.transport import Outcome, Verdict, partial_success

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GrpcTransport"]

_METHODS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}

_OPTIONS = (
    # gRPC waits up to two minutes before it connects again, whatever we ask of it meanwhile.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


class GrpcTransport:
    """Calls a service at ``url``. Needs the extra ``grpc``.

    The channel is made by the first :meth:`send`: it starts threads of gRPC's, which a child forked later has not.

    Args:
        url: scheme and authority.
        signal: which service: that for ``traces``, for ``metrics`` or for ``logs``.
        insecure: whether to go without TLS.
        headers: of every request.
        compression: ``none`` or ``gzip``.
        certificate: the file of the CA certificates to check the server's against; empty: those that gRPC trusts.
        client_certificate: the file of our own; empty: none.
        client_key: the file of its key.

    Attributes:
        proxy: the URL of the proxy in between, without credentials; empty: there is none.
        date: empty: gRPC has no such header.
    """

    date = ""

    def __init__(
        self,
        url: str,
        *,
        signal: str = "traces",
        insecure: bool,
        headers: Mapping[str, str] | None = None,
        compression: str = "none",
        certificate: str = "",
        client_certificate: str = "",
        client_key: str = "",
    ) -> None:
        self._url = url
        self.proxy = proxy_of(urlsplit(url).hostname or "")
        self._method = _METHODS[signal]
        self._insecure = insecure
        self._files = (certificate, client_key, client_certificate)
        self._compression = compression
        self._metadata = tuple((key.lower(), value) for key, value in (headers or {}).items())
        self._channel: Any = None
        self._export: Any = None
        self._closed = False
        self._load()

    def _load(self) -> None:
        """Import whatever a call and its answer may need.

        The official exporter is not among it: importing it imports the SDK's logs, which start a thread pool
        (opentelemetry-sdk 1.45), and that raises RuntimeError at the end of a process. All that it would add to a
        channel is the user agent.
        """
        import grpc  # type: ignore[import-untyped]
        from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # noqa: F401
        from opentelemetry.exporter.otlp.proto.grpc.version import __version__
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: F401

        self._error: type[Exception] = grpc.RpcError
        self._user_agent = f"OTel-OTLP-Exporter-Python/{__version__}"

    def _connect(self) -> None:
        """Make the channel; without serializers bytes go out and come in as they are."""
        import grpc

        target = urlsplit(self._url).netloc or self._url
        options: dict[str, Any] = {
            "compression": grpc.Compression.Gzip if self._compression == "gzip" else grpc.Compression.NoCompression,
            "options": (*_OPTIONS, ("grpc.primary_user_agent", self._user_agent)),
        }
        if self._insecure:
            self._channel = grpc.insecure_channel(target, **options)
        else:
            credentials = grpc.ssl_channel_credentials(*map(_contents, self._files))
            self._channel = grpc.secure_channel(target, credentials, **options)
        self._export = self._channel.unary_unary(self._method)

    def send(self, payload: bytes, deadline: float) -> Outcome:
        """Call once."""
        left = deadline - time.monotonic()
        if left <= 0:
            return Outcome(Verdict.UNREACHABLE, "timeout", "no time left")
        if self._closed:
            return Outcome(Verdict.UNREACHABLE, "closed", "the channel was closed")
        try:
            if self._channel is None:
                self._connect()
            answer = self._export(payload, timeout=left, metadata=self._metadata)
        except self._error as error:
            return understood(error, self._url)
        except Exception as error:  # such as a certificate that cannot be read, or a channel that was closed
            return Outcome(Verdict.UNREACHABLE, type(error).__qualname__, str(error))
        # gRPC says OK in its own words: what the message is besides is no matter.
        rejected, detail = partial_success(answer) or (0, "")
        return Outcome(Verdict.DELIVERED, "rejected" if rejected else "", detail, rejected=rejected)

    def close(self) -> None:
        """Close the channel; a call under way ends."""
        self._closed = True
        if self._channel is not None:
            self._channel.close()

    def abandon(self) -> None:
        """Nothing: gRPC's own fork hooks see to what was inherited."""


def _contents(path: str) -> bytes | None:
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()
