"""Real servers under ``causal-otel run``, whose applications install nothing: reloaders, workers, a task queue."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from causal_otel.testing.process import LOOPBACK, claim_port, http_status, process
from tests.faults.programs import environment
from tests.patches.celery_greenlets import GREENLETS, greenlets_python, python_of
from tests.span_relations import assert_span
from tests.start.starting import RUN, run_in, write
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpan, ReceivedSpans

__all__ = ["greenlets_python"]

_APP = """
    import asyncio, os
    from fastapi import FastAPI
    from opentelemetry import trace

    app = FastAPI()

    @app.get("/first")
    async def first() -> int:
        await asyncio.sleep(0.01)
        trace.get_current_span().set_attribute("pid", os.getpid())
        return os.getpid()
"""
_SECOND = """
    @app.get("/second")
    async def second() -> int:
        await asyncio.sleep(0.01)
        return os.getpid()
"""
_TRACE, _PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def _get(url: str) -> Any:
    request = urllib.request.Request(url, headers={"traceparent": f"00-{_TRACE}-{_PARENT}-01"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
        return json.load(response)


def _assert_served(span: ReceivedSpan, name: str, service: str) -> dict[str, Any]:
    """Assert that a span is of a request that :func:`_get` has sent, and return its attributes."""
    assert (span["name"], span["service"], span["kind"]) == (name, service, "SERVER")
    assert span["parent_span_id"] == _PARENT
    found = assert_span({**span, "parent_span_id": None}, None, lasts=0.01)
    assert (found["http.route"], found["http.response.status_code"]) == (name.partition(" ")[2], 200)
    return found


def test_uvicorn_reloads(receiver: ReceivedSpans, tmp_path: Path) -> None:
    """When a file has changed, requests to the new process are traced as those to the old one were."""
    write(tmp_path, {"shop.py": _APP})
    url = f"http://{LOOPBACK}:{(port := claim_port(None, 'uvicorn'))}"
    command = (*RUN, "uvicorn", "shop:app", "--reload", "--port", str(port))
    variables = environment(OTLP_ENDPOINT=receiver.endpoint, OTEL_BSP_SCHEDULE_DELAY="100")
    with process(
        command, name="uvicorn", cwd=tmp_path, env=variables, ready=lambda _: http_status(f"{url}/docs") == 200
    ) as server:
        before = _get(f"{url}/first")
        assert server.pid not in (before, None)
        write(tmp_path, {"shop.py": _APP + _SECOND})

        def reloaded() -> bool:
            try:
                return http_status(f"{url}/second") == 200
            except OSError:
                return False

        wait_until(reloaded, server.output)
        after = _get(f"{url}/second")
        assert after not in (before, server.pid)
        spans = receiver.wait_for(lambda spans: len(spans) >= 2, trace_id=_TRACE)
    for span, name in zip(spans, ("GET /first", "GET /second"), strict=True):
        _assert_served(span, name, "uvicorn")


@pytest.mark.long
@pytest.mark.parametrize("preload", [False, True])
def test_gunicorn_with_workers(receiver: ReceivedSpans, tmp_path: Path, preload: bool) -> None:
    """Requests to each of two forked workers are traced, whether they or their parent have imported the application."""
    write(tmp_path, {"shop.py": _APP})
    url = f"http://{LOOPBACK}:{(port := claim_port(None, 'gunicorn'))}"
    options = ("-k", "uvicorn_worker.UvicornWorker", "-w", "2", "--bind", f"{LOOPBACK}:{port}")
    command = (*RUN, "--service-name", "shop", "gunicorn", *options, *(["--preload"] * preload), "shop:app")
    variables = environment(OTLP_ENDPOINT=receiver.endpoint, OTEL_BSP_SCHEDULE_DELAY="100")
    with process(
        command, name="gunicorn", cwd=tmp_path, env=variables, ready=lambda _: http_status(f"{url}/docs") == 200
    ) as server:
        pids: list[int] = []

        def both() -> bool:
            pids.append(_get(f"{url}/first"))
            return len(set(pids)) == 2

        wait_until(both, server.output)
        assert server.pid not in pids
        spans = receiver.wait_for(lambda spans: len(spans) >= len(pids), trace_id=_TRACE)
    assert sorted(_assert_served(span, "GET /first", "shop")["pid"] for span in spans) == sorted(pids)


@pytest.mark.parametrize("pool", ["prefork", pytest.param("solo", marks=pytest.mark.long), *GREENLETS])
def test_celery(
    receiver: ReceivedSpans, redis_url: str, tmp_path: Path, pool: str, request: pytest.FixtureRequest
) -> None:
    """A task that one program sends and a worker executes is one trace, though neither installs anything."""
    write(
        tmp_path,
        {
            "tasks.py": f"""
                import os, time
                from celery import Celery
                app = Celery("tasks", broker={redis_url!r}, backend={redis_url!r})
                app.conf.task_default_queue = "run-{pool}"

                @app.task(name="shop.pay")
                def pay():
                    time.sleep(0.01)
                    return os.getpid()
            """,
            "order.py": """
                from tasks import pay
                print(pay.delay().get(timeout=60))
            """,
        },
    )
    python = python_of(pool, request)
    variables = {"OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100", "C_FORCE_ROOT": "1"}
    variables["EVENTLET_NO_GREENDNS"] = "yes"
    options = ("-P", pool, "-c", "2", "-l", "INFO", "--without-mingle", "--without-gossip")
    with process(
        (*RUN, "--service-name", "worker", str(python or "python"), "-m", "celery", "-A", "tasks", "worker", *options),
        name="worker",
        cwd=tmp_path,
        env=environment(**variables),
        ready=lambda worker: " ready." in worker.output(),
    ) as worker:
        done = run_in(tmp_path, *RUN, "order.py", **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert (int(done.stdout) == worker.pid) is (pool != "prefork")
        spans = receiver.wait_for(lambda spans: sum(span["kind"] in ("PRODUCER", "CONSUMER") for span in spans) >= 2)
        assert "causal_otel: tracing worker to" in worker.output()
        worker.stop(timeout=60.0)
        assert worker.wait(0) in (0, -signal.SIGTERM), "it had to be killed"
    [sent] = [span for span in spans if span["kind"] == "PRODUCER"]
    [executed] = [span for span in spans if span["kind"] == "CONSUMER"]
    assert (sent["name"], sent["service"]) == ("send shop.pay", "order")
    assert (executed["name"], executed["service"]) == ("process shop.pay", "worker")
    assert_span(sent, None)
    assert_span(executed, sent, lasts=0.01)
