"""What runs at the beginning of a Python process that is to be traced without a change of its code.

This package is beside ``causal_otel`` and imports the standard library only. Python reads it before it reads the
application, also in processes that are not traced in the end, and importing ``causal_otel`` takes longer than Python
takes to start.

``causal-otel run`` (``run.py``) leads here by ``sitecustomize/sitecustomize.py``, the distribution ``causal-otel-auto``
by a ``.pth`` file. Both ask the variable ``CAUSAL_OTEL_AUTO``.
"""

from __future__ import annotations

import os
import sys

__all__ = ["AUTO", "LAUNCHED", "program", "start"]

AUTO = "CAUSAL_OTEL_AUTO"
"""The variable that says what is traced. Unset, empty, ``0`` or ``false``: nothing. ``program``: this process and its
workers. ``workers``: what ``program`` leaves to the processes below it. Else all processes that inherit it."""
LAUNCHED = "CAUSAL_OTEL_RUN_PID"
"""The variable in which ``causal-otel run`` says which process the command is."""

_PROGRAM = "CAUSAL_OTEL_PROGRAM"
"""The variable in which a process tells its workers the program's name: their command line does not."""
_TOOLS = (
    *("causal-otel", "causal_otel", "opentelemetry-instrument"),
    *("compileall", "ensurepip", "pip", "venv", "virtualenv"),
)
"""Programs that are nobody's service: neither they nor what they start is traced. Of ours, the collector would trace
what it receives; ``causal-otel run`` says anew what is traced."""


def start() -> None:
    """Trace this process, if ``CAUSAL_OTEL_AUTO`` says so and it runs an application. Raises nothing."""
    asked = os.environ.get(AUTO, "").strip().lower()
    if asked in ("", "0", "false"):
        return
    if _is_tool():
        os.environ[AUTO] = "0"
        return
    if _is_worker():
        if _asked_for().startswith("from multiprocessing.resource_tracker "):
            return  # it runs nothing of the application's
    elif asked == "workers":
        return
    else:
        os.environ[_PROGRAM] = program()
    if asked == "program":
        os.environ[AUTO] = "workers"
    try:
        from causal_otel.bootstrap import install_from_environment
    except Exception as error:
        if sys.stderr is not None:  # logging is not set up yet
            print(f"causal_otel: nothing is traced: {type(error).__name__}: {error}", file=sys.stderr)
    else:
        install_from_environment()


def program() -> str:
    """The name of what this process runs: its script's or its module's, or that of the program whose worker it is."""
    script = _argv()[0]
    if script == "-m":  # while Python starts; later it is the module's file
        return _asked_for().removesuffix(".__main__").rpartition(".")[2]
    if script == "-c":
        return os.environ.get(_PROGRAM, "python") if _is_worker() else "python"
    name = os.path.basename(script)
    if name == "__main__.py":  # python -m package
        name = os.path.basename(os.path.dirname(script))
    return name.removesuffix(".py") or "python"


def _is_tool() -> bool:
    name = _asked_for().partition(".")[0] if _argv()[0] == "-m" else program()
    return name.removesuffix(".exe").rstrip("0123456789.") in _TOOLS  # also pip3.11


def _is_worker() -> bool:
    """Whether ``multiprocessing`` has started this Python, to run functions of its parent's program."""
    return _argv()[0] == "-c" and _asked_for().startswith("from multiprocessing.")


def _asked_for() -> str:
    """The module of ``-m``, or the code of ``-c``; else nothing. While Python starts, ``sys.argv`` has neither."""
    option, *rest = _argv()
    if option not in ("-c", "-m") or len(rest) + 1 >= len(sys.orig_argv):
        return ""
    word = sys.orig_argv[-len(rest) - 1]
    return word.partition(option[1])[2] if word.startswith("-") else word  # -mmodule


def _argv() -> list[str]:
    """The command line; a program that embeds Python, as uWSGI does, may have none."""
    return getattr(sys, "argv", None) or [""]
