"""``causal-otel run COMMAND...``: become the command, with Python told to trace it at its start.

The process is replaced, so that signals, its id and its exit status are the command's own. This module imports no more
than it needs: the command waits for it.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence

from _causal_otel_start import AUTO, LAUNCHED

__all__ = ["HELP", "configure", "main", "run"]

HELP = "Run a command, and trace its Python programs without a change of their code."

_VARIABLES = {
    "service_name": "OTEL_SERVICE_NAME",
    "endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "exporter": "OTEL_TRACES_EXPORTER",
    "patches": "TRACING_PATCHES",
}
"""The options that are variables, for the command and all that it starts."""
_SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sitecustomize")
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*t?(?:\.exe)?")
_QUOTED = re.compile(rb"'''exec' +[\"']?([^\"'\n]+?)[\"']? +\"\$0\"")
"""The second line of a console script whose interpreter's path is too long for the first."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--service-name", metavar="NAME", help="what the spans are about: OTEL_SERVICE_NAME")
    parser.add_argument("--endpoint", metavar="URL", help="where they go, by OTLP: OTEL_EXPORTER_OTLP_ENDPOINT")
    parser.add_argument("--exporter", metavar="NAME", help="otlp, jaeger, console or none: OTEL_TRACES_EXPORTER")
    parser.add_argument("--patches", metavar="NAMES", help="only these, such as asgi,asyncpg: TRACING_PATCHES")
    parser.add_argument(
        "--no-children",
        action="store_true",
        help="trace the program and the workers it forks or starts by multiprocessing, but no programs it starts: "
        f"{AUTO}=program",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="as you would type it")


def run(arguments: argparse.Namespace) -> int:
    """Become the command.

    Returns:
        Why not, as an exit status: 1 if its Python cannot be traced, 2 without a command, 126 if it cannot be executed,
        127 if there is none of that name.
    """
    command: list[str] = arguments.command
    if command[:1] == ["--"]:
        del command[0]
    if not command:
        return _refused("which command? As in: causal-otel run uvicorn app:app", 2)
    program = _find(command[0])
    if program is None and command[0].endswith(".py") and os.path.isfile(command[0]):
        command.insert(0, sys.executable)
    elif program is None:
        return _refused(f"{command[0]}: there is no such command", 127)
    else:
        command[0] = program  # a Python looks for its environment where its own name is found in PATH
    environment = _environment(arguments)
    python = _interpreter(command[0], command[1:])
    if python is not None and not _traceable(*python, environment):
        why = "it ignores PYTHONPATH (-E, -I) or has no site-packages (-S)" if python[1] else "it has no causal_otel"
        return _refused(f"{' '.join((python[0], *python[1]))} would not be traced: {why}", 1)
    return _become(command, environment)


def main() -> int:
    """The console script: ``run`` at once, all other commands by ``causal_otel.cli``."""
    if sys.argv[1:2] != ["run"]:
        from causal_otel.cli import main

        return main()
    parser = argparse.ArgumentParser(prog="causal-otel run", description=HELP)
    configure(parser)
    return run(parser.parse_args(sys.argv[2:]))


def _refused(why: str, status: int) -> int:
    print(f"causal-otel run: {why}", file=sys.stderr)
    return status


def _find(name: str) -> str | None:
    """The file of a command. The folder of `causal-otel` comes first if PATH lacks it: an environment not activated."""
    ours = os.path.dirname(os.path.abspath(sys.argv[0]))
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=path if ours in path.split(os.pathsep) else os.pathsep.join((ours, path)))


def _environment(arguments: argparse.Namespace) -> dict[str, str]:
    """The command's environment: ours, with what the options say."""
    given = {variable: getattr(arguments, option) for option, variable in _VARIABLES.items()}
    others = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry != _SITE]
    return {
        **os.environ,
        **{variable: value for variable, value in given.items() if value is not None},
        AUTO: "program" if arguments.no_children else "1",
        LAUNCHED: str(os.getpid()),
        "PYTHONPATH": os.pathsep.join((_SITE, *others)) if any(others) else _SITE,
    }


def _interpreter(program: str, arguments: Sequence[str]) -> tuple[str, list[str]] | None:
    """The Python that a file is or names in its first lines, and its options that decide whether it can be traced.

    None where one cannot tell: of a shell, or of a binary that embeds Python.
    """
    if _PYTHON.fullmatch(os.path.basename(program)):
        return program, _isolating(arguments)
    try:
        with open(program, "rb") as file:
            shebang, _, rest = file.read(4096).partition(b"\n")
    except OSError:
        return None
    if not shebang.startswith(b"#!"):
        return None
    python, *words = os.fsdecode(shebang[2:]).split() or [""]
    if os.path.basename(python) == "env":
        python, *words = [word for word in words if word != "-S"] or [""]
        python = shutil.which(python) or python
    elif quoted := _QUOTED.match(rest):
        python, words = os.fsdecode(quoted[1]), []
    return (python, _isolating(words)) if _PYTHON.fullmatch(os.path.basename(python)) else None


def _isolating(words: Sequence[str]) -> list[str]:
    """The options among a Python's arguments by which it ignores PYTHONPATH, or all packages."""
    found = []
    waiting = iter(words)
    for word in waiting:
        if not word.startswith("-") or word in ("-", "--"):
            break
        letters = re.match(r"-([a-zA-Z]*?)([cmWX]|$)(.*)", word)
        if letters is None:
            break  # such as --check-hash-based-pycs
        found += [f"-{letter}" for letter in "EIS" if letter in letters[1]]
        if letters[2] in "cm" and letters[2]:
            break
        if letters[2] and not letters[3]:
            next(waiting, None)  # the value of -W or -X
    return found


_ASK = """
import sys
from importlib.util import find_spec
sys.exit("_causal_otel_start" not in sys.modules or find_spec("causal_otel") is None)
"""


def _traceable(python: str, options: list[str], environment: Mapping[str, str]) -> bool:
    """Whether a Python would trace. Ours does; another one is asked, started as the command will start it."""
    if not options and os.path.dirname(os.path.abspath(python)) == os.path.dirname(os.path.abspath(sys.executable)):
        return True
    import subprocess

    command = [python, *options, "-P", "-c", _ASK]  # -P: a folder of that name, where we are, is no installation
    null = subprocess.DEVNULL
    try:
        return not subprocess.call(
            command, env={**environment, AUTO: "0"}, stdin=null, stdout=null, stderr=null, timeout=60
        )
    except OSError:
        return True  # which the command itself will say
    except subprocess.TimeoutExpired:
        return False


def _become(command: list[str], environment: Mapping[str, str]) -> int:
    if os.name == "nt":  # whose exec leaves the caller behind, without an exit status
        import subprocess

        return subprocess.call(command, env=environment)
    import signal

    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        os.execve(command[0], command, environment)  # noqa: S606 - no shell, as is meant
    except OSError as error:
        return _refused(f"{command[0]}: {error.strerror}", 127 if error.errno == errno.ENOENT else 126)
