"""Every setting: read from its variables and its argument, and refused with a helpful message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import causal_otel
from causal_otel._internal.setting_types import FILE, remote_sampler
from causal_otel.load_settings import load_settings, unread_variables
from causal_otel.setting_arguments import SettingArguments
from causal_otel.settings import SettingError, Settings, table

GOOD: dict[str, tuple[str, Any]] = {
    "enabled": ("False", False),
    "sdk_disabled": ("true", True),
    "service_name": ("shop", "shop"),
    "service_version": ("1.2.3", "1.2.3"),
    "environment": ("staging", "staging"),
    "resource_attributes": ("team=red,site=a%2Cb", {"team": "red", "site": "a,b"}),
    "exporter": ("Jaeger", "jaeger"),
    "console": ("1", True),
    "traces_endpoint": ("https://c:1/x", "https://c:1/x"),
    "endpoint": ("http://c:4318", "http://c:4318"),
    "jaeger_host": ("jaeger", "jaeger"),
    "jaeger_port": ("4318", 4318),
    "protocol": ("grpc", "grpc"),
    "headers": ("authorization=Bearer%20x, k = v", {"authorization": "Bearer x", "k": "v"}),
    "timeout": ("2.5", 2.5),
    "compression": ("gzip", "gzip"),
    "insecure": ("true", True),
    "sampler": ("traceidratio", "traceidratio"),
    "metrics_exporter": ("OTLP", "otlp"),
    "metrics_endpoint": ("http://c:4318/v1/metrics", "http://c:4318/v1/metrics"),
    "metrics_interval": ("1500", 1.5),
    "metrics_temporality": ("Delta", "delta"),
    "sampler_arg": ("0.25", 0.25),
    "sampling_file": ("https://c:1/strategies.json", "https://c:1/strategies.json"),
    "keep_errors": ("Process", "process"),
    "keep_slow": ("1.5", 1.5),
    "keep_max_traces": ("7", 7),
    "keep_max_spans": ("7", 7),
    "keep_max_bytes": ("7", 7),
    "keep_max_age": ("60", 60.0),
    "keep_linger": ("2", 2.0),
    "schedule_delay": ("250", 0.25),
    "max_queue_size": ("10", 10),
    "max_export_batch_size": ("5", 5),
    "export_timeout": ("1500", 1.5),
    "exit_timeout": ("2", 2.0),
    "spool_directory": ("/var/spool/x", "/var/spool/x"),
    "spool_max_bytes": ("1000000", 1_000_000),
    "attribute_count_limit": ("7", 7),
    "attribute_value_length_limit": ("7", 7),
    "span_attribute_count_limit": ("0", 0),
    "span_attribute_value_length_limit": ("7", 7),
    "span_event_count_limit": ("7", 7),
    "span_link_count_limit": ("7", 7),
    "event_attribute_count_limit": ("7", 7),
    "link_attribute_count_limit": ("7", 7),
    "patches": ("redis, asgi", ("redis", "asgi")),
    "disabled_patches": ("redis, urllib3", ("redis", "urllib3")),
    "require_parent": ("true", True),
    "slow_plumbing": ("0.25", 0.25),
    "task_edges": ("false", False),
    "cpu_time": ("false", False),
    "code_origin": ("true", True),
    "lock_waits": ("false", False),
    "loop_block_threshold": ("0.25", 0.25),
    "profiling": ("true", True),
    "profiling_rate": ("50", 50.0),
    "process_context": ("false", False),
    "excluded_urls": ("/health, /u/{id}/*,api.example.com:81/**", ("/health", "/u/{id}/*", "api.example.com:81/**")),
    "excluded_tasks": ("reports.*, beat", ("reports.*", "beat")),
    "request_headers": ("X-Tenant, accept", ("X-Tenant", "accept")),
    "response_headers": ("x-served-by", ("x-served-by",)),
    "trusted_proxies": ("10.0.0.0/8, ::1, unix", ("10.0.0.0/8", "::1", "unix")),
    "instrumentors": ("all, -jinja2", ("all", "-jinja2")),
    "propagators": ("baggage , tracecontext", ("baggage", "tracecontext")),
    "baggage_hosts": ("*.example.com, internal", ("*.example.com", "internal")),
    "baggage_max_bytes": ("0", 0),
    "redact": ("-card, -jwt", ("-card", "-jwt")),
    "redact_keys": ("iban, customer.name", ("iban", "customer.name")),
    "redact_patterns": (r"\bEMP\d{6}\b  x{8}", (r"\bEMP\d{6}\b", "x{8}")),
    "logs": ("Off", "off"),
    "logs_level": ("WARNING", "warning"),
    "logs_endpoint": ("https://c:1/x", "https://c:1/x"),
    "status_directory": ("/run/shop", "/run/shop"),
}
BAD: dict[str, str] = {
    "config_file": "/does/not/exist",
    "logs": "all",
    "logs_level": "30",
    "logs_endpoint": "c:4318",
    "enabled": "maybe",
    "sdk_disabled": "2",
    "resource_attributes": "novalue",
    "exporter": "zipkin",
    "console": "x",
    "traces_endpoint": "collector:4318",
    "endpoint": "ftp://c",
    "jaeger_port": "70000",
    "protocol": "http/json",
    "headers": "s3cret",
    "timeout": "-1",
    "compression": "br",
    "certificate": "/does/not/exist",
    "client_certificate": "/does/not/exist",
    "client_key": "/does/not/exist",
    "insecure": "perhaps",
    "sampler": "always",
    "metrics_exporter": "prometheus",
    "metrics_endpoint": "c:4318",
    "metrics_interval": "0",
    "metrics_temporality": "rising",
    "sampler_arg": "1.5",
    "sampling_file": "ftp://c/strategies.json",
    "keep_errors": "maybe",
    "keep_slow": "0",
    "keep_max_traces": "0",
    "keep_max_spans": "1_000",
    "keep_max_bytes": "-1",
    "keep_max_age": "x",
    "keep_linger": "-1",
    "schedule_delay": "0",
    "max_queue_size": "0",
    "max_export_batch_size": "many",
    "export_timeout": "nan",
    "exit_timeout": "forever",
    "spool_max_bytes": "0",
    "attribute_count_limit": "-1",
    "attribute_value_length_limit": "x",
    "span_attribute_count_limit": "1.5",
    "span_attribute_value_length_limit": "-3",
    "span_event_count_limit": "x",
    "span_link_count_limit": "x",
    "event_attribute_count_limit": "x",
    "link_attribute_count_limit": "x",
    "patches": "redis,-asgi",
    "require_parent": "perhaps",
    "slow_plumbing": "-1",
    "task_edges": "perhaps",
    "cpu_time": "perhaps",
    "code_origin": "2",
    "instrumentors": "requests sqlite3",
    "lock_waits": "perhaps",
    "loop_block_threshold": "0.001",
    "profiling": "perhaps",
    "profiling_rate": "0",
    "process_context": "perhaps",
    "excluded_urls": "health",
    "excluded_tasks": ",",
    "request_headers": "x-tenant,authorization",
    "response_headers": "Set-Cookie",
    "trusted_proxies": "10.0.0.1/8",
    "propagators": "tracecontext,zipkin",
    "baggage_hosts": "http://example.com/",
    "baggage_max_bytes": "8193",
    "redact": "cards",
    "redact_keys": "iban,--",
    "redact_patterns": "(unclosed",
}
FREE_TEXT = {
    *("disabled_patches", "service_name", "service_version", "environment", "jaeger_host", "spool_directory"),
    "status_directory",
}
FILES = {"certificate", "client_certificate", "client_key", "config_file"}
VARIABLES = [(setting.name, name) for setting in table() for name in setting.metadata["variables"]]


def test_tables_are_complete() -> None:
    """Every setting has a good example and a bad one here, but for those that cannot have one."""
    names = {setting.name for setting in table()}
    assert names == GOOD.keys() | FILES
    assert names == BAD.keys() | FREE_TEXT


@pytest.mark.parametrize(("name", "variable"), VARIABLES)
def test_variable_is_read(name: str, variable: str, tmp_path: Path) -> None:
    """Each variable sets its setting; an empty one does not count."""
    if name in FILES:
        file = tmp_path / "file.json"  # whose content matters only where it is OpenTelemetry's configuration file
        file.write_text('{"file_format": "1.0", "disabled": true}')
        text, value = str(file), str(file)
    else:
        text, value = GOOD[name]
    assert getattr(load_settings({variable: text}), name) == value
    assert load_settings({variable: " "}) == Settings()


@pytest.mark.parametrize("name", GOOD)
def test_argument_beats_the_variable(name: str) -> None:
    """What is given to install() wins over the environment."""
    _, value = GOOD[name]
    variables = {name_: text for name_, text in _every_variable().items() if name_ not in _variables(name)}
    assert getattr(load_settings(variables, **{name: value}), name) == value


def _variables(name: str) -> tuple[str, ...]:
    return next(tuple(setting.metadata["variables"]) for setting in table() if setting.name == name)


def _every_variable() -> dict[str, str]:
    return {variable: GOOD[name][0] for name, variable in VARIABLES if name not in FILES}


@pytest.mark.parametrize(("name", "variable"), [pair for pair in VARIABLES if pair[0] not in FREE_TEXT])
def test_bad_variable_is_explained(name: str, variable: str) -> None:
    """A bad value is refused by variable, value and what is allowed; a secret's value is not repeated."""
    with pytest.raises(SettingError) as refused:
        load_settings({variable: BAD[name]})
    message = str(refused.value)
    assert message.startswith(f"{variable}=")
    assert (BAD[name] in message) is (name != "headers")
    assert "it must be" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enabled", "true"),
        ("exporter", "zipkin"),
        ("endpoint", 5),
        ("endpoint", "http://host:port"),
        ("jaeger_port", True),
        ("headers", "a=b"),
        ("headers", {"a": 1}),
        ("timeout", "10"),
        ("sampler_arg", 2),
        ("sampler_arg", "0.5"),
        ("sampler_arg", "endpoint=jaeger:5778"),
        ("sampler_arg", "endpoint=http://jaeger:5778,rate=1"),
        ("sampling_file", "ftp://c/strategies.json"),
        ("sampling_file", 5),
        ("schedule_delay", 0),
        ("certificate", "/does/not/exist"),
        ("propagators", "tracecontext"),
        ("propagators", ["zipkin"]),
        ("service_name", 5),
        ("baggage_hosts", "example.com"),
        ("baggage_hosts", ["none", "example.com"]),
        ("redact", ["card", "-jwt"]),
        ("redact", []),
        ("redact_keys", ["a,b"]),
        ("redact_patterns", ["x*"]),
        ("redact_patterns", "x"),
    ],
)
def test_bad_argument_is_explained(name: str, value: Any) -> None:
    """An argument of the wrong type or value is refused by its name."""
    with pytest.raises(SettingError, match=f"^{name}=.* is not allowed; it must be "):
        load_settings({}, **{name: value})


def test_password_in_a_bad_url_is_not_repeated() -> None:
    """A URL that is refused is shown without its credentials."""
    with pytest.raises(SettingError, match=r"OTLP_ENDPOINT='ftp://…@collector' is not allowed"):
        load_settings({"OTLP_ENDPOINT": "ftp://app:hunter2@collector"})


@pytest.mark.parametrize(
    ("sampler", "argument", "allowed"),
    [
        ("parentbased_jaeger_remote", "0.5", "endpoint=URL,pollingIntervalMs=N,initialSamplingRate=N"),
        ("jaeger_remote", "1", "endpoint=URL,pollingIntervalMs=N,initialSamplingRate=N"),
        ("traceidratio", "endpoint=http://jaeger:5778", "a number from 0 to 1"),
        ("parentbased_traceidratio", "pollingIntervalMs=5000", "a number from 0 to 1"),
    ],
)
def test_argument_of_another_sampler_is_explained(sampler: str, argument: str, allowed: str) -> None:
    """What is an argument for some sampler is refused where another one is chosen."""
    with pytest.raises(SettingError) as refused:
        load_settings({"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument})
    assert str(refused.value).startswith("sampler_arg (OTEL_TRACES_SAMPLER_ARG)=")
    assert str(refused.value).endswith(f"is not allowed with the sampler {sampler}; it must be {allowed}")


def test_argument_of_the_remote_samplers() -> None:
    """The standard's text is read, all of it or some; the rest is the default."""
    given = "endpoint=http://jaeger:5778/sampling , pollingIntervalMs=5000,initialSamplingRate=0.25"
    settings = load_settings({"OTEL_TRACES_SAMPLER": "jaeger_remote", "OTEL_TRACES_SAMPLER_ARG": given})
    remote = remote_sampler(str(settings.sampler_arg))
    assert (remote.endpoint, remote.interval, remote.share) == ("http://jaeger:5778/sampling", 5.0, 0.25)
    usual = remote_sampler("")
    assert (usual.endpoint, usual.interval, usual.share) == ("http://localhost:5778", 3.0, 0.001)


def test_unknown_argument_is_explained() -> None:
    """An argument that does not exist is refused, with the one that is nearest and where all of them are."""
    with pytest.raises(
        SettingError, match=r"no argument 'servicename'; did you mean service_name\?; docs/reference/settings.md"
    ):
        load_settings({}, servicename="x")
    with pytest.raises(SettingError, match=r"no argument 'patch'; did you mean patches\?"):
        load_settings({}, patch=["redis"])
    with pytest.raises(SettingError, match=r"no argument 'zzz'; docs/reference/settings.md"):
        load_settings({}, zzz=1)


def test_a_misspelt_argument_is_an_error_of_type_checkers() -> None:
    """Mypy refuses a setting that does not exist, and the error at run time names the near one."""
    with pytest.raises(SettingError, match=r"no argument 'spool_directroy'; did you mean spool_directory\?"):
        causal_otel.install(spool_directroy="/x")  # type: ignore[call-arg]  # which mypy would call unused
    with pytest.raises(SettingError, match="max_queue_size='7' is not allowed"):
        causal_otel.install(max_queue_size="7")  # type: ignore[arg-type]
    assert not causal_otel.status().installed


def test_arguments_for_type_checkers_are_those_of_the_table() -> None:
    """Each setting is a keyword argument of its type, or None; several values may be a list, a file a path object."""
    declared = {name: hint.__forward_arg__ for name, hint in SettingArguments.__annotations__.items()}
    wanted = {}
    for setting in table():
        hint = "str | os.PathLike[str]" if setting.metadata["kind"] is FILE else str(setting.type)
        hint = hint.replace("tuple[str, ...]", "list[str] | tuple[str, ...]")
        wanted[setting.name] = hint if hint.endswith("| None") else f"{hint} | None"
    for name in ("service_name", "patches", "instrumentors"):  # parameters of their own
        del wanted[name]
    assert declared == wanted


def test_variable_with_a_letter_wrong() -> None:
    """A variable of ours that does not exist but nearly does is told, with the one that was meant."""
    environ = {"TRACING_SPOOL_DIR": "/x", "TRACING_OF_ANOTHER_TOOL": "1", "TRACING_EXPORTER": "none", "PATH": "/"}
    assert unread_variables(environ) == [
        "there is no variable TRACING_SPOOL_DIR; did you mean TRACING_SPOOL_DIRECTORY?"
    ]


@pytest.mark.parametrize(
    "variable", ["OTEL_PROPAGATORS", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_PYTHON_TRACER_PROVIDER"]
)
def test_bad_value_that_the_sdk_reads_while_imported(variable: str) -> None:
    """Variables that OpenTelemetry trips over, at import or later, are still refused in our words, by install()."""
    code = "import causal_otel\ntry: causal_otel.install()\nexcept causal_otel.SettingError as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={variable: "bogus"}, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith(f"{variable}='bogus' is not allowed; it must be ")
