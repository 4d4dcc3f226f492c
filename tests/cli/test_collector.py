"""The collector's options: what they may be, what is said of those that may not, and what is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from causal_otel._internal.extras import how_to_install
from causal_otel.cli import main
from causal_otel.collector.config import CollectorSettings
from causal_otel.settings import SettingError
from tests.collector.running import running
from tests.without_packages import COMMAND


def test_defaults() -> None:
    """Without options it listens on loopback, on the usual ports, and keeps thirty days and 5 GB."""
    settings = CollectorSettings.load({}, {})
    assert (settings.host, settings.port, settings.otlp_http_port, settings.otlp_grpc_port) == (
        "127.0.0.1", 16686, 4318, 4317,
    )  # fmt: skip
    assert (settings.retention, settings.max_size) == (30, 5 * 10**9)
    assert (settings.token, settings.tls, settings.insecure, settings.allowed_host) == ("", False, False, ())


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("port", "0", 0),
        ("otlp_grpc_port", "off", None),
        ("otlp_grpc_port", "1234", 1234),
        ("retention", "7d", 7),
        ("retention", "90", 90),
        ("max_size", "500MB", 500 * 10**6),
        ("max_size", "1.5 gb", 1_500_000_000),
        ("max_size", "2GiB", 2 * 2**30),
        ("max_size", "1000", 1000),
        ("max_size", "none", None),
        ("insecure", "true", True),
        ("allowed_host", ["a.example", "B.example"], ("a.example", "b.example")),
        ("allowed_host", "a.example, b.example", ("a.example", "b.example")),
        ("data_dir", "/some/where", "/some/where"),
        ("forward", "https://far.example:4318", "https://far.example:4318"),
        ("forward_max_size", "1GB", 10**9),
    ],
)
def test_option_and_variable_mean_the_same(option: str, text: Any, value: object) -> None:
    """A value is read alike from the option and from its variable, and the option beats the variable."""
    variable = f"CAUSAL_OTEL_COLLECTOR_{option.upper()}"
    assert getattr(CollectorSettings.load({option: text}, {}), option) == value
    as_text = text if isinstance(text, str) else ",".join(text)
    assert getattr(CollectorSettings.load({}, {variable: as_text}), option) == value
    assert getattr(CollectorSettings.load({option: text}, {variable: "%%% not allowed"}), option) == value


@pytest.mark.parametrize(
    ("option", "text", "allowed"),
    [
        ("host", "a b", "an IP address or a host name"),
        ("port", "65536", "a port number"),
        ("port", "-1", "a port number"),
        ("port", "off", "a port number"),
        ("otlp_grpc_port", "on", "a port number, 0 to 65535, or off"),
        ("retention", "0", "a number of days"),
        ("retention", "1h", "a number of days"),
        ("max_size", "5 apples", "a size such as"),
        ("max_size", "0", "a size such as"),
        ("max_size", "-1", "a size such as"),
        ("tls_cert", "/nowhere", "the path of a readable file"),
        ("sampling_file", "/nowhere", "the path of a readable file"),
        ("insecure", "perhaps", "true or false"),
        ("token_file", "/nowhere", "the path of a readable file"),
        ("forward", "far.example:4318", "an http:// or https:// URL"),
        ("forward_max_size", "none", "a size such as"),
        ("allowed_host", "https://a.example/", "host names"),
    ],
)
def test_bad_value_is_explained(option: str, text: str, allowed: str) -> None:
    """A value that is not allowed is refused with the name it was given by, the value and what is allowed."""
    flag, variable = "--" + option.replace("_", "-"), f"CAUSAL_OTEL_COLLECTOR_{option.upper()}"
    for name, arguments in ((flag, ({option: text}, {})), (variable, ({}, {variable: text}))):
        with pytest.raises(SettingError) as caught:
            CollectorSettings.load(*arguments)
        assert str(caught.value).startswith(f"{name}={text!r} is not allowed; it must be {allowed}")


def test_bad_token_is_not_shown() -> None:
    """A token that no header could carry is refused without being shown."""
    with pytest.raises(SettingError, match=r"--token=\(not shown\) is not allowed") as caught:
        CollectorSettings.load({"token": "se cret"}, {})
    assert "cret" not in str(caught.value).replace("secret", "")


def test_credentials_of_a_bad_url_are_not_shown() -> None:
    """A URL that is not allowed is shown without the password in it."""
    with pytest.raises(SettingError, match=r"--forward='http://…@far\.example:port' is not allowed") as caught:
        CollectorSettings.load({"forward": "http://user:secret@far.example:port"}, {})
    assert "secret" not in str(caught.value)


def test_forwarding_to_itself_is_refused() -> None:
    """A collector that would send on to itself, in a circle, is refused; so are headers that nobody would be sent."""
    for url in ("http://127.0.0.1:4318", "http://localhost:4318/v1/traces", "http://user:secret@[::1]:4318"):
        with pytest.raises(SettingError, match="is this collector itself") as caught:
            CollectorSettings.load({"forward": url}, {})
        assert "secret" not in str(caught.value)
    assert CollectorSettings.load({"forward": "http://127.0.0.1:4319"}, {}).forward
    assert CollectorSettings.load({"forward": "http://far.example:4318"}, {}).forward
    with pytest.raises(SettingError, match="--forward-header is for --forward"):
        CollectorSettings.load({"forward_header": "authorization=secret"}, {})


def test_headers_of_forwarding_are_collected() -> None:
    """The option may be repeated, its variable has all of them; what is percent-encoded is decoded."""
    expected = {"authorization": "Bearer a", "x-tenant": "b"}
    options: dict[str, str | list[str] | None] = {"forward": "http://a.example"}
    options["forward_header"] = ["authorization=Bearer%20a", "x-tenant=b"]
    assert CollectorSettings.load(options, {}).forward_header == expected
    variable = {"CAUSAL_OTEL_COLLECTOR_FORWARD_HEADER": "authorization=Bearer%20a,x-tenant=b"}
    assert CollectorSettings.load({"forward": "http://a.example"}, variable).forward_header == expected


def test_headers_of_forwarding_are_not_shown() -> None:
    """What is sent along is in no text of the settings, and in no complaint."""
    settings = CollectorSettings.load({"forward": "http://a.example", "forward_header": "authorization=secret"}, {})
    assert "authorization" not in repr(settings)
    with pytest.raises(SettingError) as caught:
        CollectorSettings.load({"forward_header": "se cret"}, {})
    assert "cret" not in str(caught.value).replace("secret", "")


def test_certificate_needs_its_key(tmp_path: Path) -> None:
    """A certificate without its key is refused."""
    path = tmp_path / "cert.pem"
    path.touch()
    with pytest.raises(SettingError, match="both --tls-cert and --tls-key"):
        CollectorSettings.load({"tls_cert": str(path)}, {})


def test_traces_are_kept_where_the_desktop_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default directory is under $XDG_DATA_HOME, or ~/.local/share where that is not set or not absolute."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for home, expected in (("/data", "/data"), ("", f"{tmp_path}/.local/share"), ("data", f"{tmp_path}/.local/share")):
        monkeypatch.setenv("XDG_DATA_HOME", home)
        assert CollectorSettings.load({}, {}).data_dir == f"{expected}/causal-otel/traces"


def test_wrong_usage(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad value ends the command with status 2 and one sentence."""
    monkeypatch.delenv("CAUSAL_OTEL_COLLECTOR_PORT", raising=False)
    assert main(["collector", "--port", "http"]) == 2
    assert capsys.readouterr().err == (
        "causal-otel collector: --port='http' is not allowed; it must be a port number, 0 to 65535; 0: a free one\n"
    )


def test_help_names_options_and_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """--help lists every option with its default."""
    with pytest.raises(SystemExit) as caught:
        main(["collector", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for part in ("--data-dir", "--allowed-host", "Default: 30d.", "CAUSAL_OTEL_COLLECTOR_DATA_DIR"):
        assert part in text


@pytest.mark.parametrize("hidden", ["uvicorn", "starlette uvicorn jinja2", "google opentelemetry.proto"])
def test_missing_extra_is_named(hidden: str) -> None:
    """Without the extra's packages the command ends with status 2 and the command that installs them."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, hidden, "collector"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.endswith(f"cannot be imported; {how_to_install('collector')}\n")
    assert hidden.split()[0] in done.stderr


def test_without_grpc_the_rest_works(tmp_path: Path) -> None:
    """Without grpcio the collector runs, and says how to get gRPC."""
    script = tmp_path / "without_grpc.py"
    script.write_text(COMMAND)
    command = (sys.executable, str(script), "grpc", "collector")
    with running(tmp_path / "traces", command=command) as collector:
        assert f"off; {how_to_install('grpc')}\n" in collector.process.output()
        assert collector.get("/api/services").status_code == 200


def test_start_prints_where_everything_is(tmp_path: Path) -> None:
    """The addresses printed are the real ones, in time: whoever reads them can connect at once."""
    with running(tmp_path, "--retention", "7d", "--max-size", "1.5GB") as collector:
        output = collector.process.output()
        assert collector.get("/api/services").status_code == 200
    assert f"Traces are in:  {tmp_path}\n" in output
    assert "Kept for:       7 days, within 1.5 GB\n" in output
    assert ":0\n" not in output
    assert os.fspath(tmp_path) in output
