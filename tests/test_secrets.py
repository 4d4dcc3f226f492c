"""No secret leaves: dozens of them through every driver, and none in an exported byte, a log line or on the console."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from causal_otel.instrument.registry import BUILT_IN
from causal_otel.testing.process import process
from tests.faults.programs import run
from tests.faults.scripted import refused_port, scripted

if TYPE_CHECKING:
    from tests.services.fixtures import GraphServer

ROOT = Path(__file__).parents[1]
QUEUE = "planted"
FEWEST = 40


@dataclass(frozen=True)
class Left:
    """What has left the processes."""

    secrets: Mapping[str, str]
    redacted: Mapping[str, int]
    exported: bytes
    printed: str


@pytest.fixture(scope="module")
def left(postgres_url: str, redis_url: str, neo4j_server: GraphServer) -> Iterator[Left]:
    """All that ``tests.planted`` and a Celery worker of its queue have exported and printed."""
    broker = urlsplit(redis_url)._replace(path="/9").geturl()
    with scripted() as collector:
        environment = {
            **os.environ,
            "C_FORCE_ROOT": "1",
            "CELERY_BROKER_URL": broker,
            "CELERY_RESULT_BACKEND": broker,
            "OTLP_ENDPOINT": collector.endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": "queue.url=amqp://app:hunter-resource@queue//",
            "PLANTED_BOLT": json.dumps([neo4j_server.url, *neo4j_server.auth, neo4j_server.database]),
            "PLANTED_POSTGRES": postgres_url,
            "PLANTED_QUEUE": QUEUE,
            "PLANTED_REDIS": broker,
        }
        worker = [sys.executable, "-m", "celery", "-A", "tests.patches.celery_app", "worker", "-Q", QUEUE, "-l", "INFO"]
        with process(
            [*worker, "-P", "solo", "-n", f"{QUEUE}@tests", "--without-mingle", "--without-gossip"],
            name="worker",
            env={**environment, "TESTS_WORKER_PATCHES": "celery,redis", "TESTS_QUEUE": QUEUE},
            ready=lambda worker: " ready." in worker.output(),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "tests.planted"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                cwd=ROOT,
            )
            assert done.returncode == 0, done.stderr
        flushed, secrets, redacted = json.loads(done.stdout.splitlines()[-1])
        assert flushed
        secrets["resource attribute"] = "hunter-resource"
        yield Left(secrets, redacted, b"\n".join(request.body for request in collector.requests), done.stderr)


def _spellings(secret: str) -> list[str]:
    """The ways in which a secret may be written."""
    encoded = base64.b64encode(f":{secret}".encode()).decode()[4:-4]
    return [secret, quote(secret, safe=""), secret.encode().hex(), encoded]


def test_enough_is_planted(left: Left) -> None:
    """There are enough secrets, all different, and every patch has recorded and exported something."""
    assert len(set(left.secrets.values())) == len(left.secrets) >= FEWEST
    for name in BUILT_IN.keys() - {"locks", "threads"}:  # which are given no secrets
        assert f"causal_otel.{name}".encode() in left.exported
    plumbing = ("COMMIT postgres", "PREPARE SELECT missing", "CONNECT shop", "CONNECT missing", "SUBSCRIBE")
    for name in ("unique", "AUTH", "Cypher", "boom", "celery", "chained", "process tests.fail", *plumbing):
        assert name.encode() in left.exported
        assert name in left.printed or name.startswith("process")


def test_no_secret_is_exported(left: Left) -> None:
    """None of them is in any exported byte, however it is spelled."""
    found = [
        place
        for place, secret in left.secrets.items()
        if any(spelling.encode() in left.exported for spelling in _spellings(secret))
    ]
    assert found == []


def test_no_secret_is_printed(left: Left) -> None:
    """None of them is in a log line of ours or of OpenTelemetry's, nor in a tree on the console."""
    lines = [line for line in left.printed.splitlines() if any(secret in line for secret in left.secrets.values())]
    assert lines == []
    assert "tracing failed in" in left.printed  # a failure of ours has been logged, with its traceback


def test_status_counts_by_rule(left: Left) -> None:
    """The counts tell which rules were at work; the page for people shows them."""
    assert left.redacted.keys() >= {
        "key",
        "private-key",
        "url",
        "pair",
        "bearer",
        "jwt",
        "aws",
        "vendor",
        "card",
        "database",
    }
    assert "  redacted: " in left.printed


def test_harmless_rest_stays(left: Left) -> None:
    """What stands around a secret is exported, with the rule's name in its place."""
    for kept in (
        "postgresql://app:[redacted:url]@127.0.0.1:1/shop",
        "amqp://app:[redacted:url]@queue//",
        "&page=2",
        "JOIN sessions u ON s.token = u.token",
    ):
        assert kept.encode() in left.exported


def test_no_secret_in_the_spool(tmp_path: Path) -> None:
    """What waits on disk for a collector that cannot be reached has been redacted as well."""
    with refused_port() as port:
        done = run(
            """
            import causal_otel
            from tests.planted import plant_our_own
            from tests.planted_secrets import SECRETS
            installed = causal_otel.install(patches=[], exit_timeout=2.0)
            plant_our_own()
            installed.flush(5)
            print(*SECRETS.values(), sep="\\n")
            """,
            OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            TRACING_SPOOL_DIRECTORY=str(tmp_path),
            PYTHONPATH=str(ROOT),
        )
    assert done.returncode == 0, done.stderr
    spooled = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"chained" in spooled
    secrets = done.stdout.split()
    assert len(secrets) > 15
    assert [secret for secret in secrets if secret.encode() in spooled or secret in done.stderr] == []
