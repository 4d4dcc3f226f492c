"""``causal-otel run COMMAND...``: the command is itself in everything, and what it runs in Python is traced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.environments import environment as other_environment
from tests.faults.programs import environment, run
from tests.span_relations import assert_span
from tests.start.starting import CAUSAL_OTEL, RUN, WORK, install_auto, run_in, write

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

__all__ = ["other_environment"]


@pytest.mark.parametrize(
    ("command", "service"),
    [
        pytest.param(["work.py"], "work", marks=pytest.mark.long),
        pytest.param(["./executable"], "executable", marks=pytest.mark.long),
        pytest.param(["python", "work.py"], "work", marks=pytest.mark.long),
        (["python", "-m", "package"], "package"),
        pytest.param(["python", "-Wdefault", "-mpackage.module"], "module", marks=pytest.mark.long),
        (["--service-name", "shop", "--", "python", "work.py", "--", "-x"], "shop"),
    ],
    ids=["script", "executable", "python", "package", "module", "named"],
)
def test_a_program_is_traced(receiver: ReceivedSpans, tmp_path: Path, command: list[str], service: str) -> None:
    """Its span arrives, of a service that is named as its program; its arguments are those that it was given."""
    program = WORK + "    import sys; print(sys.argv[1:])\n"
    write(tmp_path, {"work.py": program, "package/__main__.py": program, "package/module.py": program})
    executable = tmp_path / "executable"
    executable.write_text(f"#!{sys.executable}\n{(tmp_path / 'work.py').read_text()}")
    executable.chmod(0o755)
    began = time.perf_counter()
    done = run_in(tmp_path, *RUN, *command, OTLP_ENDPOINT=receiver.endpoint)
    took = time.perf_counter() - began
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == ("['--', '-x']" if service == "shop" else "[]")
    [span] = receiver.spans()
    assert (span["name"], span["service"]) == ("work", service)
    assert_span(span, None, lasts=0.01, within=took)


def test_the_process_becomes_the_command() -> None:
    """Process id, exit status, the signal that ended it and the signals that it ignores are the command's own."""

    def status(code: str) -> tuple[int, str]:
        with subprocess.Popen([*RUN, "sh", "-c", code], env=environment(), stdout=subprocess.PIPE, text=True) as child:
            output, _ = child.communicate(timeout=60)
            return child.returncode, output.replace(str(child.pid), "PID").strip()

    assert status("echo $$; exit 7") == (7, "PID")
    assert status("kill -TERM $$; echo survived") == (-signal.SIGTERM, "")
    assert status("kill -PIPE $$; echo survived") == (-signal.SIGPIPE, "")


def test_options_are_variables(tmp_path: Path) -> None:
    """Each option is the variable that the help names, for the command alone; PYTHONPATH keeps what it has."""
    options = ["--service-name=shop", "--endpoint", "http://c:4318", "--exporter", "none", "--patches", "asgi,redis"]
    done = run_in(tmp_path, *RUN, *options, "--no-children", "env", PYTHONPATH="/a:/b", OTEL_SERVICE_NAME="other")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found["OTEL_SERVICE_NAME"] == "shop"
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://c:4318"
    assert found["OTEL_TRACES_EXPORTER"] == "none"
    assert found["TRACING_PATCHES"] == "asgi,redis"
    assert found["CAUSAL_OTEL_AUTO"] == "program"
    first, *others = found["PYTHONPATH"].split(":")
    assert Path(first, "sitecustomize.py").exists()
    assert others == ["/a", "/b"]
    told = run_in(tmp_path, *RUN, "--help").stdout
    assert all(name in told for name in found.keys() - environment().keys() & {"OTEL_SERVICE_NAME", "TRACING_PATCHES"})


@pytest.mark.long
def test_run_inside_run_is_one(tmp_path: Path) -> None:
    """A command that is itself ``causal-otel run`` has the folder once in its path."""
    done = run_in(tmp_path, *RUN, *RUN, "env")
    assert sum(line.startswith("PYTHONPATH=") and ":" not in line for line in done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "status", "why"),
    [
        ([], 2, "which command?"),
        (["no-such-command"], 127, "no-such-command: there is no such command"),
        (["missing.py"], 127, "missing.py: there is no such command"),
        (["./no-program"], 126, "Exec format error"),
        (["python", "-I", "work.py"], 1, "python -I would not be traced: it ignores PYTHONPATH"),
        (["python", "-W", "error", "-bES", "work.py"], 1, "python -E -S would not be traced"),
    ],
    ids=["none", "unknown", "no file", "no program", "-I", "-E -S"],
)
def test_what_cannot_run_says_why(tmp_path: Path, command: list[str], status: int, why: str) -> None:
    """One sentence, and the status that a shell gives; what would silently not be traced is not run."""
    write(tmp_path, {"work.py": "print('it runs')", "no-program": "nothing that a kernel knows"})
    (tmp_path / "no-program").chmod(0o755)
    done = run_in(tmp_path, *RUN, *command)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("causal-otel run: ")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_programs_of_another_environment(receiver: ReceivedSpans, tmp_path: Path, other_environment: Path) -> None:
    """A console script of another environment is traced by the causal_otel that is there, and is itself in all else."""
    script = other_environment.with_name("console-script")
    write(script.parent, {script.name: WORK + "    import sys; print(sys.prefix)\n"})
    script.write_text(f"#!{other_environment}\n{script.read_text()}")
    script.chmod(0o755)
    path = f"{script.parent}:{os.environ['PATH']}"
    done = run_in(tmp_path, *RUN, "console-script", OTLP_ENDPOINT=receiver.endpoint, PATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(script.parent.parent)
    [span] = receiver.spans()
    assert span["service"] == "console-script"
    assert_span(span, None, lasts=0.01)


@pytest.mark.parametrize(
    "shebang", ["#!{python}", "#!/usr/bin/env -S {python}", "#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''"]
)
def test_an_environment_without_causal_otel(tmp_path: Path, shebang: str) -> None:
    """A command of an environment that has no causal_otel is not run: one sentence names its Python."""
    venv.create(tmp_path / "without", symlinks=True)
    python = tmp_path / "without" / "bin" / "python"
    write(tmp_path, {"script": f"{shebang.format(python=python)}\nprint('it runs')\n"})
    (tmp_path / "script").chmod(0o755)
    done = run_in(tmp_path, *RUN, "./script")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"causal-otel run: {python} would not be traced: it has no causal_otel\n"


def test_a_shell_that_becomes_a_python_without_causal_otel(tmp_path: Path) -> None:
    """Where the command's own process is it, one line says so, and it runs; of what it starts, nothing is said."""
    venv.create(tmp_path / "without", symlinks=True)
    python = tmp_path / "without" / "bin" / "python"
    done = run_in(tmp_path, *RUN, "sh", "-c", f"{python} -c 'print(1)'; exec {python} -c 'print(2)'")
    assert (done.returncode, done.stdout) == (0, "1\n2\n")
    assert done.stderr.startswith(f"causal_otel: nothing is traced: {python} has no causal_otel (")
    assert done.stderr.count("\n") == 1


def test_an_isolated_python_with_the_pth_file(receiver: ReceivedSpans, tmp_path: Path, other_environment: Path) -> None:
    """``python -I`` ignores PYTHONPATH, and not the file of ``causal-otel-auto``: with that it is traced."""
    install_auto(other_environment)
    write(tmp_path, {"work.py": WORK})
    done = run_in(tmp_path, *RUN, str(other_environment), "-I", "work.py", OTLP_ENDPOINT=receiver.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert_span(receiver.spans()[0], None, lasts=0.01)


def test_starting_imports_little(tmp_path: Path) -> None:
    """The process that becomes the command imports neither causal_otel nor the SDK; its command may."""
    code = f"import sys; sys.argv = [{CAUSAL_OTEL!r}, 'run', 'true']; from _causal_otel_start.run import main; main()"
    done = run_in(tmp_path, sys.executable, "-X", "importtime", "-c", code)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "_causal_otel_start.run" in imported
    assert {
        name for name in imported if name.partition(".")[0] in ("causal_otel", "opentelemetry", "subprocess")
    } == set()


def test_the_other_commands_are_not_imported() -> None:
    """A command imports itself alone, whatever others there are."""
    code = """
        import sys
        from causal_otel.cli import COMMANDS, main
        try:
            main(["sampling", "--help"])
        except SystemExit:
            print(*(name for name, module in COMMANDS.items() if module in sys.modules), file=sys.stderr)
    """
    assert run(code).stderr.split() == ["sampling"]
