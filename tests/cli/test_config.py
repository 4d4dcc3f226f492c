"""``causal-otel config``: the settings in force, where each was given, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from causal_otel.cli import main
from causal_otel.settings import table


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for setting in table():
        for variable in setting.metadata["variables"]:
            monkeypatch.delenv(variable, raising=False)


def _pyproject(directory: Path, lines: str) -> None:
    (directory / "pyproject.toml").write_text(f"[tool.causal_otel]\n{lines}\n")


def test_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each setting that is not as by default, with its origin; then where spans go, and the patches."""
    _pyproject(tmp_path, 'endpoint = "http://p:1"\nconsole = true\npatches = ["redis", "asgi"]')
    monkeypatch.setenv("OTLP_ENDPOINT", "http://user:hunter22@v:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter22")
    assert main(["config"]) == 0
    printed = capsys.readouterr()
    place = f"{tmp_path}/pyproject.toml: tool.causal_otel"
    assert [line.split(maxsplit=2) for line in printed.out.splitlines()[:6]] == [
        ["SETTING", "VALUE", "FROM"],
        ["console", "true", f"{place}.console"],
        ["endpoint", "http://…@v:1", "OTLP_ENDPOINT"],
        ["headers", "authorization=…", "OTEL_EXPORTER_OTLP_HEADERS"],
        ["patches", "redis,asgi", f"{place}.patches"],
        [],
    ]
    assert printed.out.splitlines()[6] == "Spans go to http://v:1/v1/traces by http/protobuf. Patches: redis, asgi."
    assert printed.err == ""


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` has the same for programs, with the types that the values have; ``--all`` the defaults, too."""
    _pyproject(tmp_path, "timeout = 3\nheaders = {x-token = 'hunter22'}\nlock_waits = false")
    assert main(["config", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    place = f"{tmp_path}/pyproject.toml: tool.causal_otel"
    assert found["settings"] == {
        "headers": {"value": {"x-token": "…"}, "from": f"{place}.headers"},
        "timeout": {"value": 3, "from": f"{place}.timeout"},
        "lock_waits": {"value": False, "from": f"{place}.lock_waits"},
    }
    assert found["spans"] == "http://localhost:4318/v1/traces by http/protobuf"
    assert "locks" not in found["patches"]
    (warning,) = found["warnings"]
    assert warning.startswith(f"{place}.headers holds a secret")
    assert main(["config", "--json", "--all"]) == 0
    every = json.loads(capsys.readouterr().out)["settings"]
    assert every.keys() == {setting.name for setting in table()}
    assert every["compression"] == {"value": "none", "from": "default"}


def test_a_file_on_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--file`` tells what OpenTelemetry's file would do, or all of what is refused, with status 1."""
    file = tmp_path / "otel.yaml"
    file.write_text("file_format: '1.0'\ntracer_provider: {processors: [{simple: {exporter: {console: }}}]}")
    assert main(["config", "--file", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].split() == ["config_file", str(file), "--file"]
    assert "\nSpans go to standard error." in printed.out
    file.write_text("file_format: '1.0'\nlog_level: debug\nresource: {schema_url: https://s}")
    assert main(["config", "--file", str(file)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[:3] == [
        f"causal-otel config: {file} asks for what causal_otel does not do:",
        "causal-otel config:   log_level: set the level of the logger `causal_otel` of Python's logging",
        "causal-otel config:   resource.schema_url: causal_otel has nothing like it",
    ]


@pytest.mark.parametrize(
    "variable", ["OTEL_EXPORTER_OTLP_PROTOCOL=http/json", "TRACING_PATCHES=redsi", "OTEL_CONFIG_FILE=/does/not/exist"]
)
def test_refused(variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What install() would refuse is told, with status 1, also as JSON."""
    monkeypatch.setenv(*variable.split("="))
    assert main(["config", "--json"]) == 1
    printed = capsys.readouterr()
    error = json.loads(printed.out)["error"]
    assert error.startswith(variable.partition("=")[0])
    assert printed.err == f"causal-otel config: {error}\n"


def test_nothing_is_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is set it says so; a variable that is misspelt is a warning."""
    monkeypatch.setenv("TRACING_PATHCES", "redis")
    assert main(["config"]) == 0
    printed = capsys.readouterr()
    assert "(every setting)  as it is by default" in printed.out
    assert printed.err == (
        "causal-otel config: warning: there is no variable TRACING_PATHCES; did you mean TRACING_PATCHES?\n"
    )


def test_switched_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where tracing is switched off, spans go nowhere."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert main(["config"]) == 0
    assert "Spans go to nowhere: tracing is switched off." in capsys.readouterr().out
