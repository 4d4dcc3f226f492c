"""Argument, variable, OpenTelemetry's file, ``pyproject.toml``: which of them counts, even if it uses other words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from causal_otel.configuration.in_force import SettingInForce, in_force
from causal_otel.destination import conflicts, destination
from causal_otel.load_settings import load_settings
from causal_otel.metrics.settings import for_metrics
from causal_otel.settings import SettingError, Settings, table

_FILE = {
    "file_format": "1.0",
    "resource": {"attributes": [{"name": "service.name", "value": "of the file"}, {"name": "a", "value": "file"}]},
    "propagator": {"composite": [{"tracecontext": None}]},
    "tracer_provider": {
        "processors": [{"batch": {"exporter": {"otlp_http": {"endpoint": "http://file:1/v1/traces"}}}}],
        "sampler": {"trace_id_ratio_based": {"ratio": 0.5}},
    },
    "meter_provider": {
        "readers": [
            {
                "periodic": {
                    "exporter": {"otlp_http": {"headers_list": "x=file", "endpoint": "http://file:1/v1/metrics"}}
                }
            }
        ]
    },
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "otel.yaml"
    path.write_text(yaml.safe_dump(_FILE))
    return str(path)


def _pyproject(directory: Path, lines: str) -> None:
    (directory / "pyproject.toml").write_text(f"[tool.causal_otel]\n{lines}\n")


def test_each_beats_those_below(tmp_path: Path, file: str) -> None:
    """A setting that all four give is the argument's, then the variable's, then the file's, then that of pyproject."""
    _pyproject(tmp_path, 'propagators = ["baggage"]')
    variables = {"OTEL_PROPAGATORS": "none"}
    both = {"OTEL_CONFIG_FILE": file}

    def propagators(variables: dict[str, str], **arguments: Any) -> tuple[str, ...]:
        return load_settings(variables, str(tmp_path), **arguments).propagators

    assert propagators(variables | both, propagators=["tracecontext", "baggage"]) == ("tracecontext", "baggage")
    assert propagators(variables | both) == ("none",)
    assert propagators(both) == ("tracecontext",)
    assert propagators({}) == ("baggage",)


def test_origins_are_named(tmp_path: Path, file: str) -> None:
    """What is in force is shown with the call, the variable, or the file and the path of the key in it."""
    _pyproject(tmp_path, "console = true\nheaders = {x-tenant = 'shop'}\nresource_attributes = {a = 'p', b = 'p'}")
    variables = {"OTEL_CONFIG_FILE": file, "OTEL_RESOURCE_ATTRIBUTES": "c=env"}
    shown = in_force(load_settings(variables, str(tmp_path), timeout=3), "install() at app.py:3")
    pyproject = f"{tmp_path}/pyproject.toml: tool.causal_otel"
    exporter = f"{file}: tracer_provider.processors[0].batch.exporter.otlp_http"
    found = {each.name: each for each in shown}
    assert found["timeout"] == SettingInForce("timeout", 3, "install() at app.py:3")
    assert found["config_file"].origin == "OTEL_CONFIG_FILE"
    assert found["console"] == SettingInForce("console", True, f"{pyproject}.console")
    assert str(found["traces_endpoint"]) == f"traces_endpoint = http://file:1/v1/traces ({exporter}.endpoint)"
    assert found["resource_attributes"].value == {"service.name": "of the file", "a": "file", "b": "p", "c": "env"}
    assert found["resource_attributes"].origin == (
        f"OTEL_RESOURCE_ATTRIBUTES and {file}: resource and {pyproject}.resource_attributes"
    )
    assert "headers" not in found, "the file's exporter has none, which is the default"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Headers and passwords are hidden wherever settings are shown; what is hidden is named."""
    _pyproject(tmp_path, "resource_attributes = {api_key = 'hunter22', team = 'red'}")
    variables = {"OTEL_EXPORTER_OTLP_HEADERS": "x-a=hunter22", "OTLP_ENDPOINT": "http://u:hunter22@c:1"}
    shown = [str(each) for each in in_force(load_settings(variables, str(tmp_path)))]
    assert shown == [
        f"resource_attributes = api_key=…,team=red ({tmp_path}/pyproject.toml: tool.causal_otel.resource_attributes)",
        "endpoint = http://…@c:1 (OTLP_ENDPOINT)",
        "headers = x-a=… (OTEL_EXPORTER_OTLP_HEADERS)",
    ]


@pytest.mark.parametrize(
    ("pyproject", "variables", "url"),
    [
        ('endpoint = "http://p:1"', {}, "http://p:1/v1/traces"),
        ('traces_endpoint = "http://p:1/x"', {"OTLP_ENDPOINT": "http://v:1"}, "http://v:1/v1/traces"),
        ('endpoint = "http://p:1"', {"JAEGER_HOST": "v"}, "http://v:4318/v1/traces"),
        ('exporter = "jaeger"\njaeger_host = "p"', {"OTLP_ENDPOINT": "http://v:1"}, "http://v:1/v1/traces"),
        ('exporter = "otlp"\nendpoint = "http://p:1"', {"JAEGER_HOST": "v"}, "http://v:4318/v1/traces"),
        ('exporter = "jaeger"\njaeger_host = "p"', {"JAEGER_PORT": "9999"}, "http://p:9999/v1/traces"),
        ('exporter = "jaeger"', {"JAEGER_HOST": "v"}, "http://v:4318/v1/traces"),
    ],
)
def test_where_spans_go_is_said_in_several_words(
    tmp_path: Path, pyproject: str, variables: dict[str, str], url: str
) -> None:
    """A variable that says where spans go replaces what the file says of that in other words, without a warning."""
    _pyproject(tmp_path, pyproject)
    settings = load_settings(variables, str(tmp_path))
    assert destination(settings)[1] == url
    assert conflicts(settings) == []


def test_exporters_that_go_nowhere_else_stay(tmp_path: Path) -> None:
    """The exporters ``console`` and ``none`` are no addresses: a variable with an endpoint does not replace them."""
    for exporter in ("console", "none"):
        _pyproject(tmp_path, f'exporter = "{exporter}"')
        assert load_settings({"OTLP_ENDPOINT": "http://v:1"}, str(tmp_path)).exporter == exporter


def test_a_variable_beats_the_files_endpoint(tmp_path: Path, file: str) -> None:
    """The base URL of a variable counts, although the file has the complete one, which is more special."""
    settings = load_settings({"OTEL_CONFIG_FILE": file, "OTLP_ENDPOINT": "http://v:1"}, str(tmp_path))
    assert destination(settings)[1] == "http://v:1/v1/traces"


def test_the_name_of_the_service_in_other_words(tmp_path: Path, file: str) -> None:
    """``service.name`` among the attributes of a source above replaces ``service_name`` below, and the other way."""
    _pyproject(tmp_path, 'service_name = "of pyproject"\nenvironment = "test"')

    def name(variables: dict[str, str]) -> object:
        settings = load_settings(variables, str(tmp_path))
        return settings.service_name or settings.resource_attributes.get("service.name")

    assert name({}) == "of pyproject"
    assert name({"OTEL_CONFIG_FILE": file}) == "of the file"
    assert name({"OTEL_CONFIG_FILE": file, "OTEL_RESOURCE_ATTRIBUTES": "service.name=of%20both"}) == "of both"
    assert name({"OTEL_CONFIG_FILE": file, "OTEL_SERVICE_NAME": "of the variable"}) == "of the variable"
    assert load_settings({"OTEL_CONFIG_FILE": file}, str(tmp_path)).environment == "test"


def test_a_sampler_takes_no_argument_from_below(tmp_path: Path, file: str) -> None:
    """The argument of a sampler is for the sampler that it was given with; one from above is for any."""
    _pyproject(tmp_path, 'sampler = "traceidratio"\nsampler_arg = 0.1')
    for variables, expected in (
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, ("jaeger_remote", None)),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, ("traceidratio", None)),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.2"}, ("traceidratio", 0.2)),
        ({"OTEL_CONFIG_FILE": file}, ("traceidratio", 0.5)),
        ({"OTEL_CONFIG_FILE": file, "OTEL_TRACES_SAMPLER_ARG": "0.2"}, ("traceidratio", 0.2)),
    ):
        settings = load_settings(variables, str(tmp_path))
        assert (settings.sampler, settings.sampler_arg) == expected


def test_a_sampling_file_says_what_is_sampled_as_well(tmp_path: Path, file: str) -> None:
    """A sampling file of a source above replaces the sampler below, and a sampler above the sampling file below."""
    rules = {"TRACING_SAMPLING_FILE": "rules.json"}
    settings = load_settings(rules | {"OTEL_CONFIG_FILE": file}, str(tmp_path))
    assert (settings.sampler, settings.sampler_arg, settings.sampling_file) == ("parentbased_rules", None, "rules.json")
    _pyproject(tmp_path, 'sampling_file = "rules.json"')
    for variables, expected in (
        ({"OTEL_TRACES_SAMPLER": "always_off"}, ""),
        ({"OTEL_TRACES_SAMPLER": "parentbased_rules"}, f"{tmp_path}/rules.json"),
        ({"OTEL_CONFIG_FILE": file}, ""),
        ({}, f"{tmp_path}/rules.json"),
    ):
        assert load_settings(variables, str(tmp_path)).sampling_file == expected


def test_conflicts_in_one_file_are_told(tmp_path: Path) -> None:
    """Two keys of one file that exclude each other are a warning that names both, as two variables are."""
    _pyproject(tmp_path, 'exporter = "jaeger"\nendpoint = "http://p:1"')
    path = f"{tmp_path}/pyproject.toml: tool.causal_otel"
    assert conflicts(load_settings({}, str(tmp_path))) == [
        f"{path}.endpoint=http://p:1 is not used, because of {path}.exporter=jaeger: remove one of the two"
    ]


def test_metrics_have_headers_of_their_own(tmp_path: Path, file: str) -> None:
    """Metrics are sent with the headers of pyproject, or those of their exporter in the file; a variable beats both."""
    _pyproject(tmp_path, "headers = {x = 'pyproject'}")
    variables = {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x=traces"}

    def headers(more: dict[str, str]) -> Any:
        variables_ = variables | more
        return for_metrics(load_settings(variables_, str(tmp_path)), variables_).headers

    assert headers({}) == {"x": "pyproject"}
    assert headers({"OTEL_CONFIG_FILE": file}) == {"x": "file"}
    assert headers({"OTEL_CONFIG_FILE": file, "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "x=metrics"}) == {"x": "metrics"}
    assert headers({"OTEL_CONFIG_FILE": file, "OTEL_EXPORTER_OTLP_HEADERS": "x=all"}) == {"x": "all"}


def test_the_file_may_be_named_anywhere(tmp_path: Path, file: str) -> None:
    """The file is that of the argument, the variable, or ``config_file`` of pyproject, relative to that."""
    _pyproject(tmp_path, 'config_file = "otel.yaml"')
    assert load_settings({}, str(tmp_path)).sampler_arg == 0.5
    assert load_settings({}, "/", config_file=file).sampler_arg == 0.5
    with pytest.raises(SettingError, match=r"^OTEL_CONFIG_FILE='/does/not/exist' is not allowed; it must be the path"):
        load_settings({"OTEL_CONFIG_FILE": "/does/not/exist"}, str(tmp_path))


def test_options_of_patches_are_put_together(tmp_path: Path) -> None:
    """Options of one patch may stand in both files: each option is that of the first file that has it."""
    own = {"patches": {"redis": {"keys": True}}}
    (tmp_path / "otel.yaml").write_text(yaml.safe_dump({"file_format": "1.0", "distribution": {"causal_otel": own}}))
    _pyproject(tmp_path, 'config_file = "otel.yaml"\npatches.redis = {keys = false, query_text = false}')
    options = load_settings({}, str(tmp_path)).patch_options["redis"]
    assert {name: given.value for name, given in options.items()} == {"keys": True, "query_text": False}


def test_nothing_given(tmp_path: Path) -> None:
    """Without any of them everything is as it is by default, and nothing is shown."""
    settings = load_settings({}, str(tmp_path))
    assert settings == Settings()
    assert in_force(settings) == ()
    shown = in_force(settings, defaults=True)
    assert {each.origin for each in shown} == {"default"}
    assert [each.name for each in shown] == [setting.name for setting in table()]


def test_what_follows_from_others_is_shown() -> None:
    """The exporter ``jaeger``, which nobody has named, is shown as implied."""
    assert [str(each) for each in in_force(load_settings({"JAEGER_HOST": "j"}, "/"))] == [
        "exporter = jaeger (implied)",
        "jaeger_host = j (JAEGER_HOST)",
    ]
