"""What a program with ``install()`` does when its collector misbehaves: all the way over real sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.programs import run
from tests.faults.scripted import (
    Action,
    answer,
    guard,
    hang,
    partial,
    refused_port,
    reset,
    scripted,
    trickle,
    trickle_headers,
)

_PROGRAM = """
import json, sys, causal_otel
installed = causal_otel.install(patches=[], exit_timeout=0.5)
for name in "abc":
    with causal_otel.span(name):
        pass
flushed = installed.flush(60)
export = installed.status().export
print(json.dumps({"flushed": flushed, "exported": export.exported, "queued": export.queued,
                  "dropped": {key: value for key, value in export.dropped.items() if value}}))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "expected", "requests"),
    [
        ((answer(200),), {}, 1),
        ((answer(503, {"Retry-After": "0"}), answer(200)), {}, 2),
        ((answer(429), answer(200)), {}, 2),
        ((answer(502), answer(200)), {}, 2),
        ((reset(), answer(200)), {}, 2),
        ((hang, answer(200)), {}, 2),
        ((trickle,), {}, 1),
        ((trickle_headers, answer(200)), {}, 2),
        ((trickle_headers,), {"export_failed": 3}, None),
        ((partial(2, "too old"),), {"rejected": 2}, 1),
        ((answer(400),), {"refused": 3}, 1),
        ((answer(500),), {"refused": 3}, 1),
        ((answer(413),), {"too_large": 3}, 5),
        ((answer(503, {"Retry-After": "100"}),), {"export_failed": 3}, 1),
        ((answer(503),), {"export_failed": 3}, None),
        ((hang,), {"export_failed": 3}, None),
        ((reset(),), {"export_failed": 3}, None),
    ],
)
def test_answers(script: tuple[Action, ...], expected: dict[str, int], requests: int | None) -> None:
    """Each answer costs what it must and no more, is counted by its reason, and flush() tells the truth."""
    with scripted(*script) as collector:
        attempt, batch = ("2", "60000") if requests is not None else ("0.3", "1000")
        done = run(
            _PROGRAM,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_EXPORTER_OTLP_TIMEOUT=attempt,
            OTEL_BSP_EXPORT_TIMEOUT=batch,
        )
        assert done.returncode == 0, done.stderr
        lost = sum(expected.values())
        told: dict[str, Any] = json.loads(done.stdout)
        assert told == {"flushed": not lost, "exported": 3 - lost, "queued": 0, "dropped": expected}
        if requests is not None:
            assert len(collector.requests) == requests
        assert all(request.names == ["a", "b", "c"] for request in collector.requests) or "too_large" in expected
        assert (done.stderr == "") is (not lost and len(collector.requests) == 1)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (answer(401), "401: Reason; check the credentials in OTEL_EXPORTER_OTLP_HEADERS"),
        (answer(302, {"Location": "http://127.0.0.1:1/"}), "302: a redirect to 'http://127.0.0.1:1/'; set that as the"),
        (answer(200, {"Content-Type": "text/html"}, b"<html>"), "200: the answer is text/html and no answer of OTLP"),
    ],
)
def test_not_let_in(action: Action, sentence: str) -> None:
    """What is not about the spans keeps them, flush() is False at once, and each line of the log says what to do."""
    with scripted(action) as collector:
        done = run(_PROGRAM, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"flushed": False, "exported": 0, "queued": 3, "dropped": {}}
    lines = done.stderr.splitlines()
    assert len(lines) == 2, lines  # one when it failed, one at the end of the process
    assert all(sentence in line for line in lines)
    assert "3 of the last 3 spans could not be delivered" in lines[1]


def test_token_that_is_rotated(tmp_path: Path) -> None:
    """What ended while a program had an old token is sent by its next start, which has the new one."""
    program = """
    import os, causal_otel
    installed = causal_otel.install(patches=[], max_export_batch_size=1)
    for name in os.environ["NAMES"]:
        with causal_otel.span(name):
            pass
    installed.flush(20)
    """
    with scripted(guard("Bearer new")) as collector:
        for token, names in (("old", "abc"), ("older", "def"), ("new", "g")):
            done = run(
                program,
                OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
                OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{token}",
                TRACING_SPOOL_DIRECTORY=str(tmp_path / "spool"),
                NAMES=names,
            )
            assert done.returncode == 0, done.stderr
            assert "Bearer" not in done.stderr
        let_in = [it for it in collector.requests if it.headers["authorization"] == "Bearer new"]
        assert [name for request in let_in for name in request.names] == list("abcdefg")


def test_nobody_listening_at_exit() -> None:
    """With nothing listening a program ends soon, with its own exit code, and one line says what was lost."""
    with refused_port() as port:
        done = run(
            """
            import sys, causal_otel
            causal_otel.install(patches=[], exit_timeout=110)
            for _ in range(2000):
                with causal_otel.span("x"):
                    pass
            sys.exit(3)
            """,
            seconds=100.0,  # less than the exit timeout
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        )
    assert done.returncode == 3
    lines = [line for line in done.stderr.splitlines() if "last 2000 spans" in line or "could not be" in line]
    assert len(lines) == 1, done.stderr
    assert "refused" in lines[0]


def test_hanging_collector_at_exit() -> None:
    """With a collector that hangs a program ends after its exit timeout, with its own exit code, and one line."""
    with scripted(hang) as collector:
        done = run(
            """
            import sys, causal_otel
            causal_otel.install(patches=[], exit_timeout=0.3)
            for _ in range(2000):
                with causal_otel.span("x"):
                    pass
            sys.exit(3)
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "2000 of the last 2000 spans could not be delivered" in done.stderr


def test_spool_survives_the_process(tmp_path: Path) -> None:
    """What a process could not deliver is on disk, also after SIGKILL, and the next process sends it, in order."""
    killed = """
    import causal_otel, os, signal, time
    causal_otel.install(patches=[], max_export_batch_size=2)
    for name in "abcdef":
        with causal_otel.span(name):
            pass
    while causal_otel.status().export.spooled < 6:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    following = """
    import causal_otel
    installed = causal_otel.install(patches=[])
    with causal_otel.span("own"):
        pass
    assert installed.flush(20)
    assert installed.status().export.recovered == 6
    """
    spool = str(tmp_path / "spool")
    with refused_port() as port:
        done = run(killed, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", TRACING_SPOOL_DIRECTORY=spool)
    assert done.returncode == -9, done.stderr
    with scripted() as collector:
        done = run(following, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, TRACING_SPOOL_DIRECTORY=spool)
        assert (done.returncode, done.stderr) == (0, "")
        assert collector.names() == [*"abcdef", "own"]


def test_own_traffic_is_not_traced() -> None:
    """Exporting makes no spans, also where the HTTP libraries that it uses are traced by OpenTelemetry."""
    with scripted() as collector:
        done = run(
            """
            import causal_otel, urllib3
            from opentelemetry import trace
            from opentelemetry.context import get_current
            from causal_otel.engine.context import is_suppressed
            seen = []
            original = urllib3.connectionpool.HTTPConnectionPool.urlopen
            def urlopen(self, *args, **kwargs):
                seen.append((is_suppressed(get_current()), trace.get_current_span().get_span_context().is_valid))
                return original(self, *args, **kwargs)
            urllib3.connectionpool.HTTPConnectionPool.urlopen = urlopen
            installed = causal_otel.install(patches=[])
            with causal_otel.span("a"):
                with causal_otel.span("b"):
                    pass
                assert installed.flush(20)
            assert seen == [(True, False)], seen
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_grpc_nobody_listening() -> None:
    """With gRPC and nothing listening nothing breaks, flush() is False, and the process ends."""
    with refused_port() as port:
        done = run(
            """
            import causal_otel
            installed = causal_otel.install(patches=[], protocol="grpc", export_timeout=0.5, exit_timeout=0.5)
            with causal_otel.span("x"):
                pass
            assert not installed.flush(20)
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        )
    assert done.returncode == 0, done.stderr
