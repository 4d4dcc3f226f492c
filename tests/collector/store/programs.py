"""Writers in processes of their own, for what must not happen in this one: being killed, and having no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults import programs

if TYPE_CHECKING:
    import subprocess

__all__ = ["start"]

_PRELUDE = """
import os, resource, sys, time
from pathlib import Path
from causal_otel.collector.store.writer import *
from causal_otel.collector.store import days
from tests.collector.spans import *
directory = Path(sys.argv[1])
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program on the directory that is its first argument. End it with :func:`tests.faults.programs.finish`."""
    return programs.start(_PRELUDE, code, *arguments)
