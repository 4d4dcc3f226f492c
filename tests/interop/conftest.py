"""Everything in this folder is marked ``interop``, and what was not run is said however quiet the run is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.interop.running import certificates, needed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.interop)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the programs that a test is marked to need, before any server is started for it."""
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            needed(name)


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and its certificates, by deploy/certificates.sh."""
    return certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secrets of deploy/compose.production.yaml: services show ``shop:s3cret``."""
    folder = tmp_path_factory.mktemp("secrets")
    command = [str(needed("openssl")), "passwd", "-apr1", "s3cret"]  # as docs/how-to/deploy-production.md has it
    hashed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    (folder / "otlp_htpasswd").write_text(f"shop:{hashed}")
    (folder / "elasticsearch_password").write_text("changeme\n")
    return folder
