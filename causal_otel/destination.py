"""Where spans go, as the settings say: the exporter, the protocol, the URL, and what is given in vain. Metrics too."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from causal_otel._internal.log import logger
from causal_otel._internal.secrets import hide_credentials

if TYPE_CHECKING:
    from collections.abc import Set

    from causal_otel.settings import Settings
    from causal_otel.settings.given import Given

__all__ = ["conflicts", "destination", "implies_jaeger", "logs_destination"]

_logger = logger()

_TRACES_PATH = "/v1/traces"
_LOGS_PATH = "/v1/logs"
_OTLP_PORTS = {"http/protobuf": 4318, "grpc": 4317}
_RETIRED_JAEGER_PORTS = (5775, 6831, 6832, 14250, 14268)


def implies_jaeger(given: Set[str]) -> bool:
    """Whether the exporter is ``jaeger`` although nobody has said so: its host or port is all that says where spans go.

    Args:
        given: the names of the settings that are given.
    """
    return not given & {"exporter", "endpoint", "traces_endpoint"} and bool(given & {"jaeger_host", "jaeger_port"})


def destination(settings: Settings, path: str = _TRACES_PATH) -> tuple[str, str]:
    """The protocol and the URL that spans are sent to: complete for HTTP, scheme and authority for gRPC.

    Metrics are sent to another ``path``.

    The exporter ``jaeger`` goes to the Jaeger host, ``otlp`` to the endpoint: see :func:`conflicts` for what is given
    and not used. Jaeger's OTLP ports choose the protocol. The ports that Jaeger has retired (Thrift over UDP or HTTP,
    its own gRPC) become the OTLP port of the same host, with one warning.
    """
    protocol = settings.protocol
    if settings.exporter == "jaeger":
        protocol, base = _jaeger(settings)
    elif settings.traces_endpoint:
        return protocol, settings.traces_endpoint
    else:
        base = settings.endpoint or f"http://localhost:{_OTLP_PORTS[protocol]}"
    if protocol == "grpc":
        return protocol, base
    parts = urlsplit(base)
    base_path = parts.path.rstrip("/").removesuffix(_TRACES_PATH)
    return protocol, urlunsplit(parts._replace(path=base_path + path))


def logs_destination(settings: Settings, protocol: str, url: str) -> str:
    """The URL that log records are sent to: ``logs_endpoint``, or that of the spans, with the path for logs.

    Args:
        settings: say whether it is another one.
        protocol: of both.
        url: that of the spans, see :func:`destination`.
    """
    if settings.logs_endpoint or protocol == "grpc":
        return settings.logs_endpoint or url
    parts = urlsplit(url)
    if not parts.path.endswith(_TRACES_PATH):  # a complete URL for traces, which says nothing of other paths there
        parts = urlsplit(settings.endpoint or f"{parts.scheme}://{parts.netloc}")
    return urlunsplit(parts._replace(path=parts.path.rstrip("/").removesuffix(_TRACES_PATH) + _LOGS_PATH))


def _jaeger(settings: Settings) -> tuple[str, str]:
    host, port = settings.jaeger_host, settings.jaeger_port
    spoken = _spoken_at(port)
    protocol = spoken or settings.protocol
    if spoken is None and (port is None or port in (*_RETIRED_JAEGER_PORTS, _OTLP_PORTS["grpc"])):
        port = _OTLP_PORTS[protocol]
        if settings.jaeger_port not in (None, port):
            _logger.warning(
                "JAEGER_PORT=%d is not a port that %s can be sent to; using port %d of %s: set JAEGER_PORT=%d",
                *(settings.jaeger_port, f"OTLP over {protocol}", port, host, port),
            )
    return protocol, f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{port}"


def _spoken_at(port: int | None) -> str | None:
    """The protocol of an OTLP port of Jaeger's; None for another port, or if what speaks it is not installed."""
    if port == _OTLP_PORTS["http/protobuf"]:
        return "http/protobuf"
    return "grpc" if port == _OTLP_PORTS["grpc"] and find_spec("grpc") is not None else None


def conflicts(settings: Settings) -> list[str]:
    """A sentence for each thing that says where spans go and is not used, or not as it would be elsewhere.

    What stands in a file is no conflict with an argument or a variable: these are meant to replace it.
    """
    conflicts = []
    for name in ("exporter", "endpoint"):  # those with a variable of OpenTelemetry's and one of older deployments
        if used := settings.used(name):
            others = settings.given[name][1:]
            conflicts += [_unused(it, used) for it in others if it.place == used.place and it.value != used.value]
    jaeger, otlp = ("jaeger_host", "jaeger_port"), ("traces_endpoint", "endpoint")
    if settings.exporter == "jaeger":
        unused, users = otlp, ("exporter", *jaeger)
    elif settings.exporter == "otlp":
        unused, users = jaeger, (*otlp, "exporter")
    else:
        return conflicts
    used = next(filter(None, map(settings.used, users)), None)
    if used is not None:
        vain = [given for given in map(settings.used, unused) if given is not None and given.place == used.place]
        conflicts += [_unused(given, used) for given in vain]
    protocol, port = settings.used("protocol"), settings.used("jaeger_port")
    if settings.exporter == "jaeger" and protocol and port and protocol.place == port.place:
        spoken = _spoken_at(settings.jaeger_port)
        if spoken not in (None, settings.protocol):
            conflicts.append(_unused(protocol, port))
    complete = settings.protocol != "grpc" and urlsplit(settings.endpoint).path.rstrip("/").endswith(_TRACES_PATH)
    if used is not None and complete and used == settings.used("endpoint"):
        conflicts.append(
            f"{_shown(used)} ends in {_TRACES_PATH}, which is not appended once more: give the base URL alone, or "
            "all of it in OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
        )
    return conflicts


def _unused(unused: Given, used: Given) -> str:
    return f"{_shown(unused)} is not used, because of {_shown(used)}: remove one of the two"


def _shown(given: Given) -> str:
    return hide_credentials(f"{given.cited}={given.value}")
