"""Virtual environments of a test's own, which have everything that is installed here, and something else before it."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

__all__ = ["environment", "make_environment", "pip_install", "run_to_end"]

ROOT = Path(__file__).parents[1]
SECONDS_TO_INSTALL = 300


def run_to_end(*command: str | Path, seconds: float) -> str:
    """The output of a program that ends well and in time."""
    variables = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=variables, timeout=seconds, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}:\n{done.stdout[-20000:]}"
    return done.stdout


def make_environment(place: Path) -> Path:
    """The Python of a new virtual environment, in which what is installed here is found after its own."""
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    (own,) = place.glob("lib/python*/site-packages")
    (own / "this_one.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return python


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """That of a test's own."""
    return make_environment(tmp_path / "environment")


def pip_install(python: Path, *requirements: str) -> None:
    """Install them there, through pip's ordinary configuration."""
    # Most of what is installed is never imported: what is, Python compiles then.
    command = "-m", "pip", "install", "--quiet", "--no-compile"
    run_to_end(python, *command, *requirements, seconds=SECONDS_TO_INSTALL)
