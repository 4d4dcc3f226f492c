"""The compose files in the eyes of the specification's reference implementation, which Docker Compose is made of."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import COMPOSE, DEPLOY, compose
from tests.interop.running import needed


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_loads_the_file(name: str) -> None:
    """The file is of the specification's schema, what it extends is there, and its services are all found."""
    done = _load(DEPLOY / name, ELASTICSEARCH_PASSWORD="a-password")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(compose(name)["services"])


def test_compose_refuses_what_is_wrong(tmp_path: Path) -> None:
    """A key that the schema does not know is refused, and so is production without its password."""
    path = tmp_path / "compose.yaml"
    path.write_text("services: {one: {image: busybox, potrs: [1]}}\n")
    assert "potrs" in _load(path).stderr
    assert "ELASTICSEARCH_PASSWORD" in _load(DEPLOY / "compose.production.yaml").stderr


def _load(path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run([needed("compose"), path], env=environ, capture_output=True, text=True, timeout=120)
