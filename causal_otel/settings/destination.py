"""Settings: whether, about what, and where to: the switches, the resource, the destination of spans and of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel._internal.setting_types import (
    ATTRIBUTES,
    BOOLEAN,
    FILE,
    MILLISECONDS,
    PAIRS,
    PORT,
    SECONDS,
    TEXT,
    URL,
    choice,
)
from causal_otel.settings.declaration import setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

__all__ = ["DestinationSettings"]


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class DestinationSettings:
    """Whether to trace, what the spans are about, and where spans and metrics go."""

    config_file: str = setting(
        FILE,
        "",
        "OpenTelemetry's configuration file, YAML or JSON. It needs the extra `declarative`: see "
        "[Configure](../how-to/configure.md#opentelemetrys-configuration-file).",
        "OTEL_CONFIG_FILE",
    )
    enabled: bool = setting(
        BOOLEAN, True, "`false`: `install()` returns at once and patches nothing.", "TRACING_ENABLED"
    )
    sdk_disabled: bool = setting(
        BOOLEAN, False, "`true`: the same, by OpenTelemetry's own variable.", "OTEL_SDK_DISABLED"
    )

    service_name: str = setting(
        TEXT,
        "",
        "The name of the service. Default: `service.name` of the resource attributes, else the program's name.",
        "OTEL_SERVICE_NAME",
    )
    service_version: str = setting(TEXT, "", "The version of the service: `service.version`.", "SERVICE_VERSION")
    environment: str = setting(TEXT, "", "Where the service runs: `deployment.environment.name`.", "ENVIRONMENT")
    resource_attributes: Mapping[str, AttributeValue] = setting(
        ATTRIBUTES,
        dict,
        "More attributes of the resource, which describe the service on every span. Those of variables and files are "
        "put together.",
        "OTEL_RESOURCE_ATTRIBUTES",
    )

    exporter: str = setting(
        choice("otlp", "jaeger", "console", "none"),
        "otlp",
        "Where spans go. `jaeger` is OTLP to `jaeger_host`. It is the default if only that host is given.",
        "OTEL_TRACES_EXPORTER",
        "TRACING_EXPORTER",
    )
    console: bool = setting(BOOLEAN, False, "Print every span on standard error as well.", "TRACING_CONSOLE")
    traces_endpoint: str = setting(
        URL,
        "",
        "The complete OTLP URL for traces. Nothing is appended: with HTTP it nearly always ends in `/v1/traces`.",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    )
    endpoint: str = setting(
        URL,
        "",
        "The OTLP base URL. For HTTP, `/v1/traces` is appended; a URL that ends in it already is used with a warning. "
        "Default: port 4318 (HTTP) or 4317 (gRPC) on localhost.",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTLP_ENDPOINT",
    )
    jaeger_host: str = setting(
        TEXT,
        "localhost",
        "The Jaeger host. The exporter `jaeger` sends there, whatever `endpoint` says.",
        "JAEGER_HOST",
    )
    jaeger_port: int | None = setting(
        PORT,
        None,
        "The OTLP port of the Jaeger host. 4317 means gRPC, 4318 HTTP, whatever `protocol` says. A port of a retired "
        "Jaeger protocol is replaced by the OTLP port.",
        "JAEGER_PORT",
    )
    protocol: str = setting(
        choice("http/protobuf", "grpc"),
        "http/protobuf",
        "The transport of OTLP. `grpc` needs the extra `grpc`.",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    )
    headers: Mapping[str, str] = setting(
        PAIRS,
        dict,
        "Headers of every export, such as credentials. They are read once, by `install()`: restart the program to use "
        "a new token. What could not be delivered meanwhile waits, see `spool_directory`.",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_HEADERS",
        secret=True,
    )
    timeout: float = setting(
        SECONDS,
        10.0,
        "How long one attempt to export may take.",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    )
    compression: str = setting(
        choice("none", "gzip", "deflate"),
        "none",
        "How exports are compressed. `deflate` works with HTTP only.",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    )
    certificate: str = setting(
        FILE,
        "",
        "A file of CA certificates, to check the collector's certificate against.",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
    )
    client_certificate: str = setting(
        FILE,
        "",
        "The client's certificate, for mutual TLS.",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    )
    client_key: str = setting(
        FILE,
        "",
        "The key of the client's certificate.",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    )
    insecure: bool | None = setting(
        BOOLEAN,
        None,
        "`false`: gRPC uses TLS even if the endpoint begins with `http://`. With `https://` it always does.",
        "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
        "OTEL_EXPORTER_OTLP_INSECURE",
    )

    metrics_exporter: str = setting(
        choice("otlp", "console", "none"),
        "none",
        "Where metrics go. A `MeterProvider` that is set before `install()` gets them in any case, unless this is set "
        "to `none`. `console` prints them on standard error. See [Metrics](metrics.md).",
        "OTEL_METRICS_EXPORTER",
    )
    metrics_endpoint: str = setting(
        URL,
        "",
        "The complete OTLP URL for metrics. Default: `endpoint`, with `/v1/metrics` appended for HTTP.",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    )
    metrics_interval: float = setting(
        MILLISECONDS, 60.0, "How often metrics are exported.", "OTEL_METRIC_EXPORT_INTERVAL"
    )
    metrics_temporality: str = setting(
        choice("cumulative", "delta", "lowmemory"),
        "cumulative",
        "What metrics count: since the start of the process, or since the export before.",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    )

    process_context: bool = setting(
        BOOLEAN,
        True,
        "Profilers outside of this process can read which service it is (OTEP 4719, on Linux): the attributes of the "
        "resource, in a mapping of memory that is called `OTEL_CTX`.",
        "TRACING_PROCESS_CONTEXT",
    )
    status_directory: str = setting(
        TEXT,
        "",
        "Where each process keeps a file `<pid>.json` with what `status()` says, for `causal-otel doctor --pid`. It is "
        "written by `install()` and every ten seconds, and removed at the end. Default: nowhere.",
        "TRACING_STATUS_DIRECTORY",
    )
