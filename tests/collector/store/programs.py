"""Writers in processes of their own, for what must not happen in this one: being killed, and having no room."""

from __future__ import annotations

import subprocess
import sys
import textwrap

__all__ = ["finish", "start"]

_PRELUDE = """
import os, resource, sys, time
from pathlib import Path
from causal_otel.collector.store.writer import *
from causal_otel.collector.store import days
from tests.collector.spans import *
directory = Path(sys.argv[1])
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program on the directory that is its first argument. End it with :func:`finish`."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _PRELUDE + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(program: subprocess.Popen[str], code: int = 0) -> str:
    """What it has printed and was not read, when it has ended with ``code``."""
    try:
        output, complaints = program.communicate(timeout=60)
    finally:
        program.kill()
        program.wait()
    assert program.returncode == code, complaints
    return output
