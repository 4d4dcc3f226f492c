"""OpenTelemetry's configuration file: what its keys are as settings, and that what we cannot do is refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml

from causal_otel.configuration.declarative import read_declarative
from causal_otel.configuration.source import Source
from causal_otel.settings import SettingError
from tests.without_packages import HIDE

_SPANS = "tracer_provider.processors[0].batch.exporter.otlp_http"

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


def _read(directory: Path, text: str, name: str = "otel.yaml") -> Source:
    path = directory / name
    path.write_text(text)
    return read_declarative(str(path))


def _traces(processors: object = None, **provider: object) -> str:
    """A file with these processors of spans, and more of its provider."""
    exporter: dict[str, Any] = {"batch": {"exporter": {"otlp_http": {}}}}
    content = {"processors": [exporter] if processors is None else processors, **provider}
    return yaml.safe_dump({"file_format": "1.0", "tracer_provider": content})


def test_everything_that_we_can_do(tmp_path: Path, pem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key that has a setting becomes that setting, with its path; nothing of this file is refused."""
    monkeypatch.setenv("TOKEN", "t0ken")
    source = _read(tmp_path, EVERYTHING.replace("FILE", pem))
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
    assert cited["headers"] == f"{_SPANS}.headers"
    assert cited["certificate"] == f"{_SPANS}.tls.ca_file"
    assert cited["console"] == "tracer_provider.processors[1].simple.exporter.console"
    assert cited["keep_errors"] == "distribution.causal_otel.keep_errors"
    assert source.patch_options["asgi"]["traceresponse"].cited == (
        f"{path}: instrumentation/development.python.asgi.traceresponse"
    )


def test_what_is_left_out_is_as_opentelemetry_says(tmp_path: Path) -> None:
    """A provider that is left out does nothing, and so does propagation; that is not our default."""
    source = _read(tmp_path, 'file_format: "1.0"')
    assert source.values == {"exporter": "none", "metrics_exporter": "none", "propagators": ("none",)}
    assert source.given["exporter"][0].name == "tracer_provider (absent)"


def test_what_an_exporter_leaves_out_is_its_default(tmp_path: Path) -> None:
    """An exporter without headers has none, whatever other sources have, and sends to this machine."""
    values = _read(tmp_path, _traces()).values
    assert (values["headers"], values["timeout"], values["compression"]) == ({}, 10.0, "none")
    assert values["traces_endpoint"] == "http://localhost:4318/v1/traces"
    assert (values["sampler"], "schedule_delay" in values) == ("parentbased_always_on", False)


def test_json(tmp_path: Path) -> None:
    """The file may be JSON as well."""
    values = _read(tmp_path, json.dumps({"file_format": "1.0", "disabled": True}), "otel.json").values
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
    assert values.items() <= _read(tmp_path, _traces(processors)).values.items()


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
    values = _read(tmp_path, _traces(sampler=sampler)).values
    assert (values["sampler"], values.get("sampler_arg")) == (name, argument)


_OTLP: dict[str, Any] = {"batch": {"exporter": {"otlp_http": {}}}}
_READER: dict[str, Any] = {"periodic": {"exporter": {"otlp_http": {}}}}
_NOTHING = "causal_otel has nothing like it"
_ONE = "each signal has one destination; a collector can send on to others"


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        ({"log_level": "debug"}, "log_level: set the level of the logger `causal_otel` of Python's logging"),
        ({"resource": {"schema_url": "https://s"}}, f"resource.schema_url: {_NOTHING}"),
        (
            {"resource": {"detection/development": {"detectors": [{"host": None}]}}},
            f"resource.detection/development: {_NOTHING}",
        ),
        ({"resource": {"attributes_list": "nonsense"}}, "resource.attributes_list: it must be key=value pairs"),
        ({"propagator": {"composite_list": "zipkin"}}, "propagator=('zipkin',) is not allowed; it must be names of"),
        ({"of_a_vendor": {"a": 1}}, f"of_a_vendor: {_NOTHING}"),
        ({"tracer_provider": {"processors": [_OTLP, _OTLP]}}, f"tracer_provider.processors[1].batch.exporter: {_ONE}"),
        (
            {"tracer_provider": {"processors": [{"batch": {"exporter": {"otlp_file/development": {}}}}]}},
            f"tracer_provider.processors[0].batch.exporter.otlp_file/development: {_NOTHING}",
        ),
        (
            {"tracer_provider": {"processors": [{"a_vendors": {}}]}},
            f"tracer_provider.processors[0].a_vendors: {_NOTHING}",
        ),
        (
            {"tracer_provider": {"processors": [{"batch": {"exporter": {"otlp_http": {"encoding": "json"}}}}]}},
            f"{_SPANS}.encoding: OTLP is sent as protobuf only",
        ),
        (
            {"tracer_provider": {"processors": [{"batch": {"exporter": {"otlp_http": {"timeout": 0}}}}]}},
            f"{_SPANS}.timeout=0.0 is not allowed; it must be a number of seconds, 0.001 to 86400",
        ),
        (
            {"tracer_provider": {"processors": [{"batch": {"exporter": {"otlp_http": {"tls": {"ca_file": "/no"}}}}}]}},
            f"{_SPANS}.tls.ca_file='/no' is not allowed; it must be the path of a readable file",
        ),
        (
            {
                "tracer_provider": {
                    "processors": [_OTLP],
                    "tracer_configurator/development": {"default_config": {"enabled": True}},
                }
            },
            f"tracer_provider.tracer_configurator/development: {_NOTHING}",
        ),
        (
            {"tracer_provider": {"processors": [_OTLP], "id_generator": {"a_vendors": {}}}},
            f"tracer_provider.id_generator.a_vendors: {_NOTHING}",
        ),
        (
            {"tracer_provider": {"processors": [_OTLP], "sampler": {"composite/development": {"rule_based": {}}}}},
            f"tracer_provider.sampler.composite/development.rule_based: {_NOTHING}",
        ),
        (
            {
                "tracer_provider": {
                    "processors": [_OTLP],
                    "sampler": {"parent_based": {"remote_parent_sampled": {"always_off": None}}},
                }
            },
            "tracer_provider.sampler.parent_based.remote_parent_sampled: it can be always_on only",
        ),
        (
            {"tracer_provider": {"processors": [_OTLP], "sampler": {"parent_based": {"root": {"parent_based": {}}}}}},
            "tracer_provider.sampler.parent_based.root: it is based on the parent once more",
        ),
        (
            {"meter_provider": {"readers": [{"pull": {"exporter": {"prometheus/development": {}}}}]}},
            f"meter_provider.readers[0].pull: {_NOTHING}",
        ),
        (
            {"meter_provider": {"readers": [{"periodic": {"timeout": 1, "exporter": {"otlp_http": {}}}}]}},
            "meter_provider.readers[0].periodic.timeout: set the timeout of the exporter",
        ),
        (
            {"meter_provider": {"readers": [{"periodic": {"exporter": {"console": {}}}}] * 2}},
            f"meter_provider.readers[1]: {_ONE}",
        ),
        (
            {"meter_provider": {"readers": [_READER], "views": [{"selector": {"unit": "s"}, "stream": {"name": "x"}}]}},
            f"meter_provider.views: {_NOTHING}",
        ),
        (
            {
                "meter_provider": {
                    "readers": [
                        {
                            "periodic": {
                                "exporter": {
                                    "otlp_http": {"default_histogram_aggregation": "base2_exponential_bucket_histogram"}
                                }
                            }
                        }
                    ]
                }
            },
            "meter_provider.readers[0].periodic.exporter.otlp_http.default_histogram_aggregation: it can be explicit_",
        ),
        (
            {"logger_provider": {"processors": [_OTLP]}},
            "logger_provider.processors[0].batch.exporter.otlp_http: log records are sent only where spans are sent by",
        ),
        (
            {"logger_provider": {"processors": [{"simple": {"exporter": {"console": {}}}}]}},
            f"logger_provider.processors[0].simple.exporter.console: {_NOTHING}",
        ),
        (
            {"tracer_provider": {"processors": [_OTLP]}, "logger_provider": {"processors": [_OTLP, _OTLP]}},
            f"logger_provider.processors[1].batch.exporter.otlp_http: {_ONE}",
        ),
        (
            {
                "tracer_provider": {"processors": [_OTLP]},
                "logger_provider": {
                    "processors": [{"batch": {"exporter": {"otlp_http": {"headers_list": "a=secret"}}}}]
                },
            },
            "logger_provider.processors[0].batch.exporter.otlp_http.headers: the exporter of log records must have the",
        ),
        (
            {
                "tracer_provider": {"processors": [_OTLP]},
                "logger_provider": {
                    "processors": [{"batch": {"schedule_delay": 7, "exporter": {"otlp_http": {}}}}],
                },
            },
            "logger_provider.processors[0].batch.schedule_delay: the batches of log records must have the",
        ),
        (
            {
                "tracer_provider": {"processors": [_OTLP]},
                "logger_provider": {"processors": [_OTLP], "limits": {"attribute_count_limit": 7}},
            },
            f"logger_provider.limits: {_NOTHING}",
        ),
        (
            {"instrumentation/development": {"general": {"http": {"client": {"known_methods": ["GET"]}}}}},
            f"instrumentation/development.general.http.client: {_NOTHING}",
        ),
        (
            {"instrumentation/development": {"general": {"stability_opt_in_list": "http/dup"}}},
            "instrumentation/development.general.stability_opt_in_list: only the stable conventions are followed",
        ),
    ],
)
def test_what_we_cannot_do_is_refused(tmp_path: Path, content: dict[str, Any], refused: str) -> None:
    """A key that we cannot do is refused by its path; no value of a header is repeated."""
    with pytest.raises(SettingError) as error:
        _read(tmp_path, yaml.safe_dump({"file_format": "1.0", **content}))
    first, line, *others, last = str(error.value).splitlines()
    assert first == f"{tmp_path}/otel.yaml asks for what causal_otel does not do:"
    assert line.startswith(f"  {refused}")
    assert (others, last.startswith("Take these keys out of the file, or ")) == ([], True)
    assert "secret" not in str(error.value).replace("it may hold a secret", "")


def test_all_refusals_are_told_at_once(tmp_path: Path) -> None:
    """One error lists every key that is refused, so that the file is mended in one go."""
    content = {
        "file_format": "1.0",
        "log_level": "debug",
        "resource": {"schema_url": "https://s"},
        "attribute_limits": {"attribute_count_limit": 3_000_000_000},
        "meter_provider": {"readers": [_READER], "exemplar_filter": "always_on"},
    }
    with pytest.raises(SettingError) as error:
        _read(tmp_path, yaml.safe_dump(content))
    lines = str(error.value).splitlines()[1:-1]
    assert [line.split(":")[0].split("=")[0].strip() for line in lines] == [
        "log_level",
        "attribute_limits.attribute_count_limit",
        "resource.schema_url",
        "meter_provider.exemplar_filter",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_format: [", "it is not YAML: expected the node content, but found "),
        ("", "Configuration file is empty"),
        ("- a", "Configuration must be a mapping/object, got list"),
        ("resource: {}", "Configuration does not match schema: 'file_format' is a required property"),
        ('file_format: "0.4"', "Unsupported file_format '0.4'"),
        ('file_format: "1.0"\ndisabled: 5', "Configuration does not match schema: 5 is not "),
        ('file_format: "1.0"\ntracer_provider: {}', "Configuration does not match schema: 'processors' is a required"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path: Path, text: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is no such file is refused by its path and what is wrong, once: nothing is logged beside."""
    with pytest.raises(SettingError) as error:
        _read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path}/otel.yaml: {message}")
    assert caplog.records == []


@pytest.mark.parametrize(
    "text",
    [
        "tracer_provider: {processors: [{simple: {exporter: {otlp_http: {headers: {authorization: hunter22}}}}}]}",
        "tracer_provider: {processors: [{simple: {exporter: {otlp_http: {headers: hunter22}}}}]}",
        "tracer_provider: {processors: [{simple: {exporter: {otlp_http: {headers_list: a=hunter22}, console: {}}}}]}",
        "tracer_provider: {processors: [{simple: {exporter: {otlp_http: {endpoint: [https://u:hunter22@c]}}}}]}",
        "resource: {attributes: [{name: a, value: {api_key: hunter22}}]}",
        "resource: {attributes_list: api_key=hunter22,nonsense}",
        "distribution: {causal_otel: {headers: [hunter22]}}",
        "distribution: {causal_otel: {resource_attributes: {api_key: [hunter22, 5]}}}",
        "x: {a: hunter22}}",
    ],
)
def test_no_secret_is_repeated(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with a file, what it says of headers, passwords and keys is in no message and no cause."""
    with pytest.raises(SettingError) as error:
        _read(tmp_path, f"file_format: '1.0'\n{text}\n")
    assert "hunter22" not in "".join(traceback.format_exception(error.value)).replace(text, "")


def test_our_own_settings_in_it(tmp_path: Path) -> None:
    """``distribution.causal_otel`` has all of ours; they count before what the file says in OpenTelemetry's words."""
    own = {"sampler": "parentbased_rules", "patches": {"redis": {"keys": True}}}
    content = yaml.safe_load(_traces(sampler={"always_off": None})) | {"distribution": {"causal_otel": own}}
    source = _read(tmp_path, yaml.safe_dump(content))
    assert source.values["sampler"] == "parentbased_rules"
    assert source.patch_options["redis"]["keys"].value is True
    with pytest.raises(SettingError, match=r"distribution\.causal_otel\.smapler: there is no such setting; did you"):
        _read(tmp_path, yaml.safe_dump({"file_format": "1.0", "distribution": {"causal_otel": {"smapler": 1}}}))


def test_without_the_extra(tmp_path: Path) -> None:
    """Where the extra is not installed, the file is refused with what to install."""
    path = tmp_path / "otel.yaml"
    path.write_text('file_format: "1.0"')
    code = HIDE + "import causal_otel\ntry: causal_otel.install()\nexcept causal_otel.SettingError as e: print(e)"
    done = subprocess.run(
        [sys.executable, "-c", code, "opentelemetry.configuration"],
        env={"OTEL_CONFIG_FILE": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith(
        f"{path} cannot be read: opentelemetry.configuration cannot be imported; install the extra declarative: "
    ), done.stderr
