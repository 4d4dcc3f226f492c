"""OpenTelemetry's configuration file: what its keys are as settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from causal_otel.settings import SettingError
from tests.configuration.declarative_files import SPANS, of_traces, read

EVERYTHING = """
file_format: "1.0"
disabled: false
log_level: info
attribute_limits:
  attribute_value_length_limit: 4096
  attribute_count_limit: 100
resource:
  attributes:
    - name: service.name
      value: shop
    - {name: replicas, value: 3, type: int}
    - {name: version, value: 1.5, type: string}
    - {name: share, value: 1, type: double}
    - {name: zones, value: [a, b], type: string_array}
    - name: unset
      value: ${NOT_SET}
  attributes_list: "team=red,service.name=beaten"
propagator:
  composite:
    - tracecontext:
    - baggage:
  composite_list: "baggage"
tracer_provider:
  processors:
    - batch:
        schedule_delay: 2500
        export_timeout: 20000
        max_queue_size: 4096
        max_export_batch_size: 256
        exporter:
          otlp_http:
            endpoint: ${ENDPOINT:-https://traces.example/v1/traces}
            tls:
              ca_file: FILE
              key_file: FILE
              cert_file: FILE
            headers:
              - name: authorization
                value: Bearer ${TOKEN}
            headers_list: "x-tenant=shop"
            compression: gzip
            timeout: 5000
            encoding: protobuf
    - simple:
        exporter:
          console:
  limits:
    attribute_value_length_limit: 2048
    attribute_count_limit: 64
    event_count_limit: 32
    link_count_limit: 16
    event_attribute_count_limit: 8
    link_attribute_count_limit: 4
  sampler:
    parent_based:
      root:
        trace_id_ratio_based:
          ratio: 0.25
      remote_parent_sampled:
        always_on:
      remote_parent_not_sampled:
        always_off:
      local_parent_sampled:
        always_on:
      local_parent_not_sampled:
        always_off:
  id_generator:
    random:
meter_provider:
  readers:
    - periodic:
        interval: 15000
        timeout: 30000
        exporter:
          otlp_grpc:
            endpoint: metrics.example:4317
            tls:
              insecure: true
            compression: gzip
            headers:
              - {name: x-tenant, value: metrics}
            temporality_preference: low_memory
            default_histogram_aggregation: explicit_bucket_histogram
logger_provider:
  processors:
    - batch:
        exporter:
          otlp_http:
            endpoint: https://logs.example/v1/logs
            tls:
              ca_file: FILE
              key_file: FILE
              cert_file: FILE
            headers:
              - name: authorization
                value: Bearer ${TOKEN}
            headers_list: "x-tenant=shop"
            compression: gzip
            timeout: 5000
instrumentation/development:
  general:
    http:
      server:
        request_captured_headers: [x-tenant]
        response_captured_headers: [x-served-by]
    stability_opt_in_list: http,database
  python:
    fastapi:
      traceresponse: false
    redis:
      enabled: false
  java:
    anything: {at: all}
distribution:
  causal_otel:
    keep_errors: process
    spool_directory: spool
  another_vendor:
    key: value
"""


@pytest.fixture
def pem(tmp_path: Path) -> str:
    file = tmp_path / "file.pem"
    file.write_text("x")
    return str(file)


def test_everything_that_we_can_do(tmp_path: Path, pem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key that has a setting becomes that setting, with its path; nothing of this file is refused."""
    monkeypatch.setenv("TOKEN", "t0ken")
    source = read(tmp_path, EVERYTHING.replace("FILE", pem))
    assert source.values == {
        "sdk_disabled": False,
        "attribute_value_length_limit": 4096,
        "attribute_count_limit": 100,
        "resource_attributes": {
            "team": "red",
            "service.name": "shop",
            "replicas": 3,
            "version": "1.5",
            "share": 1.0,
            "zones": ["a", "b"],
        },
        "propagators": ("tracecontext", "baggage"),
        "exporter": "otlp",
        "console": True,
        "traces_endpoint": "https://traces.example/v1/traces",
        "protocol": "http/protobuf",
        "headers": {"x-tenant": "shop", "authorization": "Bearer t0ken"},
        "timeout": 5.0,
        "compression": "gzip",
        "certificate": pem,
        "client_certificate": pem,
        "client_key": pem,
        "schedule_delay": 2.5,
        "export_timeout": 20.0,
        "max_queue_size": 4096,
        "max_export_batch_size": 256,
        "span_attribute_value_length_limit": 2048,
        "span_attribute_count_limit": 64,
        "span_event_count_limit": 32,
        "span_link_count_limit": 16,
        "event_attribute_count_limit": 8,
        "link_attribute_count_limit": 4,
        "sampler": "parentbased_traceidratio",
        "sampler_arg": 0.25,
        "metrics_exporter": "otlp",
        "metrics_endpoint": "http://metrics.example:4317",
        "metrics_interval": 15.0,
        "metrics_temporality": "lowmemory",
        "logs": "export",
        "logs_endpoint": "https://logs.example/v1/logs",
        "request_headers": ("x-tenant",),
        "response_headers": ("x-served-by",),
        "patches": ("-redis",),
        "keep_errors": "process",
        "spool_directory": str(tmp_path / "spool"),
    }
    assert source.of_metrics == {
        "protocol": "grpc",
        "headers": {"x-tenant": "metrics"},
        "timeout": 10.0,
        "compression": "gzip",
        "certificate": "",
        "client_certificate": "",
        "client_key": "",
        "insecure": None,
    }
    path = tmp_path / "otel.yaml"
    cited = {name: given.cited.removeprefix(f"{path}: ") for name, (given,) in source.given.items()}
    assert cited["headers"] == f"{SPANS}.headers"
    assert cited["certificate"] == f"{SPANS}.tls.ca_file"
    assert cited["console"] == "tracer_provider.processors[1].simple.exporter.console"
    assert cited["keep_errors"] == "distribution.causal_otel.keep_errors"
    assert source.patch_options["asgi"]["traceresponse"].cited == (
        f"{path}: instrumentation/development.python.asgi.traceresponse"
    )


def test_what_is_left_out_is_as_opentelemetry_says(tmp_path: Path) -> None:
    """A provider that is left out does nothing, and so does propagation; that is not our default."""
    source = read(tmp_path, 'file_format: "1.0"')
    assert source.values == {"exporter": "none", "metrics_exporter": "none", "propagators": ("none",)}
    assert source.given["exporter"][0].name == "tracer_provider (absent)"


def test_what_an_exporter_leaves_out_is_its_default(tmp_path: Path) -> None:
    """An exporter without headers has none, whatever other sources have, and sends to this machine."""
    values = read(tmp_path, of_traces()).values
    assert (values["headers"], values["timeout"], values["compression"]) == ({}, 10.0, "none")
    assert values["traces_endpoint"] == "http://localhost:4318/v1/traces"
    assert (values["sampler"], "schedule_delay" in values) == ("parentbased_always_on", False)


def test_json(tmp_path: Path) -> None:
    """The file may be JSON as well."""
    values = read(tmp_path, json.dumps({"file_format": "1.0", "disabled": True}), "otel.json").values
    assert values == {"sdk_disabled": True, "exporter": "none", "metrics_exporter": "none", "propagators": ("none",)}


_CONSOLE: dict[str, Any] = {"simple": {"exporter": {"console": {}}}}


@pytest.mark.parametrize(
    ("processors", "values"),
    [
        ([_CONSOLE], {"exporter": "console"}),
        ([{"batch": {"exporter": {"console": None}}}], {"exporter": "console"}),
        (
            [{"simple": {"exporter": {"otlp_http": {}}}}],
            {"exporter": "otlp", "protocol": "http/protobuf", "schedule_delay": 0.001},
        ),
        (
            [{"batch": {"exporter": {"otlp_grpc": {}}}}],
            {"exporter": "otlp", "protocol": "grpc", "traces_endpoint": "http://localhost:4317"},
        ),
        (
            [{"batch": {"exporter": {"otlp_grpc": {"endpoint": "c:4317", "tls": {"insecure": True}}}}}],
            {"traces_endpoint": "http://c:4317"},
        ),
        (
            [{"batch": {"exporter": {"otlp_grpc": {"endpoint": "c:4317"}}}}],
            {"traces_endpoint": "https://c:4317"},
        ),
    ],
)
def test_processors(tmp_path: Path, processors: Any, values: dict[str, Any]) -> None:
    """Processors and exporters of spans, alone."""
    assert values.items() <= read(tmp_path, of_traces(processors)).values.items()


_RATIO = {"trace_id_ratio_based": {"ratio": 0.1}}


@pytest.mark.parametrize(
    ("sampler", "name", "argument"),
    [
        ({"always_on": None}, "always_on", None),
        ({"always_off": {}}, "always_off", None),
        (_RATIO, "traceidratio", 0.1),
        ({"trace_id_ratio_based": None}, "traceidratio", 1.0),
        ({"probability/development": {"ratio": 1}}, "traceidratio", 1.0),
        ({"parent_based": {"root": _RATIO}}, "parentbased_traceidratio", 0.1),
        ({"parent_based": {"root": {"always_off": None}}}, "parentbased_always_off", None),
        ({"parent_based": {}}, "parentbased_always_on", None),
        ({"composite/development": {"probability": {"ratio": 0.5}}}, "traceidratio", 0.5),
        (
            {"composite/development": {"parent_threshold": {"root": {"probability": {"ratio": 0.5}}}}},
            "parentbased_traceidratio",
            0.5,
        ),
        (
            {"jaeger_remote/development": {"endpoint": "http://j:5778", "interval": 1000, "initial_sampler": _RATIO}},
            "jaeger_remote",
            "endpoint=http://j:5778,pollingIntervalMs=1000,initialSamplingRate=0.1",
        ),
        (
            {
                "parent_based": {
                    "root": {
                        "jaeger_remote/development": {
                            "endpoint": "http://j:5778",
                            "initial_sampler": {"always_on": None},
                        }
                    }
                }
            },
            "parentbased_jaeger_remote",
            "endpoint=http://j:5778,initialSamplingRate=1.0",
        ),
    ],
)
def test_samplers(tmp_path: Path, sampler: Any, name: str, argument: object) -> None:
    """Samplers that ours can do, with their arguments."""
    values = read(tmp_path, of_traces(sampler=sampler)).values
    assert (values["sampler"], values.get("sampler_arg")) == (name, argument)


def test_our_own_settings_in_it(tmp_path: Path) -> None:
    """``distribution.causal_otel`` has all of ours; they count before what the file says in OpenTelemetry's words."""
    own = {"sampler": "parentbased_rules", "patches": {"redis": {"keys": True}}}
    content = yaml.safe_load(of_traces(sampler={"always_off": None})) | {"distribution": {"causal_otel": own}}
    source = read(tmp_path, yaml.safe_dump(content))
    assert source.values["sampler"] == "parentbased_rules"
    assert source.patch_options["redis"]["keys"].value is True
    with pytest.raises(SettingError, match=r"distribution\.causal_otel\.smapler: there is no such setting; did you"):
        read(tmp_path, yaml.safe_dump({"file_format": "1.0", "distribution": {"causal_otel": {"smapler": 1}}}))
