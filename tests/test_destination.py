"""Where spans go: one URL of all that says so, and a sentence for what is given in vain."""

from __future__ import annotations

import logging

import pytest

from causal_otel.destination import conflicts, destination
from causal_otel.load_settings import load_settings


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("http/protobuf", "http://localhost:4318/v1/traces")),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ("grpc", "http://localhost:4317")),
        ({"OTLP_ENDPOINT": "http://c:1"}, ("http/protobuf", "http://c:1/v1/traces")),
        ({"OTLP_ENDPOINT": "http://c:1/base/"}, ("http/protobuf", "http://c:1/base/v1/traces")),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x"}, ("http/protobuf", "http://c:1/x")),
        ({"TRACING_EXPORTER": "jaeger"}, ("http/protobuf", "http://localhost:4318/v1/traces")),
        ({"TRACING_EXPORTER": "jaeger", "JAEGER_HOST": "j"}, ("http/protobuf", "http://j:4318/v1/traces")),
        ({"TRACING_EXPORTER": "jaeger", "JAEGER_HOST": "::1"}, ("http/protobuf", "http://[::1]:4318/v1/traces")),
        ({"TRACING_EXPORTER": "jaeger", "JAEGER_PORT": "4317"}, ("grpc", "http://localhost:4317")),
        ({"TRACING_EXPORTER": "jaeger", "JAEGER_PORT": "9999"}, ("http/protobuf", "http://localhost:9999/v1/traces")),
        ({"JAEGER_HOST": "j"}, ("http/protobuf", "http://j:4318/v1/traces")),
        ({"JAEGER_PORT": "4317"}, ("grpc", "http://localhost:4317")),
        ({"JAEGER_PORT": "4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ("grpc", "http://localhost:4317")),
        ({"JAEGER_PORT": "9999", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ("grpc", "http://localhost:9999")),
    ],
)
def test_destination(environ: dict[str, str], expected: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """Endpoint, Jaeger host and protocol give one URL, without a warning."""
    settings = load_settings(environ)
    assert (destination(settings), conflicts(settings)) == (expected, [])
    assert caplog.records == []


@pytest.mark.parametrize(
    ("used", "unused", "url"),
    [
        ("TRACING_EXPORTER=jaeger JAEGER_HOST=j", "OTLP_ENDPOINT=http://c:1", "http://j:4318/v1/traces"),
        (
            "TRACING_EXPORTER=jaeger",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://u:s3cret@c:1/x",
            "http://localhost:4318/v1/traces",
        ),
        ("OTLP_ENDPOINT=http://c:1", "JAEGER_HOST=j", "http://c:1/v1/traces"),
        ("OTEL_TRACES_EXPORTER=otlp", "JAEGER_HOST=j", "http://localhost:4318/v1/traces"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1", "OTLP_ENDPOINT=http://b:1", "http://a:1/v1/traces"),
        ("OTEL_TRACES_EXPORTER=otlp", "TRACING_EXPORTER=console", "http://localhost:4318/v1/traces"),
        ("JAEGER_PORT=4318 JAEGER_HOST=j", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "http://j:4318/v1/traces"),
        ("JAEGER_PORT=4317", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "http://localhost:4317"),
    ],
)
def test_conflict_is_told(used: str, unused: str, url: str) -> None:
    """Where two things say where spans go, one is used, and a sentence names both, without credentials."""
    settings = load_settings(dict(variable.split("=", 1) for variable in (*used.split(), unused)))
    assert destination(settings)[1] == url
    assert conflicts(settings) == [
        f"{unused.replace('u:s3cret', '…')} is not used, because of {used.split()[0]}: remove one of the two"
    ]


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"OTLP_ENDPOINT": "http://u:s3cret@c:1/v1/traces"}, "http://u:s3cret@c:1/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/base/v1/traces/"}, "http://c:1/base/v1/traces"),
    ],
)
def test_endpoint_that_is_complete_already(environ: dict[str, str], url: str) -> None:
    """A base URL that ends in /v1/traces is used as it is, and a sentence says so, without credentials."""
    settings = load_settings(environ)
    assert destination(settings) == ("http/protobuf", url)
    ((name, value),) = environ.items()
    (sentence,) = conflicts(settings)
    assert sentence == (
        f"{name}={value.replace('u:s3cret', '…')} ends in /v1/traces, which is not appended once more: give the base "
        "URL alone, or all of it in OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    )


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/v1/traces"},
        {"OTLP_ENDPOINT": "http://c:1/v1/traces", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTLP_ENDPOINT": "http://c:1/v1/traces", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_complete_endpoint_where_it_is_right(environ: dict[str, str]) -> None:
    """For traces alone the URL is to be complete, gRPC reads no path, and where nothing is sent there is none."""
    assert conflicts(load_settings(environ)) == []


@pytest.mark.parametrize("exporter", ["console", "none"])
def test_no_conflict_where_nothing_is_sent(exporter: str) -> None:
    """An endpoint beside the exporters ``console`` and ``none`` is no conflict: that is how one switches export off."""
    environ = {"OTEL_TRACES_EXPORTER": exporter, "JAEGER_HOST": "j", "OTLP_ENDPOINT": "http://c:1"}
    assert conflicts(load_settings(environ)) == []


@pytest.mark.parametrize("port", [5775, 6831, 6832, 14250, 14268])
def test_retired_jaeger_port_becomes_otlp(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """A port of a retired Jaeger protocol is mapped to OTLP's with one warning that names both."""
    settings = load_settings({"TRACING_EXPORTER": "jaeger", "JAEGER_HOST": "j", "JAEGER_PORT": str(port)})
    with caplog.at_level(logging.WARNING):
        assert destination(settings) == ("http/protobuf", "http://j:4318/v1/traces")
    (record,) = caplog.records
    assert record.getMessage() == (
        f"causal_otel: JAEGER_PORT={port} is not a port that OTLP over http/protobuf can be sent to; "
        "using port 4318 of j: set JAEGER_PORT=4318"
    )
