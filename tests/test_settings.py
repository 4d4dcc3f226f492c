"""Every setting: read from its variables and its argument, and refused with a helpful message."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from causal_otel.settings import SettingError, Settings, table, unknown_variables

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
    "require_parent": ("true", True),
    "excluded_urls": ("/health, /u/{id}/*,api.example.com:81/**", ("/health", "/u/{id}/*", "api.example.com:81/**")),
    "excluded_tasks": ("reports.*, beat", ("reports.*", "beat")),
    "propagators": ("baggage , tracecontext", ("baggage", "tracecontext")),
    "baggage_hosts": ("*.example.com, internal", ("*.example.com", "internal")),
    "baggage_max_bytes": ("0", 0),
    "redact": ("-card, -jwt", ("-card", "-jwt")),
    "redact_keys": ("iban, customer.name", ("iban", "customer.name")),
    "redact_patterns": (r"\bEMP\d{6}\b  x{8}", (r"\bEMP\d{6}\b", "x{8}")),
}
BAD: dict[str, str] = {
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
    "require_parent": "perhaps",
    "excluded_urls": "health",
    "excluded_tasks": ",",
    "propagators": "tracecontext,zipkin",
    "baggage_hosts": "http://example.com/",
    "baggage_max_bytes": "8193",
    "redact": "cards",
    "redact_keys": "iban,--",
    "redact_patterns": "(unclosed",
}
FREE_TEXT = {"service_name", "service_version", "environment", "jaeger_host", "spool_directory"}
FILES = {"certificate", "client_certificate", "client_key"}
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
        file = tmp_path / "file.pem"
        file.write_text("x")
        text, value = str(file), str(file)
    else:
        text, value = GOOD[name]
    assert getattr(Settings.load({variable: text}), name) == value
    assert Settings.load({variable: " "}) == Settings()


@pytest.mark.parametrize("name", GOOD)
def test_argument_beats_the_variable(name: str) -> None:
    """What is given to install() wins over the environment."""
    _, value = GOOD[name]
    variables = {name_: text for name_, text in _every_variable().items() if name_ not in _variables(name)}
    assert getattr(Settings.load(variables, **{name: value}), name) == value


def _variables(name: str) -> tuple[str, ...]:
    return next(tuple(setting.metadata["variables"]) for setting in table() if setting.name == name)


def _every_variable() -> dict[str, str]:
    return {variable: GOOD[name][0] for name, variable in VARIABLES if name not in FILES}


@pytest.mark.parametrize(("name", "variable"), [pair for pair in VARIABLES if pair[0] not in FREE_TEXT])
def test_bad_variable_is_explained(name: str, variable: str) -> None:
    """A bad value is refused by variable, value and what is allowed; a secret's value is not repeated."""
    with pytest.raises(SettingError) as refused:
        Settings.load({variable: BAD[name]})
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
        Settings.load({}, **{name: value})


def test_password_in_a_bad_url_is_not_repeated() -> None:
    """A URL that is refused is shown without its credentials."""
    with pytest.raises(SettingError, match=r"OTLP_ENDPOINT='ftp://…@collector' is not allowed"):
        Settings.load({"OTLP_ENDPOINT": "ftp://app:hunter2@collector"})


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
        Settings.load({"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument})
    assert str(refused.value).startswith("sampler_arg (OTEL_TRACES_SAMPLER_ARG)=")
    assert str(refused.value).endswith(f"is not allowed with the sampler {sampler}; it must be {allowed}")


def test_argument_of_the_remote_samplers() -> None:
    """The standard's text is read, all of it or some; the rest is the default."""
    given = "endpoint=http://jaeger:5778/sampling , pollingIntervalMs=5000,initialSamplingRate=0.25"
    remote = Settings.load({"OTEL_TRACES_SAMPLER": "jaeger_remote", "OTEL_TRACES_SAMPLER_ARG": given}).remote_sampler()
    assert (remote.endpoint, remote.interval, remote.share) == ("http://jaeger:5778/sampling", 5.0, 0.25)
    usual = Settings.load({"OTEL_TRACES_SAMPLER": "jaeger_remote"}).remote_sampler()
    assert (usual.endpoint, usual.interval, usual.share) == ("http://localhost:5778", 3.0, 0.001)


def test_unknown_argument_is_explained() -> None:
    """An argument that does not exist is refused, with the one that is nearest and where all of them are."""
    with pytest.raises(
        SettingError, match=r"no argument 'servicename'; did you mean service_name\?; docs/reference/settings.md"
    ):
        Settings.load({}, servicename="x")
    with pytest.raises(SettingError, match=r"no argument 'patch'; did you mean patches\?"):
        Settings.load({}, patch=["redis"])
    with pytest.raises(SettingError, match=r"no argument 'zzz'; docs/reference/settings.md"):
        Settings.load({}, zzz=1)


@pytest.mark.parametrize(
    ("environ", "destination"),
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
    ],
)
def test_destination(environ: dict[str, str], destination: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """Endpoint, Jaeger host and protocol give one URL, without a warning."""
    settings = Settings.load(environ)
    assert (settings.destination(), settings.conflicts()) == (destination, [])
    assert caplog.records == []


@pytest.mark.parametrize(
    ("environ", "url", "conflict"),
    [
        (
            {"TRACING_EXPORTER": "jaeger", "JAEGER_HOST": "j", "OTLP_ENDPOINT": "http://c:1"},
            "http://j:4318/v1/traces",
            "OTLP_ENDPOINT=http://c:1 is not used, because of TRACING_EXPORTER=jaeger",
        ),
        (
            {"TRACING_EXPORTER": "jaeger", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://u:s3cret@c:1/x"},
            "http://localhost:4318/v1/traces",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://…@c:1/x is not used, because of TRACING_EXPORTER=jaeger",
        ),
        (
            {"JAEGER_HOST": "j", "OTLP_ENDPOINT": "http://c:1"},
            "http://c:1/v1/traces",
            "JAEGER_HOST=j is not used, because of OTLP_ENDPOINT=http://c:1",
        ),
        (
            {"JAEGER_HOST": "j", "OTEL_TRACES_EXPORTER": "otlp"},
            "http://localhost:4318/v1/traces",
            "JAEGER_HOST=j is not used, because of OTEL_TRACES_EXPORTER=otlp",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTLP_ENDPOINT": "http://b:1"},
            "http://a:1/v1/traces",
            "OTLP_ENDPOINT=http://b:1 is not used, because of OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "TRACING_EXPORTER": "console"},
            "http://localhost:4318/v1/traces",
            "TRACING_EXPORTER=console is not used, because of OTEL_TRACES_EXPORTER=otlp",
        ),
    ],
)
def test_conflict_is_told(environ: dict[str, str], url: str, conflict: str) -> None:
    """Where two things say where spans go, one is used, and a sentence names both, without credentials."""
    settings = Settings.load(environ)
    assert settings.destination()[1] == url
    assert settings.conflicts() == [f"{conflict}: remove one of the two"]


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"OTLP_ENDPOINT": "http://u:s3cret@c:1/v1/traces"}, "http://u:s3cret@c:1/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/base/v1/traces/"}, "http://c:1/base/v1/traces"),
    ],
)
def test_endpoint_that_is_complete_already(environ: dict[str, str], url: str) -> None:
    """A base URL that ends in /v1/traces is used as it is, and a sentence says so, without credentials."""
    settings = Settings.load(environ)
    assert settings.destination() == ("http/protobuf", url)
    ((name, value),) = environ.items()
    (sentence,) = settings.conflicts()
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
    assert Settings.load(environ).conflicts() == []


@pytest.mark.parametrize("exporter", ["console", "none"])
def test_no_conflict_where_nothing_is_sent(exporter: str) -> None:
    """An endpoint beside the exporters ``console`` and ``none`` is no conflict: that is how one switches export off."""
    environ = {"OTEL_TRACES_EXPORTER": exporter, "JAEGER_HOST": "j", "OTLP_ENDPOINT": "http://c:1"}
    assert Settings.load(environ).conflicts() == []


def test_variable_with_a_letter_wrong() -> None:
    """A variable of ours that does not exist but nearly does is told, with the one that was meant."""
    environ = {"TRACING_SPOOL_DIR": "/x", "TRACING_OF_ANOTHER_TOOL": "1", "TRACING_EXPORTER": "none", "PATH": "/"}
    assert unknown_variables(environ) == [
        "there is no variable TRACING_SPOOL_DIR; did you mean TRACING_SPOOL_DIRECTORY?"
    ]


@pytest.mark.parametrize("port", [5775, 6831, 6832, 14250, 14268])
def test_retired_jaeger_port_becomes_otlp(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """A port of a retired Jaeger protocol is mapped to OTLP's with one warning that names both."""
    settings = Settings.load({"TRACING_EXPORTER": "jaeger", "JAEGER_HOST": "j", "JAEGER_PORT": str(port)})
    with caplog.at_level(logging.WARNING):
        assert settings.destination() == ("http/protobuf", "http://j:4318/v1/traces")
    (record,) = caplog.records
    assert record.getMessage() == (
        f"causal_otel: JAEGER_PORT={port} is not a port that OTLP over http/protobuf can be sent to; "
        "using port 4318 of j: set JAEGER_PORT=4318"
    )


@pytest.mark.parametrize("variable", ["OTEL_PROPAGATORS", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"])
def test_bad_value_that_the_sdk_reads_while_imported(variable: str) -> None:
    """Variables that OpenTelemetry trips over at import are still refused in our words, by install()."""
    code = "import causal_otel\ntry: causal_otel.install()\nexcept causal_otel.SettingError as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={variable: "bogus"}, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith(f"{variable}='bogus' is not allowed; it must be ")
