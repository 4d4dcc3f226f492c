"""``make matrix``: the tests of every patch on the lowest and the highest version of its driver, on every Python here.

A session is named by its Python and its end of the range. ``nox --list`` shows them. A Python that is not there is
skipped, and nox says so. ``nox --session drivers-3.12 -- -k redis`` runs a part of both ends.
"""

from __future__ import annotations

import nox

__all__ = ["drivers"]

nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False

_PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@nox.session(python=_PYTHONS)
@nox.parametrize("end", ("lowest", "highest"))
def drivers(session: nox.Session, end: str) -> None:
    """Each driver's tests on one end of the range of versions that its patch supports."""
    session.install("--quiet", "--constraint", "constraints.txt", "--editable", ".[test]")
    tests = f"tests/patches/test_driver_versions.py::test_{end}_version"
    session.run("python", "-m", "pytest", tests, "-m", "long or matrix", *session.posargs)
