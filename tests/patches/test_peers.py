"""Beside other tracers, patched before us or after us: the user gets what he got, and our spans are what they were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.patches.http_server import echo_app, serve


@dataclass
class Programs:
    """Runs ``peers.py``, each way once."""

    environment: dict[str, str]
    seen: dict[tuple[str, str], Any] = field(default_factory=dict)

    def __call__(self, peer: str, order: str) -> Any:
        if (peer, order) not in self.seen:
            plugins = "" if peer == "logfire" else "logfire-plugin"
            program = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "tests.patches.peers", peer, order],
                env={**os.environ, **self.environment, "PYDANTIC_DISABLE_PLUGINS": plugins},
                capture_output=True,
                text=True,
                timeout=150,
            )
            assert program.returncode == 0, program.stderr[-4000:]
            self.seen[peer, order] = json.loads(program.stdout.splitlines()[-1])
        return self.seen[peer, order]


@pytest.fixture(scope="module")
def programs(postgres_url: str, redis_url: str) -> Iterator[Programs]:
    database = urlsplit(redis_url)._replace(path="/9").geturl()
    with serve(echo_app) as url:
        yield Programs({"POSTGRES": postgres_url, "REDIS": database, "HTTP": url, **_REACHES_NOBODY})


_REACHES_NOBODY = {
    "DD_TRACE_AGENT_URL": "http://127.0.0.1:1",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_CRASHTRACKING_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
}


@pytest.mark.long
@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("peer", ["contrib", "logfire", "ddtrace", "sentry"])
def test_same_results_and_our_spans(programs: Programs, peer: str, order: str) -> None:
    """Every operation gives what it gives untraced, results and exceptions, and our spans are those of us alone."""
    untraced, ours, found = programs("none", "alone"), programs("none", "first"), programs(peer, order)
    assert untraced["spans"] == []
    assert {span.partition(":")[0] for span in ours["spans"]} == {"asgi", "asyncpg", "celery", "httpx", "redis"}
    assert ours["outcomes"] == untraced["outcomes"]
    assert found["outcomes"] == untraced["outcomes"]
    assert found["spans"] == ours["spans"]
    assert found["faults"] == {}
