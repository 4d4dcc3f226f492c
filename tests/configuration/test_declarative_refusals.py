"""OpenTelemetry's configuration file: what we cannot do is refused by name, and so is what is no such file."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml

from causal_otel.settings import SettingError
from tests.configuration.declarative_files import OTLP, SPANS, read
from tests.without_packages import HIDE

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
        ({"tracer_provider": {"processors": [OTLP, OTLP]}}, f"tracer_provider.processors[1].batch.exporter: {_ONE}"),
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
            f"{SPANS}.encoding: OTLP is sent as protobuf only",
        ),
        (
            {"tracer_provider": {"processors": [{"batch": {"exporter": {"otlp_http": {"timeout": 0}}}}]}},
            f"{SPANS}.timeout=0.0 is not allowed; it must be a number of seconds, 0.001 to 86400",
        ),
        (
            {"tracer_provider": {"processors": [{"batch": {"exporter": {"otlp_http": {"tls": {"ca_file": "/no"}}}}}]}},
            f"{SPANS}.tls.ca_file='/no' is not allowed; it must be the path of a readable file",
        ),
        (
            {
                "tracer_provider": {
                    "processors": [OTLP],
                    "tracer_configurator/development": {"default_config": {"enabled": True}},
                }
            },
            f"tracer_provider.tracer_configurator/development: {_NOTHING}",
        ),
        (
            {"tracer_provider": {"processors": [OTLP], "id_generator": {"a_vendors": {}}}},
            f"tracer_provider.id_generator.a_vendors: {_NOTHING}",
        ),
        (
            {"tracer_provider": {"processors": [OTLP], "sampler": {"composite/development": {"rule_based": {}}}}},
            f"tracer_provider.sampler.composite/development.rule_based: {_NOTHING}",
        ),
        (
            {
                "tracer_provider": {
                    "processors": [OTLP],
                    "sampler": {"parent_based": {"remote_parent_sampled": {"always_off": None}}},
                }
            },
            "tracer_provider.sampler.parent_based.remote_parent_sampled: it can be always_on only",
        ),
        (
            {"tracer_provider": {"processors": [OTLP], "sampler": {"parent_based": {"root": {"parent_based": {}}}}}},
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
            {"logger_provider": {"processors": [OTLP]}},
            "logger_provider.processors[0].batch.exporter.otlp_http: log records are sent only where spans are sent by",
        ),
        (
            {"logger_provider": {"processors": [{"simple": {"exporter": {"console": {}}}}]}},
            f"logger_provider.processors[0].simple.exporter.console: {_NOTHING}",
        ),
        (
            {"tracer_provider": {"processors": [OTLP]}, "logger_provider": {"processors": [OTLP, OTLP]}},
            f"logger_provider.processors[1].batch.exporter.otlp_http: {_ONE}",
        ),
        (
            {
                "tracer_provider": {"processors": [OTLP]},
                "logger_provider": {
                    "processors": [{"batch": {"exporter": {"otlp_http": {"headers_list": "a=secret"}}}}]
                },
            },
            "logger_provider.processors[0].batch.exporter.otlp_http.headers: the exporter of log records must have the",
        ),
        (
            {
                "tracer_provider": {"processors": [OTLP]},
                "logger_provider": {
                    "processors": [{"batch": {"schedule_delay": 7, "exporter": {"otlp_http": {}}}}],
                },
            },
            "logger_provider.processors[0].batch.schedule_delay: the batches of log records must have the",
        ),
        (
            {
                "tracer_provider": {"processors": [OTLP]},
                "logger_provider": {"processors": [OTLP], "limits": {"attribute_count_limit": 7}},
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
        read(tmp_path, yaml.safe_dump({"file_format": "1.0", **content}))
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
        read(tmp_path, yaml.safe_dump(content))
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
        read(tmp_path, text)
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
        read(tmp_path, f"file_format: '1.0'\n{text}\n")
    assert "hunter22" not in "".join(traceback.format_exception(error.value)).replace(text, "")


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
