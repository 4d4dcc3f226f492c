"""The tests of the neo4j patch pass on the newest Neo4j too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.services import neo4j_server

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.timeout(1200)  # the server may have to be fetched
def test_on_the_newest_server() -> None:
    """What is asserted of the version with long-term support holds on the one of this year."""
    missing = neo4j_server.missing(neo4j_server.NEWEST)
    if missing:
        pytest.skip(f"no test against the true newest Neo4j: {missing}")
    files = [Path(__file__).with_name(f"test_neo4j{name}.py") for name in ("", "_failures", "_told", "_transactions")]
    with neo4j_server.neo4j(version=neo4j_server.NEWEST) as server:
        user = f"{quote(server.user)}:{quote(server.password)}"
        url = server.url.replace("://", f"://{user}@") + f"/{server.database}"
        found = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                *files,
                "-k",
                "not arcadedb",
            ],
            cwd=ROOT,
            env={**os.environ, "CAUSAL_OTEL_TEST_NEO4J": url},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
        )
    assert found.returncode == 0, found.stdout[-8000:]
