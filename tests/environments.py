"""Virtual environments with other versions than the installed ones, in which all else is found as it is here."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

__all__ = ["installed", "make_environment", "output_of"]

_ROOT = Path(__file__).parents[1]
_SECONDS_TO_INSTALL = 300


def make_environment(place: Path) -> Path:
    """The Python of a new virtual environment in ``place``, in which what is installed here is found after its own."""
    venv.create(place, symlinks=True)
    (own,) = place.glob("lib/python*/site-packages")
    (own / "this_one.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return place / "bin" / "python"


def installed(python: Path, *requirements: str) -> None:
    """Have pip install them there, through its ordinary configuration."""
    output_of(python, "-m", "pip", "install", "--quiet", *requirements, seconds=_SECONDS_TO_INSTALL)


def output_of(*command: str | Path, seconds: float) -> str:
    """The output of a program that ends well and in time."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    pipe = subprocess.PIPE
    done = subprocess.run(
        command, cwd=_ROOT, env=environment, timeout=seconds, stdout=pipe, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}:\n{done.stdout[-20000:]}"
    return done.stdout
