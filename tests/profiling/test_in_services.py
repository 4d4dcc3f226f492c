"""Profiles of real services: the function that computes is named on the request's span, or the task's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from causal_otel.causality.folded import hottest, stacks
from causal_otel.names import CAUSAL_PROFILE
from causal_otel.testing.process import LOOPBACK, Process, claim_port, http_status, process
from tests.installing import run_strictly
from tests.profiling.reading import read
from tests.services.received import ReceivedSpan, ReceivedSpans

_TRACE_ID = "6b" * 16
_HEADERS = {"traceparent": f"00-{_TRACE_ID}-{'7a' * 8}-01"}


@contextmanager
def _running(receiver: ReceivedSpans, name: str, command: list[str], ready: Any, **more: str) -> Iterator[Process]:
    environment = {
        **os.environ,
        "C_FORCE_ROOT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_SERVICE_NAME": name,
        "OTLP_ENDPOINT": receiver.endpoint,
        "TRACING_PROFILING": "true",
        "TRACING_PROFILING_RATE": "50",
        **more,
    }
    with process([sys.executable, "-m", *command], name=name, env=environment, ready=ready) as running:
        yield running


def _assert_planted(span: ReceivedSpan) -> None:
    """Assert that most of what was seen of a span is the function that was planted in it."""
    profile = stacks(span["attributes"][CAUSAL_PROFILE])
    of_planted = sum(count for line, count in hottest(profile) if line.endswith(" planted()"))
    assert of_planted * 2 > sum(count for _, count in profile), profile


@pytest.mark.long
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_fastapi(receiver: ReceivedSpans, loop: str) -> None:
    """Endpoints are profiled on the loop and in threads, on each loop; and the process says which service it is."""
    port = claim_port(None, "uvicorn")
    url = f"http://{LOOPBACK}:{port}"
    command = ["uvicorn", "tests.profiling.app:api", "--port", str(port), "--loop", loop]
    with _running(receiver, "profiled-api", command, lambda _: http_status(f"{url}/openapi.json") == 200) as server:
        for path in ("/async", "/sync"):
            assert httpx.get(url + path, headers=_HEADERS, timeout=60).status_code == 200
        spans = receiver.wait_for(
            lambda spans: len([span for span in spans if span["name"].startswith("GET")]) == 2, trace_id=_TRACE_ID
        )
        if sys.platform == "linux":
            assert [each.attributes["service.name"] for each in read(server.pid)] == ["profiled-api"]
    for span in spans:
        if span["name"].startswith("GET"):
            _assert_planted(span)


@pytest.mark.long
def test_wsgi_in_forked_workers(receiver: ReceivedSpans) -> None:
    """The workers of gunicorn, forked from a master that has installed tracing, profile their requests."""
    port = claim_port(None, "gunicorn")
    url = f"http://{LOOPBACK}:{port}"
    command = ["gunicorn", "tests.profiling.app:wsgi", "--preload", "-w", "2", "-b", f"{LOOPBACK}:{port}"]
    with _running(receiver, "profiled-wsgi", command, lambda _: http_status(url) == 200):
        assert httpx.get(url, headers=_HEADERS, timeout=60).text == "done"
        (span,) = receiver.wait_for(lambda spans: len(spans) == 1, trace_id=_TRACE_ID)
    _assert_planted(span)


@pytest.mark.long
def test_celery(receiver: ReceivedSpans, redis_url: str) -> None:
    """A task is profiled in the worker's forked child."""
    command = ["celery", "-A", "tests.profiling.app:celery", "worker", "-c", "1", "-l", "INFO"]
    command += ["--without-mingle", "--without-gossip"]
    broker = {"CELERY_BROKER_URL": redis_url}
    with _running(receiver, "profiled-worker", command, lambda worker: " ready." in worker.output(), **broker):
        send = f"from tests.profiling.app import compute; compute.apply_async(headers={_HEADERS})"
        sent = run_strictly(send, TRACING_ENABLED="false", **broker)
        assert not sent.returncode, sent.stderr
        (span,) = receiver.wait_for(lambda spans: len(spans) == 1, trace_id=_TRACE_ID)
    _assert_planted(span)


def test_status_tells() -> None:
    """status() says how often threads are looked at; where a profile cannot be had, a warning says why."""
    done = run_strictly(
        "import causal_otel\n"
        "installed = causal_otel.install(profiling=True, exporter='none')\n"
        "print(causal_otel.status().profiling)\n"
        "installed.uninstall()\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "causal_otel.install(profiling=True, tracer_provider=TracerProvider())\n"
        "print(*causal_otel.status().warnings)"
    )
    assert done.stdout.splitlines() == [
        "20 looks a second, 0 samples so far",
        "nothing is profiled, although profiling=True, because your provider makes the spans",
    ], done.stderr


def test_off_by_default() -> None:
    """Without the setting nothing is imported, no thread is started, and no span has a profile."""
    done = run_strictly(
        "import sys, threading, causal_otel\n"
        "causal_otel.install(exporter='none')\n"
        "with causal_otel.span('work'): pass\n"
        "from causal_otel.engine import thread_contexts\n"
        "print('causal_otel.profiling.sampler' in sys.modules, thread_contexts.watching, thread_contexts.known)\n"
        "print([each.name for each in threading.enumerate() if 'profiler' in each.name])"
    )
    assert done.stdout.splitlines() == ["False None {}", "[]"], done.stderr
