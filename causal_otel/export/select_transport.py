"""Which transport the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.extras import missing
from causal_otel.settings import SettingError

if TYPE_CHECKING:
    from causal_otel.settings import Settings
    from causal_otel.transports.otlp_grpc import GrpcTransport
    from causal_otel.transports.otlp_http import HttpTransport

__all__ = ["check", "component", "make_transport"]


def check(settings: Settings, protocol: str) -> None:
    """Stop ``install()`` where no transport could be made; imports and connects nothing.

    Raises:
        SettingError: gRPC is asked for and the extra is not installed, or with a compression that it has not.
    """
    if protocol != "grpc":
        return
    if problem := missing(("grpc", "opentelemetry.exporter.otlp.proto.grpc"), "grpc"):
        raise SettingError(f"protocol='grpc' is not possible: {problem}")
    if settings.compression not in ("none", "gzip"):
        raise SettingError(f"compression={settings.compression!r} is not allowed with gRPC; it must be none or gzip")


def component(protocol: str) -> str:
    """The ``otel.component.type`` of the transport for ``protocol``."""
    return "otlp_grpc_span_exporter" if protocol == "grpc" else "otlp_http_span_exporter"


def make_transport(
    settings: Settings, protocol: str, url: str, signal: str = "traces"
) -> HttpTransport | GrpcTransport:
    """The transport to ``url``; importing its libraries takes some tenths of a second.

    Args:
        settings: headers, compression and TLS files are read from it.
        protocol: ``http/protobuf`` or ``grpc``.
        url: as :func:`causal_otel.destination.destination` gives it.
        signal: ``traces``, ``metrics`` or ``logs``.
    """
    if protocol == "grpc":
        from causal_otel.transports.otlp_grpc import GrpcTransport

        return GrpcTransport(
            url,
            signal=signal,
            insecure=not url.startswith("https://") and settings.insecure is not False,
            headers=settings.headers,
            compression=settings.compression,
            certificate=settings.certificate,
            client_certificate=settings.client_certificate,
            client_key=settings.client_key,
        )
    from causal_otel.transports.otlp_http import HttpTransport

    return HttpTransport(
        url,
        signal=signal,
        headers=settings.headers,
        compression=settings.compression,
        certificate=settings.certificate,
        client_certificate=settings.client_certificate,
        client_key=settings.client_key,
    )
