"""Imports a command's application in a process of its own, by the Python that the command itself would run on."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from _causal_otel_start.run import configure
from causal_otel._internal.printable import printable
from causal_otel.doctor.commands import SERVERS
from causal_otel.doctor.facts import Application, Observed
from causal_otel.instrument.other_tracers import OtherTracer
from causal_otel.settings import Settings
from causal_otel.status_file import read_status

__all__ = ["Imported", "import_application", "observed"]

_WRAPPERS = ("causal-otel", "ddtrace-run", "env", "newrelic-admin", "opentelemetry-instrument")
"""Commands that run another one in this environment."""
_MANAGERS = ("hatch", "pdm", "pipenv", "poetry", "uv")
"""Commands that run another one in an environment that they know."""

_SHEBANG = re.compile(rb"#!\s*(?:/usr/bin/env\s+)?(\S*python[\d.]*)|'''exec' ['\"]?([^'\"]+?python[\d.]*)['\"]? ")
_PYTHON = re.compile(r"(python|pypy)[\d.]*")
_GRACE = 10.0
"""Seconds beyond its time in which the process reports by itself."""
_SAID = 500


class Imported(NamedTuple):
    """What came of it.

    Attributes:
        application: what was imported, and how that went.
        observed: what the process said of itself; None: ``install()`` was not in force.
        settings: in force there; None: likewise.
        environ: its variables at the end.
    """

    application: Application
    observed: Observed | None
    settings: Settings | None
    environ: Mapping[str, str]


def import_application(command: Sequence[str], seconds: float) -> Imported:
    """Import the application of ``command``.

    Args:
        command: a program and its arguments.
        seconds: how long that may take.
    """
    prefix, own = _split(command)
    server = os.path.basename(own[0])

    def without(outcome: str, problem: str = "", python: str = "") -> Imported:
        made = Application(command=tuple(command), server=server, outcome=outcome, problem=problem, python=python)
        return Imported(made, None, None, os.environ)

    python = _interpreter(prefix, own[0])
    if python is None:
        return without("missing")
    with tempfile.TemporaryDirectory(prefix="causal-otel-doctor-") as directory:
        report, output = Path(directory, "report.json"), Path(directory, "output")
        child = [*prefix, python, "-m", "causal_otel.doctor.child", str(report), f"{seconds:g}", *own]
        status = _run(child, output, seconds + _GRACE)
        said = output.read_text(encoding="utf-8", errors="replace")
        if not report.is_file():
            if "No module named 'causal_otel'" in said or "No module named causal_otel" in said:
                return without("foreign", python=python)
            lines = [line for line in said.splitlines() if line.strip()]
            return without("lost", printable(f"status {status}: {lines[-1] if lines else 'no output'}", _SAID))
        document = json.loads(report.read_text(encoding="utf-8"))
    names = {field.name for field in fields(Application)}
    seen = {key: _tuple(value) for key, value in document["application"].items() if key in names}
    application = Application(**{"server": server, **seen, "command": tuple(command), "python": python})
    process, values = document.get("process"), document.get("settings")
    return Imported(
        application,
        None if process is None else observed(process),
        None if values is None else Settings(**{key: _tuple(value) for key, value in values.items()}),
        document["environ"],
    )


def observed(document: Mapping[str, Any]) -> Observed:
    """What a process says of itself, from what it has written.

    Raises:
        KeyError: it is no such document.
        TypeError: likewise.
    """
    processors = document.get("span_processors")
    return Observed(
        pid=int(document["pid"]),
        program=str(document["program"]),
        written=float(document["written"]),
        status=read_status(document["status"]),
        imported=frozenset(document.get("imported", ())),
        other_tracers=tuple(
            OtherTracer(each["name"], each["version"], _tuple(each["traces"])) for each in document["other_tracers"]
        ),
        span_processors=None if processors is None else tuple(processors),
    )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _split(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """What runs the application's command, and that command."""
    given = list(command)
    start = 0
    while (wrapper := os.path.basename(given[start])) in (*_WRAPPERS, *_MANAGERS):
        if wrapper == "causal-otel" and given[start + 1 : start + 2] == ["run"]:
            own = _of_run(given[start + 2 :])
            following = len(given) - len(own) if own else None
        else:
            following = next((at for at in range(start + 1, len(given)) if _is_program(given[at])), None)
        if following is None:
            break
        start = following
    return [each for each in given[:start] if each != "--"] if start else [], given[start:]


def _of_run(arguments: Sequence[str]) -> list[str]:
    """The command among the arguments of ``causal-otel run``."""
    parser = argparse.ArgumentParser()
    configure(parser)
    command: list[str] = parser.parse_args(arguments).command
    return command[command[:1] == ["--"] :]


def _is_program(argument: str) -> bool:
    if argument.startswith("-") or "=" in argument:
        return False
    return argument.endswith(".py") or shutil.which(argument) is not None


def _interpreter(prefix: Sequence[str], program: str) -> str | None:
    """The Python that runs a program; None: there is no such program."""
    if any(os.path.basename(each) in _MANAGERS for each in prefix):
        return "python"
    path = shutil.which(program)
    if _PYTHON.fullmatch(os.path.basename(program)):
        return path
    if path is None and program.endswith(".py") and os.path.isfile(program):
        path = program
    if path is None:
        return sys.executable if program in SERVERS else None  # its configuration can be looked at all the same
    with open(path, "rb") as file:
        found = _SHEBANG.search(b"\n".join(file.read(4096).splitlines()[:3]))
    named = (found[1] or found[2]).decode() if found else ""
    return shutil.which(named) or sys.executable if named else sys.executable


def _run(command: Sequence[str], output: Path, seconds: float) -> int | None:
    """Run it, and end whatever it has left behind; returns its exit status, or None if it had to be killed."""
    with output.open("wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
