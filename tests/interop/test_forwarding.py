"""``--forward`` to a true OpenTelemetry Collector that is down, refuses, is slow, cannot get rid of it, and is back."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from causal_otel.testing.process import LOOPBACK, Process, claim_port
from tests.collector.forward.sending import forward, names, send, settled
from tests.collector.running import Running, running
from tests.interop.running import configured, needed
from tests.services.received import ReceivedSpans, receiver
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("otelcol")


@contextmanager
def _far_side(folder: Path, certs: Path, port: int, behind: str, password: str) -> Iterator[Process]:
    """A Collector that lets ``shop`` in with a password, and answers when what is behind it has answered."""
    hashed = subprocess.run(
        [needed("openssl"), "passwd", "-apr1", password], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()
    config = {
        "extensions": {"basicauth": {"htpasswd": {"inline": f"shop:{hashed}".replace("$", "$$")}}},
        "receivers": {
            "otlp": {
                "protocols": {
                    "http": {
                        "endpoint": f"{LOOPBACK}:{port}",
                        "auth": {"authenticator": "basicauth"},
                        "tls": {"cert_file": str(certs / "server.crt"), "key_file": str(certs / "server.key")},
                    }
                }
            }
        },
        "exporters": {
            "otlphttp": {
                "endpoint": behind,
                "sending_queue": {"enabled": False},
                "retry_on_failure": {"enabled": False},
            }
        },
        "service": {
            "extensions": ["basicauth"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlphttp"]}},
        },
    }
    with configured("otelcol", folder, config, port) as child:
        yield child


@contextmanager
def _ours(folder: Path, certs: Path, port: int) -> Iterator[Running]:
    credentials = base64.b64encode(b"shop:s3cret").decode().replace("=", "%3D")
    environ = {
        "CAUSAL_OTEL_COLLECTOR_FORWARD": f"https://localhost:{port}",
        "CAUSAL_OTEL_COLLECTOR_FORWARD_HEADER": f"authorization=Basic%20{credentials}",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certs / "ca.crt"),
    }
    with running(folder / "traces", environ=environ) as collector:
        yield collector


def _waits(collector: Running, spans: int, problem: str) -> None:
    """Assert that so many spans come to wait, for that reason, in the status and in the metrics."""

    def found() -> bool:
        status = forward(collector)
        return status["queue_spans"] == spans and problem in str(status["problem"])

    wait_until(found, lambda: forward(collector))
    metrics = collector.metrics()
    assert (metrics["causal_forward_queue_spans"], metrics["causal_forward_failing"]) == (spans, 1)


def test_nothing_is_lost_whatever_the_collector_does(tmp_path: Path, certs: Path) -> None:
    """Everything that ours has acknowledged arrives in order, over TLS, through outages of each kind and kill -9."""
    port, behind_port = claim_port(None, "far side"), claim_port(None, "behind it")
    behind_url = f"http://{LOOPBACK}:{behind_port}"
    with _ours(tmp_path, certs, port) as ours:
        # Down.
        sent = send(ours, *range(1, 11))
        _waits(ours, 10, "refused")
        os.kill(ours.process.pid, signal.SIGKILL)
        ours.process.wait(60)
    # Refusing: the password is another.
    with _far_side(tmp_path, certs, port, behind_url, "another"), _ours(tmp_path, certs, port) as ours:
        sent += send(ours, *range(11, 16))
        _waits(ours, 15, "401")
    with _ours(tmp_path, certs, port) as ours, _far_side(tmp_path, certs, port, behind_url, "s3cret") as theirs:
        # It cannot get rid of anything itself.
        sent += send(ours, 16)
        _waits(ours, 16, "503")
        with receiver(behind_port) as behind:
            # Back.
            wait_until(lambda: settled(ours), lambda: forward(ours))
            assert names(behind) == sent
            # Slow: it takes the request and does not answer.
            os.kill(theirs.pid, signal.SIGSTOP)
            try:
                os.waitid(os.P_PID, theirs.pid, os.WSTOPPED | os.WNOWAIT)  # until then it may answer some
                sent += send(ours, *range(17, 27))
                assert forward(ours)["queue_spans"] == 10
            finally:
                os.kill(theirs.pid, signal.SIGCONT)
            wait_until(lambda: settled(ours), lambda: forward(ours))
            _all_there(ours, behind, sent)


def _all_there(ours: Running, behind: ReceivedSpans, sent: list[str]) -> None:
    assert names(behind) == sent
    assert ours.metrics()['causal_forward_spans_total{outcome="delivered"}'] == len(sent)
    assert ours.metrics()["causal_forward_failing"] == 0
    assert [ours.trace(number) for number in (1, 16, 26)] == [["span 1"], ["span 16"], ["span 26"]]
