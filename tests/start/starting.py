"""What the tests of programs that are traced from outside share: the command, and small programs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from tests.environments import ROOT
from tests.faults.programs import environment

__all__ = ["CAUSAL_OTEL", "RUN", "WORK", "install_auto", "run_in", "write"]

CAUSAL_OTEL = str(Path(sys.executable).with_name("causal-otel"))
RUN = (CAUSAL_OTEL, "run")
WORK = """
    import time, causal_otel
    with causal_otel.span("work"):
        time.sleep(0.01)
"""
"""A program that installs nothing, with one span of ten milliseconds."""


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files of a program, by their names in its folder."""
    for name, code in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code), encoding="utf-8")


def run_in(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command there to its end, with nothing of this process's environment but PATH."""
    return subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=120
    )


def install_auto(python: Path) -> None:
    """Put the files of the distribution ``causal-otel-auto`` where they would be installed."""
    (own,) = python.parent.parent.glob("lib/python*/site-packages")
    for name in ("causal_otel_auto.pth", "causal_otel_auto.py", "causal_otel_auto.start"):
        shutil.copy(ROOT / "packages" / "auto" / name, own)
