"""``[tool.causal_otel]`` in ``pyproject.toml``: which file counts, what may stand in it, what is refused and how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from causal_otel.configuration import pyproject
from causal_otel.load_settings import load_settings
from causal_otel.settings import SettingError, Settings


def _write(directory: Path, table: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "pyproject.toml"
    path.write_text(table)
    return path


def _load(directory: Path, **arguments: object) -> Settings:
    return load_settings({}, str(directory), **arguments)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ('service_name = "shop"', "service_name", "shop"),
        ("console = true", "console", True),
        ("timeout = 3", "timeout", 3),
        ("keep_slow = 1.5", "keep_slow", 1.5),
        # Milliseconds as variables, seconds as everywhere else.
        ("schedule_delay = 0.25", "schedule_delay", 0.25),
        ("export_timeout = 20", "export_timeout", 20),
        ("metrics_interval = 10.5", "metrics_interval", 10.5),
        ("loop_block_threshold = 0", "loop_block_threshold", 0),
        ("max_queue_size = 7", "max_queue_size", 7),
        ('excluded_urls = ["/health", "/x/**"]', "excluded_urls", ("/health", "/x/**")),
        ('propagators = ["baggage"]', "propagators", ("baggage",)),
        ('headers = {x-tenant = "shop"}', "headers", {"x-tenant": "shop"}),
        (
            'resource_attributes = {team = "red", "k8s.replicas" = 3, zones = ["a", "b"]}',
            "resource_attributes",
            {"team": "red", "k8s.replicas": 3, "zones": ["a", "b"]},
        ),
        ("enabled = false", "enabled", False),
        ('patches = ["asgi", "redis"]', "patches", ["asgi", "redis"]),
        ("patches = {redis = false}", "patches", ("-redis",)),
        ('patches = {asgi = {traceresponse = false}, redis = true, "*" = false}', "patches", ("asgi", "redis")),
        ('patches = {"*" = false}', "patches", ("none",)),
        ("patches = {asgi = {traceresponse = false}}", "patches", None),
    ],
)
def test_values_have_types(tmp_path: Path, line: str, name: str, value: Any) -> None:
    """Values have TOML's types, as arguments have Python's; times are seconds."""
    path = _write(tmp_path, f"[tool.causal_otel]\n{line}\n")
    settings = _load(tmp_path)
    assert getattr(settings, name) == value
    if value is not None:
        used = settings.used(name)
        assert used is not None
        assert used.cited == f"{path}: tool.causal_otel.{name}"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """A relative path is relative to the directory of the file, wherever below the process works; a URL is none."""
    (tmp_path / "ca.pem").write_text("x")
    lines = 'certificate = "ca.pem"\nspool_directory = "spool"\nsampling_file = "rules.json"'
    _write(tmp_path, f"[tool.causal_otel]\n{lines}\n")
    below = tmp_path / "src" / "shop"
    below.mkdir(parents=True)
    settings = _load(below)
    assert settings.certificate == str(tmp_path / "ca.pem")
    assert (settings.spool_directory, settings.sampling_file) == (str(tmp_path / "spool"), str(tmp_path / "rules.json"))
    _write(tmp_path, '[tool.causal_otel]\nsampling_file = "https://rules.example/x"\n')
    assert _load(below).sampling_file == "https://rules.example/x"


def test_the_nearest_file_with_the_table_counts(tmp_path: Path) -> None:
    """Files without the table are passed over, and what is further up is not merged into the nearest."""
    _write(tmp_path, '[tool.causal_otel]\nservice_name = "far"\nenvironment = "test"\n')
    _write(tmp_path / "a", '[tool.causal_otel]\nservice_name = "near"\n')
    _write(tmp_path / "a" / "b", "[tool.ruff]\n")
    _write(tmp_path / "a" / "b" / "c", '[project]\ndependencies = ["causal-otel", "causal_otel"]\n')
    settings = _load(tmp_path / "a" / "b" / "c")
    assert (settings.service_name, settings.environment) == ("near", "")


def test_the_working_directory_is_where_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a directory the one of the process counts; one that has been deleted is no error."""
    _write(tmp_path, '[tool.causal_otel]\nservice_name = "shop"\n')
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert load_settings({}).service_name == "shop"
    gone.rmdir()
    assert load_settings({}).service_name == ""


def test_a_dotenv_is_never_read(tmp_path: Path) -> None:
    """``.env`` means nothing to us, beside a table or not."""
    (tmp_path / ".env").write_text("TRACING_CONSOLE=true\nOTEL_SERVICE_NAME=wrong\n")
    _write(tmp_path, "[tool.causal_otel]\ntimeout = 3\n")
    settings = _load(tmp_path)
    assert (settings.console, settings.service_name, settings.timeout) == (False, "", 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            'endpont = "http://c:1"',
            "{path}: tool.causal_otel.endpont: there is no such setting; did you mean endpoint?",
        ),
        ("app = 1", "{path}: tool.causal_otel.app: there is no such setting; docs/reference/settings.md lists all"),
        ('timeout = "3"', "{path}: tool.causal_otel.timeout='3' is not allowed; it must be a number of seconds, 0.001"),
        (
            'excluded_urls = "/health"',
            "{path}: tool.causal_otel.excluded_urls='/health' is not allowed; it must be pat",
        ),
        ("headers = {a = 1}", "{path}: tool.causal_otel.headers=(not shown, it may hold a secret) is not allowed;"),
        ('certificate = "no.pem"', "{path}: tool.causal_otel.certificate='{directory}/no.pem' is not allowed; it must"),
        ("enabled = 1979-05-27", "{path}: tool.causal_otel.enabled=datetime.date(1979, 5, 27) is not allowed; it must"),
        ("patches = {redis = 1}", "{path}: tool.causal_otel.patches.redis=1 is not allowed; it must be true, false or"),
        ('patches = {"*" = {}}', "{path}: tool.causal_otel.patches.*={{}} is not allowed; it must be true, false or a"),
        ("timeout = ", "{path} is not TOML: Invalid value"),
        (
            "[tool.causal-otel]\na = 1",
            "{path}: the table [tool.causal-otel] is not read; its name is [tool.causal_otel]",
        ),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, content: str, message: str) -> None:
    """What is not allowed is refused by file, key and value, with what would be."""
    path = _write(tmp_path, f"[tool.causal_otel]\n{content}\n")
    with pytest.raises(SettingError) as refused:
        _load(tmp_path)
    assert str(refused.value).startswith(message.format(path=path, directory=tmp_path))


def test_no_table_at_all(tmp_path: Path) -> None:
    """A value where the table should be is refused; bytes that are no text are told as such."""
    path = _write(tmp_path, "[tool]\ncausal_otel = 5\n")
    with pytest.raises(SettingError, match=r": tool.causal_otel=5 is not allowed; it must be a table"):
        _load(tmp_path)
    path.write_bytes(b'[tool.causal_otel]\nservice_name = "\xff"\n')
    with pytest.raises(SettingError, match="is not TOML: 'utf-8' codec can't decode"):
        _load(tmp_path)


def test_a_broken_file_that_has_no_table_is_nobodys_business(tmp_path: Path) -> None:
    """A file that does not name us is not parsed, so that its mistakes are for those whom it concerns."""
    _write(tmp_path, "[tool.ruff\n")
    assert _load(tmp_path) == Settings()


def test_switched_off_reads_no_file(tmp_path: Path) -> None:
    """A variable that switches tracing off always works, whatever files say."""
    _write(tmp_path, "[tool.causal_otel]\nnonsense = 1\n")
    assert not load_settings({"TRACING_ENABLED": "false"}, str(tmp_path)).wanted
    assert not load_settings({"OTEL_SDK_DISABLED": "true"}, str(tmp_path)).wanted


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ('headers = {authorization = "Bearer x"}', True),
        ('headers = {x-tenant = "shop"}', False),
        ('endpoint = "https://user:hunter22@c:1"', True),
        ('endpoint = "https://c:1"', False),
    ],
)
def test_committed_secrets_are_told(tmp_path: Path, line: str, secret: bool) -> None:
    """A token or a password in the file is a warning, which does not repeat it: others read the repository."""
    path = _write(tmp_path, f"[tool.causal_otel]\n{line}\n")
    name = line.partition(" ")[0]
    said = (
        f"{path}: tool.causal_otel.{name} holds a secret, which whoever reads the repository has: give it by a variable"
    )
    assert _load(tmp_path).warnings == ((said,) if secret else ())


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """What stands where the file should be and is none is a warning; the files above it are looked at."""
    _write(tmp_path, '[tool.causal_otel]\nservice_name = "shop"\n')
    (tmp_path / "a" / "pyproject.toml").mkdir(parents=True)
    settings = _load(tmp_path / "a")
    assert settings.service_name == "shop"
    assert settings.warnings == (
        f"{tmp_path}/a/pyproject.toml is not read (Is a directory): settings in it do not count",
    )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_above_is_not_read(tmp_path: Path) -> None:
    """Somebody else's file in a directory above says nothing: it could send the traces elsewhere.

    It does in the working directory, and where that belongs to the same user.
    """
    path = _write(tmp_path, '[tool.causal_otel]\nservice_name = "trap"\n')
    below = tmp_path / "a"
    below.mkdir()
    os.chown(path, 12345, -1)
    settings = _load(below)
    assert settings.service_name == ""
    assert settings.warnings == (f"{path} is not read (it belongs to another user): settings in it do not count",)
    assert _load(tmp_path).service_name == "trap"
    os.chown(below, 12345, -1)
    assert _load(below).service_name == "trap"


def test_nothing_is_imported_without_a_table(tmp_path: Path) -> None:
    """A parser of TOML is imported for a file with the table only, one of YAML never for that."""
    code = (
        "import sys, causal_otel.load_settings as it; it.load_settings(); "
        "print(*(name in sys.modules for name in ('tomllib', 'yaml')))"
    )

    def imported(table: str) -> str:
        _write(tmp_path, table)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    assert imported('[project]\ndependencies = ["causal-otel"]\n') == "False False"
    assert imported("[tool.causal_otel]\ntimeout = 3\n") == "True False"


def test_the_name_of_the_file_is_asked_for_once_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking costs one attempt to open in each directory up to the root."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    opened: list[str] = []
    real = open

    def counted(path: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(pyproject, "open", counted, raising=False)
    _load(below)
    assert opened == [str(each / "pyproject.toml") for each in (below, *below.parents)]
