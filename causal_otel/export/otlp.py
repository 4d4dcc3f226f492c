"""OTLP through the official exporters, configured by our settings alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.settings import SettingError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from causal_otel.settings import Settings

__all__ = ["make_exporter"]


def make_exporter(settings: Settings, protocol: str, url: str) -> SpanExporter:
    """The exporter for ``url``.

    Args:
        settings: headers, timeout, compression and TLS files are read from it.
        protocol: ``http/protobuf`` or ``grpc``.
        url: as :meth:`~causal_otel.settings.Settings.destination` gives it.

    Raises:
        SettingError: gRPC is asked for and the extra is not installed, or with a compression that it has not.
    """
    timeout = min(settings.timeout, settings.export_timeout)
    if protocol == "grpc":
        return _grpc(settings, url, timeout)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(
        endpoint=url,
        certificate_file=settings.certificate or None,
        client_key_file=settings.client_key or None,
        client_certificate_file=settings.client_certificate or None,
        headers=dict(settings.headers),
        timeout=timeout,
        compression=Compression(settings.compression),
    )


def _grpc(settings: Settings, url: str, timeout: float) -> SpanExporter:
    try:
        import grpc  # type: ignore[import-untyped]
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise SettingError("protocol='grpc' needs an extra: pip install \"causal-otel[grpc]\"") from None
    compressions = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
    if settings.compression not in compressions:
        raise SettingError(f"compression={settings.compression!r} is not allowed with gRPC; it must be none or gzip")

    def read(path: str) -> bytes | None:
        if not path:
            return None
        with open(path, "rb") as file:
            return file.read()

    insecure = settings.insecure if settings.insecure is not None else not url.startswith("https://")
    credentials = None
    if not insecure:
        credentials = grpc.ssl_channel_credentials(
            read(settings.certificate), read(settings.client_key), read(settings.client_certificate)
        )
    return OTLPSpanExporter(
        endpoint=url,
        insecure=insecure,
        credentials=credentials,
        headers={key.lower(): value for key, value in settings.headers.items()},
        timeout=timeout,
        compression=compressions[settings.compression],
    )
