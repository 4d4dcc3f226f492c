"""``CAUSAL_OTEL_AUTO=1`` with the distribution ``causal-otel-auto``: tracing without a change of the command."""

from __future__ import annotations

import pkgutil
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from causal_otel._version import __version__
from tests.environments import ROOT, SECONDS_TO_INSTALL, environment, make_environment, pip_install, run_to_end
from tests.span_relations import assert_span
from tests.start.starting import RUN, WORK, install_auto, run_in, write

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

__all__ = ["environment"]

_AUTO = ROOT / "packages" / "auto"


def test_the_variable_alone_traces(receiver: ReceivedSpans, tmp_path: Path, environment: Path) -> None:
    """With the variable a program and those below it are traced, also where ``sys.path`` is complete only later."""
    install_auto(environment)
    write(tmp_path, {"work.py": WORK + "    import subprocess, sys; subprocess.run([sys.executable, '-m', 'below'])"})
    write(tmp_path, {"below.py": WORK})
    done = run_in(tmp_path, str(environment), "work.py", CAUSAL_OTEL_AUTO="1", OTLP_ENDPOINT=receiver.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    spans = receiver.spans()
    assert sorted(span["service"] for span in spans) == ["below", "work"]
    for span in spans:
        assert_span(span, None, lasts=0.01)


@pytest.mark.parametrize("value", [None, "", "0", "false"])
def test_without_the_variable_nothing_is_imported(tmp_path: Path, environment: Path, value: str | None) -> None:
    """Without the variable Python imports no module more than it does without the distribution."""
    install_auto(environment)
    variables = {} if value is None else {"CAUSAL_OTEL_AUTO": value}
    code = "import sys; print(*sorted(name for name in sys.modules if 'causal' in name or 'opentelemetry' in name))"
    done = run_in(tmp_path, str(environment), "-c", code, **variables)
    looked = ["_causal_otel_start", "causal_otel_auto"] if value else []
    assert (done.stdout.split(), done.stderr) == (looked, "")


def test_causal_otel_that_is_gone_is_told_in_one_line(tmp_path: Path) -> None:
    """With the variable in an environment that has lost causal_otel, programs run as before."""
    venv.create(tmp_path / "without", symlinks=True)
    python = tmp_path / "without" / "bin" / "python"
    install_auto(python)
    done = run_in(tmp_path, str(python), "-c", "print('done')", CAUSAL_OTEL_AUTO="1")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr == "causal_otel: nothing is traced: No module named '_causal_otel_start'\n"


@pytest.mark.long
def test_run_and_the_variable_are_one(receiver: ReceivedSpans, tmp_path: Path, environment: Path) -> None:
    """Under ``causal-otel run`` in an environment with the file, a program is traced once."""
    install_auto(environment)
    write(tmp_path, {"work.py": WORK})
    done = run_in(tmp_path, *RUN, str(environment), "work.py", OTLP_ENDPOINT=receiver.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    [span] = receiver.spans()
    assert_span(span, None, lasts=0.01)


def test_the_file_of_newer_pythons_names_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of the ``.start`` file is a comment or what PEP 829 has Python call: ``module:function``."""
    monkeypatch.syspath_prepend(_AUTO)
    monkeypatch.delenv("CAUSAL_OTEL_AUTO", raising=False)
    lines = (_AUTO / "causal_otel_auto.start").read_text(encoding="utf-8").splitlines()
    [named] = [line for line in lines if not line.startswith("#")]
    assert named == "causal_otel_auto:start"
    assert pkgutil.resolve_name(named)() is None
    assert "causal_otel_auto" in sys.modules


def test_both_distributions_have_one_version() -> None:
    """The extra asks for the distribution of this version, which asks for this one."""
    ours, auto = (tomllib.loads((place / "pyproject.toml").read_text())["project"] for place in (ROOT, _AUTO))
    assert ours["optional-dependencies"]["auto"] == [f"causal-otel-auto=={__version__}"]
    assert auto["version"] == __version__
    assert auto["dependencies"] == [f"causal-otel=={__version__}"]


@pytest.mark.long
def test_wheels(receiver: ReceivedSpans, tmp_path: Path) -> None:
    """The two wheels, built and installed into an environment, trace a program there, by the variable and by `run`."""
    wheels = tmp_path / "wheels"
    pip = (sys.executable, "-m", "pip", "--quiet")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels)
    run_to_end(*pip, *build, ROOT, _AUTO, seconds=SECONDS_TO_INSTALL)
    [auto] = wheels.glob("causal_otel_auto-*.whl")
    with zipfile.ZipFile(auto) as file:
        names = [name for name in file.namelist() if ".dist-info/" not in name]
    assert names == ["causal_otel_auto.pth", "causal_otel_auto.py", "causal_otel_auto.start"]
    python = make_environment(tmp_path / "environment")
    pip_install(python, "--no-deps", "--ignore-installed", *map(str, wheels.glob("*.whl")))
    write(tmp_path, {"work.py": WORK + "    print(causal_otel.__file__)"})
    variables = {"OTLP_ENDPOINT": receiver.endpoint}
    by_variable = run_in(tmp_path, str(python), "work.py", CAUSAL_OTEL_AUTO="1", **variables)
    by_run = run_in(tmp_path, str(python.with_name("causal-otel")), "run", "python", "work.py", **variables)
    for done in (by_variable, by_run):
        assert (done.returncode, done.stderr) == (0, "")
        assert Path(done.stdout.strip()).is_relative_to(tmp_path / "environment")
    assert len(receiver.spans()) == 2
    for span in receiver.spans():
        assert span["service"] == "work"
        assert_span(span, None, lasts=0.01)
