"""Workers whose pool is one of greenlets, in an environment of their own.

Where gevent and eventlet are installed, others import them: Sentry's SDK does, and fails if there is trio as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.environments import make_environment, pip_install

__all__ = ["GREENLETS", "greenlets_python", "python_of"]

_REQUIREMENTS = ("gevent==26.9.0", "eventlet==0.41.3")

GREENLETS = [pytest.param("gevent", marks=pytest.mark.long), pytest.param("eventlet", marks=pytest.mark.long)]
"""The pools, as parameters of tests."""


@pytest.fixture(scope="session")
def greenlets_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has both, and everything that is installed here."""
    python = make_environment(tmp_path_factory.mktemp("greenlets") / "environment")
    pip_install(python, *_REQUIREMENTS)
    return python


def python_of(pool: str, request: pytest.FixtureRequest) -> Path | None:
    """The Python that runs a worker with that pool; None: this one."""
    if pool not in ("gevent", "eventlet"):
        return None
    found: Path = request.getfixturevalue("greenlets_python")
    return found
