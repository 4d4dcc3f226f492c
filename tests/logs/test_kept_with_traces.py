"""From logging, structlog and Loguru in FastAPI, its threads and a Celery worker into a collector, to their spans."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest

import causal_otel
from causal_otel.collector.analysis import build, log_views
from causal_otel.collector.store.reader import Reader
from causal_otel.testing.process import LOOPBACK, Process, claim_port, http_status, process
from tests.collector.running import Running, running
from tests.logs.log_app import work
from tests.recording import recording
from tests.waiting import wait_until

_TRACE_ID = "6f" * 16
_LIBRARIES = ("app", "library.structlog", "tests.logs.log_app")
"""The loggers of each. Loguru's records have their module's name."""


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    """A collector in a process, and its directory."""
    directory = tmp_path_factory.mktemp("traces")
    with running(directory) as found:
        yield found, directory


@contextmanager
def _service(
    collector: Running, name: str, command: list[str], ready: Any, variables: Mapping[str, str]
) -> Iterator[Process]:
    environment = {
        **os.environ,
        "C_FORCE_ROOT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_SERVICE_NAME": name,
        "OTLP_ENDPOINT": collector.http,
        "TRACING_LOGS": "export",
        "TESTS_LOGS": "1",
        **variables,
    }
    with process([sys.executable, "-m", *command], name=name, env=environment, ready=ready) as found:
        yield found


def _under(directory: Path, trace_id: str, said: int) -> dict[str, list[tuple[str, str, str]]]:
    """By span: who has said what at which level. Waits until there are so many such records, and their spans."""
    with Reader(directory) as reader:

        def found() -> bool:
            logs = reader.logs(bytes.fromhex(trace_id))
            trace = reader.trace(bytes.fromhex(trace_id))
            if logs is None or trace is None:
                return False
            placed = log_views(logs, build(trace))
            return sum(each.logger in _LIBRARIES for each in chain(*placed.by_span.values())) >= said

        wait_until(found, lambda: str(reader.logs(bytes.fromhex(trace_id))))
        trace = reader.trace(bytes.fromhex(trace_id))
        assert trace is not None
        view = build(trace)
        logs = log_views(reader.logs(bytes.fromhex(trace_id)), view)
    names = {span.span_id: span.name for span in view.spans}
    return {
        names[span_id]: sorted({(each.logger, each.said, each.level) for each in records if each.logger in _LIBRARIES})
        for span_id, records in logs.by_span.items()
    }


def _each(*texts: str) -> list[tuple[str, str, str]]:
    return sorted((library, text, "info") for library in _LIBRARIES for text in texts)


def test_in_fastapi_and_its_threads(collector: tuple[Running, Path]) -> None:
    """What handlers and their threads say lies under the request's span; a thread without the context is told apart."""
    kept, directory = collector
    port = claim_port(None, "uvicorn")
    url = f"http://{LOOPBACK}:{port}"
    command = ["uvicorn", "tests.logs.log_app:api", "--port", str(port), "--log-config", "tests/logs/logging.json"]
    with _service(kept, "kept-api", command, lambda _: http_status(f"{url}/openapi.json") == 200, {}):
        for path in ("/async", "/sync"):
            headers = {"traceparent": f"00-{_TRACE_ID}-{'7a' * 8}-01"}
            assert httpx.get(url + path, headers=headers).status_code == 200
        under = _under(directory, _TRACE_ID, 9)
    assert under == {"GET /async": _each("in the loop", "in to_thread"), "GET /sync": _each("in the pool")}
    page = kept.get(f"/trace/{_TRACE_ID}?tab=logs").text
    assert page.count("in to_thread") == 3
    assert "in a thread of its own" not in page  # of no trace: refused, and counted
    assert kept.metrics()['causal_store_log_records_dropped_total{reason="no_trace"}'] >= 3
    found = kept.get("/search.json?lookback=5m&logs=to%20thread%20in&service=kept-api").json()
    assert [each["trace_id"] for each in found["traces"]] == [_TRACE_ID]


def test_in_a_celery_worker(collector: tuple[Running, Path], redis_url: str) -> None:
    """What a worker's task says, sent by gRPC from its pool, lies under the span that was current in it."""
    kept, directory = collector
    name = "kept-worker"
    broker = {"CELERY_BROKER_URL": redis_url, "CELERY_RESULT_BACKEND": redis_url, "TESTS_QUEUE": name}
    broker |= {"OTLP_ENDPOINT": kept.grpc, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    command = ["celery", "-A", "tests.logs.log_app", "worker", "-Q", name, "-n", f"{name}@tests", "-c", "2"]
    command += ["-l", "INFO", "--without-mingle", "--without-gossip"]
    with _service(kept, name, command, lambda worker: " ready." in worker.output(), broker):
        app = work.app
        app.conf.update(broker_url=redis_url, result_backend=redis_url)
        with recording(["celery"]) as recorded, recorded.tracer.start_as_current_span("request"):
            trace_id = causal_otel.current_trace_id() or ""
            work.apply_async(("done",), queue=name).get(timeout=60)
        under = _under(directory, trace_id, 3)
    assert under["work"] == _each("done")
