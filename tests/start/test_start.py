"""What begins a Python process below ``causal-otel run``: which processes are traced, and what is never disturbed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from causal_otel.instrument.registry import BUILT_IN
from tests.span_relations import assert_span
from tests.start.starting import RUN, WORK, run_in, write

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

_FAMILY = {
    "first.py": """
        import multiprocessing, subprocess, sys, time, causal_otel

        def job():
            with causal_otel.span("in a worker"):
                time.sleep(0.01)

        if __name__ == "__main__":
            with causal_otel.span("work"):
                time.sleep(0.01)
            worker = multiprocessing.get_context("spawn").Process(target=job)
            worker.start()
            subprocess.run([sys.executable, "second.py"], check=True)
            worker.join()
    """,
    "second.py": WORK
    + """
    import subprocess, sys
    subprocess.run([sys.executable, "-m", "third"], check=True)
    """,
    "third.py": WORK,
}
_ALL = [("in a worker", "first"), ("work", "first"), ("work", "second"), ("work", "third")]


@pytest.mark.parametrize(
    ("options", "traced"),
    [((), _ALL), pytest.param(("--no-children",), _ALL[:2], marks=pytest.mark.long)],
    ids=["all", "workers"],
)
def test_programs_below(
    receiver: ReceivedSpans, tmp_path: Path, options: tuple[str, ...], traced: list[tuple[str, str]]
) -> None:
    """Programs that the command starts are traced, each by its name, unless that is turned off; workers always are."""
    write(tmp_path, _FAMILY)
    done = run_in(tmp_path, *RUN, *options, "python", "first.py", OTLP_ENDPOINT=receiver.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    spans = receiver.spans()
    assert sorted((span["name"], span["service"]) for span in spans) == traced
    for span in spans:
        assert_span(span, None, lasts=0.01)


@pytest.mark.long
def test_a_program_below_goes_on_with_the_trace(receiver: ReceivedSpans, tmp_path: Path) -> None:
    """What is started with ``causal_otel.environ()`` is below the span in which it was started."""
    first = """
        import subprocess, sys, causal_otel
        with causal_otel.span("first"):
            subprocess.run([sys.executable, "second.py"], check=True, env=causal_otel.environ())
    """
    write(tmp_path, {"first.py": first, "second.py": WORK})
    done = run_in(tmp_path, *RUN, "python", "first.py", OTLP_ENDPOINT=receiver.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    second, parent = receiver.spans()
    assert (second["service"], parent["service"]) == ("second", "first")
    assert_span(parent, None, lasts=0.01)
    assert_span(second, parent, lasts=0.01)


def test_the_shadowed_sitecustomize_runs(receiver: ReceivedSpans, tmp_path: Path) -> None:
    """A ``sitecustomize`` that is there without us runs before us, and is the module of that name."""
    write(tmp_path, {"theirs/sitecustomize.py": "import os; os.environ['OTEL_SERVICE_NAME'] = 'theirs'"})
    write(tmp_path, {"work.py": WORK + "    import sitecustomize; print(sitecustomize.__file__)\n"})
    theirs = str(tmp_path / "theirs")
    done = run_in(tmp_path, *RUN, "python", "work.py", OTLP_ENDPOINT=receiver.endpoint, PYTHONPATH=theirs)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == f"{theirs}/sitecustomize.py"
    [span] = receiver.spans()
    assert span["service"] == "theirs"
    assert_span(span, None, lasts=0.01)


@pytest.mark.long
def test_a_sitecustomize_that_raises(receiver: ReceivedSpans, tmp_path: Path) -> None:
    """What it raises Python tells as it does without us, and the program runs and is traced."""
    write(tmp_path, {"theirs/sitecustomize.py": "raise ValueError('theirs')", "work.py": WORK})
    variables = {"PYTHONPATH": str(tmp_path / "theirs"), "OTLP_ENDPOINT": receiver.endpoint}
    without = run_in(tmp_path, sys.executable, "-c", "pass", **variables)
    done = run_in(tmp_path, *RUN, "python", "work.py", **variables)
    assert (done.returncode, done.stderr) == (0, 2 * without.stderr)  # `causal-otel` itself is a Python, too
    assert "ValueError: theirs" in done.stderr
    assert_span(receiver.spans()[0], None, lasts=0.01)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys; print('causal_otel' in sys.modules)", "True"),
        ("from multiprocessing.resource_tracker import sys; print('causal_otel' in sys.modules)", "False"),
    ],
    ids=["code", "resource tracker"],
)
def test_code_of_nobodys_application(tmp_path: Path, code: str, told: str) -> None:
    """Code after ``-c`` is a program as any other, but not that of multiprocessing's tracker, which runs beside one."""
    done = run_in(tmp_path, *RUN, "--exporter", "none", "python", "-c", code)
    assert (done.stdout.strip(), done.stderr) == (told, "")


@pytest.mark.parametrize(
    "command", [("pip3.99", "list"), ("python", "-m", "pip.shop"), ("python", "venv/__main__.py"), ("./causal-otel",)]
)
def test_tools_are_not_traced(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Neither installers nor ``causal-otel`` are traced, nor what they start."""
    tool = """
        import os, subprocess, sys
        print("causal_otel" in sys.modules, flush=True)
        subprocess.run([sys.executable, "-c", "import sys; print('causal_otel' in sys.modules)"], check=True)
    """
    write(tmp_path, {"pip/__init__.py": "", "pip/shop.py": tool, "venv/__main__.py": tool, "tool.py": tool})
    for script in (tmp_path / "pip3.99", tmp_path / "causal-otel"):
        script.write_text(f"#!{sys.executable}\nimport tool\n")
        script.chmod(0o755)
    done = run_in(tmp_path, *RUN, *command, PATH=f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin")
    assert (done.stdout, done.stderr) == ("False\nFalse\n", "")


def test_what_install_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    """A setting that is not allowed is told, and the application runs as it does without us."""
    write(tmp_path, {"work.py": WORK + "    print('done'); raise SystemExit(3)"})
    done = run_in(tmp_path, *RUN, "python", "work.py", OTLP_ENDPOINT="ftp://collector")
    assert (done.returncode, done.stdout) == (3, "done\n")
    assert done.stderr == (
        "causal_otel: nothing is traced: OTLP_ENDPOINT='ftp://collector' is not allowed; it must be an http:// or "
        "https:// URL\n"
    )


def test_a_failure_of_ours_is_told_in_one_line(tmp_path: Path) -> None:
    """If causal_otel cannot be imported, the application still runs."""
    write(
        tmp_path, {"broken/opentelemetry/__init__.py": "raise RuntimeError('an old one')", "work.py": "print('done')"}
    )
    done = run_in(tmp_path, *RUN, "python", "work.py", PYTHONPATH=str(tmp_path / "broken"))
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr == "causal_otel: nothing is traced: RuntimeError: an old one\n"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        pytest.param("install()", ("variable", "['asgi', 'redis', 'valkey']"), marks=pytest.mark.long),
        ("install(service_name='argument')", ("argument", "['asgi', 'redis', 'valkey']")),
        pytest.param("install(patches=['redis', 'httpx'])", ("variable", "['redis']"), marks=pytest.mark.long),
        ("install(enabled=False)", ("", "[]")),
    ],
    ids=["nothing", "name", "patches", "off"],
)
def test_the_applications_own_install(tmp_path: Path, call: str, told: tuple[str, str]) -> None:
    """What ``install()`` says in the code beats the environment, with ``run`` as without, and nobody is warned."""
    names = {"threads": "threading"}  # what OpenTelemetry calls it
    left_out = ",".join(names.get(name, name) for name in BUILT_IN if name not in ("asgi", "redis", "valkey"))
    write(
        tmp_path,
        {
            "work.py": f"""
                import causal_otel
                made = causal_otel.{call}
                assert causal_otel.install() is made
                on = sorted(patch.name for patch in made.status().patches if patch.state != "off")
                print([made.status().service_name, str(on)])
                assert causal_otel.status().warnings == ()
            """
        },
    )
    done = run_in(
        tmp_path,
        *(*RUN, "python", "work.py"),
        OTEL_SERVICE_NAME="variable",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=left_out,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(list(told))


def test_a_mistake_in_the_applications_own_install_leaves_what_is_there(tmp_path: Path) -> None:
    """A call that is refused raises, as without ``run``, and has changed nothing."""
    write(
        tmp_path,
        {
            "work.py": """
                import causal_otel
                before = causal_otel.install()
                try:
                    causal_otel.install(exporter="pigeon")
                except causal_otel.SettingError:
                    print(causal_otel.install() is before, causal_otel.status().installed)
            """
        },
    )
    done = run_in(tmp_path, *RUN, "python", "work.py")
    assert (done.stdout.strip(), done.stderr) == ("True True", "")


def test_spans_before_the_applications_own_install_are_exported(receiver: ReceivedSpans, tmp_path: Path) -> None:
    """A span that ended before the application's ``install()`` arrives by the settings of then."""
    program = (
        WORK
        + """
    causal_otel.install(service_name="argument")
    with causal_otel.span("later"):
        time.sleep(0.01)
    """
    )
    write(tmp_path, {"work.py": program})
    done = run_in(tmp_path, *RUN, "python", "work.py", OTLP_ENDPOINT=receiver.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    spans = receiver.spans()
    assert [(span["name"], span["service"]) for span in spans] == [("work", "work"), ("later", "argument")]
    for span in spans:
        assert_span(span, None, lasts=0.01)
