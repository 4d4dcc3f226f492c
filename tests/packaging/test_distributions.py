"""Wheel and sdist: built, checked as an index would, installed into an empty environment, and used there."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import causal_otel
from tests.collector.running import one_span, running
from tests.environments import ROOT, run_to_end
from tests.faults.programs import environment as variables

if TYPE_CHECKING:
    from email.message import Message

    from tests.services.received import ReceivedSpans

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

_SECONDS = 300


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel, built from the sdist, and the sdist."""
    place = tmp_path_factory.mktemp("dist")
    run_to_end(sys.executable, "-m", "build", "--no-isolation", "--outdir", place, ROOT, seconds=_SECONDS)
    return place


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The directory of programs of an environment that has the wheel, with what it depends on, and nothing else."""
    place = tmp_path_factory.mktemp("empty")
    venv.create(place, with_pip=True, symlinks=True)
    _pip(place / "bin", "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel))
    return place / "bin"


def _pip(programs: Path, *arguments: str) -> str:
    return run_to_end(programs / "python", "-m", "pip", "--quiet", *arguments, seconds=_SECONDS)


def _use(command: list[str | Path], place: Path, **environ: str) -> str:
    """What a program prints that is started outside the checkout, with warnings as errors."""
    strict = variables(PYTHONWARNINGS="error", **environ)
    done = subprocess.run(command, cwd=place, env=strict, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_an_index_would_take_them(built: Path, wheel: Path) -> None:
    """Twine finds nothing wrong with the metadata and the README, check-wheel-contents nothing with the files."""
    programs = Path(sys.executable).parent
    run_to_end(programs / "twine", "check", "--strict", *sorted(built.iterdir()), seconds=_SECONDS)
    run_to_end(programs / "check-wheel-contents", wheel, seconds=_SECONDS)


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    """Each file of the packages that git has is in the wheel, but for what writes the documentation; no test is.

    So is the example that the demo runs.
    """
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    git = ["git", "-c", "safe.directory=*", "ls-files", "causal_otel", "_causal_otel_start", "_causal_otel_pytest.py"]
    git += ["examples/platform/demo"]
    tracked = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    expected = {re.sub(r"^examples/", "causal_otel/cli/demo/", name) for name in tracked}
    assert inside == {name for name in expected if not name.startswith("causal_otel/_reference/")}
    assert "causal_otel/py.typed" in inside


def test_the_sdist_can_be_tested(built: Path) -> None:
    """It has the tests, what they read, and what pins their dependencies."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/conftest.py", "Makefile", "constraints.txt", "noxfile.py", "docs/README.md", "SECURITY.md"} <= names
    assert "examples/testing/causal-budget.jsonl" in names


def test_metadata(wheel: Path) -> None:
    """It says whose it is, where to report what, and the versions of Python that CI runs."""
    metadata = _metadata(wheel)
    assert metadata["Version"] == causal_otel.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    urls = dict(url.split(", ", 1) for url in metadata.get_all("Project-URL", []))
    assert set(urls) == {"Homepage", "Documentation", "Changelog", "Issues", "Security"}
    assert all(url.startswith("https://") for url in urls.values())
    tested = re.search(r"for version in ([\d. ]+);", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert tested is not None
    named = [each.rpartition(" ")[2] for each in metadata.get_all("Classifier", []) if re.search(r":: 3\.\d+$", each)]
    assert named == tested[1].split()


def test_it_is_whole_in_an_empty_environment(empty: Path, tmp_path: Path) -> None:
    """Nothing that it depends on is missing or of a wrong version, and it comes from the wheel."""
    _pip(empty, "check")
    place = _use([empty / "python", "-c", "import causal_otel; print(causal_otel.__file__)"], tmp_path)
    assert Path(place.strip()).is_relative_to(empty.parent)


def test_it_traces_in_an_empty_environment(empty: Path, tmp_path: Path, receiver: ReceivedSpans) -> None:
    """A program that installs and makes a span inside another exports both."""
    program = tmp_path / "program.py"
    program.write_text(
        "import causal_otel\n"
        "causal_otel.install(service_name='wheel')\n"
        "with causal_otel.span('outer'), causal_otel.span('inner'):\n"
        "    pass\n"
    )
    _use([empty / "python", program], tmp_path, OTLP_ENDPOINT=receiver.endpoint)
    spans = {span["name"]: span for span in receiver.wait_for(lambda spans: len(spans) == 2)}
    outer, inner = spans["outer"], spans["inner"]
    assert (outer["service"], inner["parent_span_id"], outer["parent_span_id"]) == ("wheel", outer["span_id"], None)
    assert outer["start"] <= inner["start"] <= inner["end"] <= outer["end"]


@pytest.mark.parametrize("command", ["causal-otel", "python -m causal_otel"])
def test_its_command_runs_in_an_empty_environment(empty: Path, tmp_path: Path, command: str) -> None:
    """``--version`` and ``--help`` answer without any extra, whichever way it is started."""
    program, *arguments = command.split()
    version = _use([empty / program, *arguments, "--version"], tmp_path)
    assert version == f"causal-otel {causal_otel.__version__}\n"
    assert "collector" in _use([empty / program, *arguments, "--help"], tmp_path)


def test_a_command_says_which_extra_it_needs(empty: Path, tmp_path: Path) -> None:
    """The collector is of an extra: without it the command ends with status 2 and what installs it."""
    done = subprocess.run(
        [empty / "causal-otel", "collector"], cwd=tmp_path, env=variables(), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "install the extra collector" in done.stderr


def test_the_collector_runs_from_the_wheel(empty: Path, tmp_path: Path, wheel: Path) -> None:
    """With its extra it keeps spans and serves pages, with the templates and styles that the wheel has."""
    _pip(empty, "install", "--constraint", str(ROOT / "constraints.txt"), f"{wheel}[collector]")
    with running(tmp_path, command=[str(empty / "causal-otel"), "collector"]) as collector:
        assert collector.post(one_span(1)).status_code == 200
        page = collector.get(f"/trace/{1:032x}")
        styles = re.findall(r'href="(/static/[^"]+\.css[^"]*)"', page.text)
        assert (page.status_code, len(styles) > 0, "work" in page.text) == (200, True, True)
        assert [collector.get(style).status_code for style in styles] == [200] * len(styles)
        assert collector.trace(1) == ["work"]


def test_the_demo_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Its services are the example's, of which the wheel has a copy."""
    place = tmp_path / "installed"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place)
    run_to_end(*pip, wheel, seconds=_SECONDS)
    command = [sys.executable, "-m", "causal_otel", "demo", "--exit"]
    strict = variables(PYTHONPATH=str(place), HOME=str(tmp_path))
    done = subprocess.run(command, cwd=tmp_path, env=strict, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stderr) == (0, "")
    assert "weigh suppliers" in done.stdout


def test_pytest_imports_it_as_it_is(wheel: Path, tmp_path: Path) -> None:
    """A suite finds the plugin by its entry point, and pytest rewrites no assertion of ours, as it does of plugins."""
    place = tmp_path / "installed"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place)
    run_to_end(*pip, wheel, seconds=_SECONDS)
    (tmp_path / "test_it.py").write_text(
        "import causal_otel.testing.plugin\n"
        "def test_it(traces):\n"
        f"    assert causal_otel.__file__.startswith({str(place)!r})\n"
        "    assert type(causal_otel.testing.plugin.__loader__).__name__ == 'SourceFileLoader'\n"
    )
    options = [part for name in ("cacheprovider", "ddtrace", "logfire") for part in ("-p", f"no:{name}")]
    strict = variables(PYTHONPATH=str(place))
    command = [sys.executable, "-m", "pytest", "-q", *options, "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, env=strict, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
