"""Logs of a FastAPI application and a Celery worker, as processes of their own: every library tells the same trace."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

import causal_otel
from causal_otel.testing.process import LOOPBACK, Process, claim_port, http_status, process
from tests.logs.log_app import work
from tests.recording import recording
from tests.services.received import ReceivedSpans

_TRACE_ID = "5e" * 16
_HEADERS = {"traceparent": f"00-{_TRACE_ID}-{'7a' * 8}-01"}


@contextmanager
def _running(receiver: ReceivedSpans, name: str, command: list[str], ready: Any, **variables: str) -> Iterator[Process]:
    environment = {
        **os.environ,
        "C_FORCE_ROOT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_SERVICE_NAME": name,
        "OTLP_ENDPOINT": receiver.endpoint,
        "TESTS_LOGS": "1",
        **variables,
    }
    with process([sys.executable, "-m", *command], name=name, env=environment, ready=ready) as running:
        yield running


def _lines(running: Process, text: str) -> dict[str, dict[str, Any]]:
    """What each library has written of ``text``, in one shape."""
    found: dict[str, dict[str, Any]] = {}
    for line in running.output().splitlines():
        if not line.startswith("{"):
            continue
        told = json.loads(line)
        if told.get("message") == text:
            found["logging"] = told
        elif told.get("event") == text:
            found["structlog"] = told
        elif told.get("text", "").rstrip().endswith(f"- {text}"):
            found["loguru"] = told["record"]["extra"]
    assert set(found) == {"logging", "structlog", "loguru"}, running.output()
    names = ("trace_id", "span_id", "trace_sampled", "service")
    return {library: {name: told.get(name) for name in names} for library, told in found.items()}


def test_in_fastapi_and_its_threads(receiver: ReceivedSpans) -> None:
    """In handlers, async and not, and in threads that carry the context, lines name the request's span."""
    port = claim_port(None, "uvicorn")
    url = f"http://{LOOPBACK}:{port}"
    command = ["uvicorn", "tests.logs.log_app:api", "--port", str(port), "--log-config", "tests/logs/logging.json"]
    with _running(receiver, "log-api", command, lambda _: http_status(f"{url}/openapi.json") == 200) as api:
        for path in ("/async", "/sync"):
            assert httpx.get(url + path, headers=_HEADERS).status_code == 200
        spans = receiver.wait_for(lambda spans: len(spans) == 2, trace_id=_TRACE_ID)
        ids = {span["name"]: span["span_id"] for span in spans}
        for text, name in {"in the loop": "/async", "in to_thread": "/async", "in the pool": "/sync"}.items():
            wanted = {"trace_id": _TRACE_ID, "span_id": ids[f"GET {name}"], "trace_sampled": True, "service": "log-api"}
            assert _lines(api, text) == dict.fromkeys(("logging", "structlog", "loguru"), wanted)
        outside = _lines(api, "in a thread of its own")  # which nobody has given the context to
        assert {(told["trace_id"] or "", told["service"]) for told in outside.values()} == {("", "log-api")}
        access = [json.loads(line) for line in api.output().splitlines() if '"uvicorn.access"' in line]
        of_requests = [line.get("trace_id") for line in access if "/async" in line["message"]]
        assert of_requests == [_TRACE_ID]  # uvicorn writes it while our span is current


def test_in_a_celery_worker(receiver: ReceivedSpans, redis_url: str) -> None:
    """In a worker's task, lines name the span that is current there, of the trace that has sent the task."""
    name = "log-worker"
    broker = {"CELERY_BROKER_URL": redis_url, "CELERY_RESULT_BACKEND": redis_url, "TESTS_QUEUE": name}
    command = ["celery", "-A", "tests.logs.log_app", "worker", "-Q", name, "-n", f"{name}@tests", "-c", "2"]
    command += ["-l", "INFO", "--without-mingle", "--without-gossip"]
    with _running(receiver, name, command, lambda worker: " ready." in worker.output(), **broker) as worker:
        app = work.app
        app.conf.update(broker_url=redis_url, result_backend=redis_url)
        with recording(["celery"]) as recorded, recorded.tracer.start_as_current_span("request"):
            trace_id = causal_otel.current_trace_id()
            result = work.apply_async(("done",), queue=name)
            assert result.get(timeout=60) != os.getpid()
        spans = receiver.wait_for(lambda spans: len(spans) == 2, trace_id=trace_id)
        (span_id,) = (span["span_id"] for span in spans if span["name"] == "work")
        wanted = {"trace_id": trace_id, "span_id": span_id, "trace_sampled": True, "service": name}
        assert _lines(worker, "done") == dict.fromkeys(("logging", "structlog", "loguru"), wanted)
