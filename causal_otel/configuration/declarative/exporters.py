"""The OTLP exporters of the file: one for each signal, as the settings of exports have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel._internal.setting_types import PAIRS
from causal_otel.settings import Settings

if TYPE_CHECKING:
    from causal_otel.configuration.declarative.reading import Reading
    from causal_otel.configuration.declarative.sections import Section

__all__ = ["OTLP", "SETTINGS", "OtlpExporter", "read_otlp"]

SETTINGS = ("protocol", "headers", "timeout", "compression", "certificate", "client_certificate", "client_key")
"""Those that an exporter has, besides the endpoint."""
OTLP = {"otlp_http": ("http/protobuf", "http://localhost:4318"), "otlp_grpc": ("grpc", "http://localhost:4317")}
"""The setting ``protocol`` of each exporter, and where it sends by default."""
_TLS = {"ca_file": "certificate", "cert_file": "client_certificate", "key_file": "client_key"}


class OtlpExporter(NamedTuple):
    """What the file says of one.

    Args:
        endpoint: the complete URL.
        settings: of :data:`SETTINGS`, all of them.
        paths: where each stands that is not left out, and the endpoint.
        path: of the exporter.
    """

    endpoint: str
    settings: dict[str, Any]
    paths: dict[str, str]
    path: str


def read_otlp(key: str, section: Section, signal: str, reading: Reading) -> OtlpExporter:
    """Read the exporter of a signal.

    Args:
        key: of :data:`OTLP`.
        section: by that key.
        signal: ``traces``, ``metrics`` or ``logs``.
        reading: collects what is refused.
    """
    protocol, base = OTLP[key]
    values: dict[str, Any] = {"protocol": protocol}
    paths = {"protocol": section.path, "endpoint": section.name("endpoint") if "endpoint" in section else section.path}
    tls = section.section("tls")
    timeout = section.take("timeout")
    given = {
        "headers": (_headers(section, reading), section.name("headers")),
        "timeout": (None if timeout is None else timeout / 1000, section.name("timeout")),
        "compression": (section.take("compression"), section.name("compression")),
        **{name: (tls.take(file), tls.name(file)) for file, name in _TLS.items()},
    }
    for name, (value, path) in given.items():
        allowed = reading.allowed(name, value, path)
        if allowed is not None:
            values[name], paths[name] = allowed, path
    if section.take("encoding") == "json":
        reading.refuse(section.name("encoding"), "OTLP is sent as protobuf only")
    endpoint = section.take("endpoint") or base + ("" if protocol == "grpc" else f"/v1/{signal}")
    insecure = tls.take("insecure")  # is about endpoints without a scheme
    if protocol == "grpc" and "://" not in endpoint:
        endpoint = f"{'http' if insecure else 'https'}://{endpoint}"
    defaults = {name: getattr(Settings(), name) for name in SETTINGS}
    return OtlpExporter(endpoint, {**defaults, **values}, paths, section.path)


def _headers(section: Section, reading: Reading) -> dict[str, str] | None:
    listed = reading.parsed(PAIRS, section.take("headers_list"), section.name("headers_list"))
    headers = {header["name"]: header["value"] for header in section.take("headers") or () if header.get("value")}
    return {**listed, **headers} or None
