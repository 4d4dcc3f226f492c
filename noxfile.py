"""``make matrix``: the tests of every patch on the lowest and the highest version of its driver, on every Python here.

A session is named by its Python and its end of the range. ``nox --list`` shows them. A Python that is not there is
skipped, and nox says so. ``nox --session drivers-3.12 -- -k redis`` runs a part of both ends.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nox

__all__ = ["drivers"]

nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False

_PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def _look_behind_shims() -> None:
    """Let nox find every Python that pyenv has: a shim runs the chosen versions alone, and nox takes it for none.

    And those that ``.ci/newer_python`` has fetched.
    """
    for version in _PYTHONS:
        os.environ["PATH"] += f"{os.pathsep}{Path(__file__).parent}/build/python{version}/usr/bin"
        command = [f"python{version}", "-c", "import sys; print(sys.executable)"]
        try:
            found = subprocess.run(
                command, env={**os.environ, "PYENV_VERSION": version}, capture_output=True, text=True, timeout=60
            )
        except OSError:
            continue
        if found.returncode == 0:
            os.environ["PATH"] = f"{Path(found.stdout.strip()).parent}{os.pathsep}{os.environ['PATH']}"


_look_behind_shims()


@nox.session(python=_PYTHONS)
@nox.parametrize("end", ("lowest", "highest"))
def drivers(session: nox.Session, end: str) -> None:
    """Each driver's tests on one end of the range of versions that its patch supports."""
    session.install("--quiet", "--constraint", "constraints.txt", "--editable", ".[test]")
    tests = f"tests/patches/test_driver_versions.py::test_{end}_version"
    session.run("python", "-m", "pytest", tests, "-m", "long or matrix", *session.posargs)
