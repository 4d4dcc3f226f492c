"""Errors kept, end to end: uvicorn and a Celery worker that record one trace in a hundred, and all that fail."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from causal_otel.testing.process import Process, claim_port, http_status, process
from tests.services.received import ReceivedSpan, ReceivedSpans

_REQUESTS, _CLIENTS, _SHARE = 5000, 16, 0.01
_WARM, _GROWTH = 1500, 12 * 2**20
_KINDS = ("plain",) * 6 + ("packed",) * 2 + ("fails", "crushed")


@contextlib.contextmanager
def _service(name: str, *command: str, broker: str, receiver: ReceivedSpans, url: str = "") -> Iterator[Process]:
    environment = {
        **os.environ,
        "C_FORCE_ROOT": "1",
        "CELERY_BROKER_URL": broker,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_SERVICE_NAME": name,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(_SHARE),
        "TESTS_INSTALL": "1",
        "TRACING_KEEP_ERRORS": "process",
        "TRACING_KEEP_LINGER": "0.5",
    }

    def ready(child: Process) -> bool:
        return http_status(url + "/plain/0") == 200 if url else " ready." in child.output()

    with process([sys.executable, "-m", *command], name=name, env=environment, ready=ready) as child:
        yield child


def _resident(child: Process) -> int:
    return int(Path(f"/proc/{child.pid}/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.long
def test_every_failure_and_one_in_a_hundred(redis_url: str, receiver_process: ReceivedSpans) -> None:
    """Of 5,000 mixed requests each failing one has its trace, one percent of the rest has, and memory stays flat."""
    broker = urlsplit(redis_url)._replace(path="/11").geturl()
    port = claim_port(None, "uvicorn")
    url = f"http://127.0.0.1:{port}"
    kinds: dict[str, str] = {}
    sizes: dict[int, int] = {}
    with (
        _service(
            "shop-worker",
            *("celery", "-A", "tests.sampling.shop:tasks", "worker", "-P", "solo", "-Q", "shop", "-l", "INFO"),
            *("--without-mingle", "--without-gossip", "--without-heartbeat"),
            broker=broker,
            receiver=receiver_process,
        ),
        _service(
            "shop-api",
            *("uvicorn", "tests.sampling.shop:api", "--port", str(port), "--no-access-log"),
            *("--timeout-keep-alive", "300"),  # else a connection is closed under a client that has had to wait for 5 s
            broker=broker,
            receiver=receiver_process,
            url=url,
        ) as api,
    ):

        async def ask(client: httpx.AsyncClient, numbers: Iterator[int]) -> None:
            for number in numbers:
                kind = _KINDS[number % len(_KINDS)]
                response = await client.get(f"/{kind}/{number}")
                assert response.status_code == (503 if kind == "fails" else 200)
                kinds[response.headers["x-trace-id"]] = kind
                if number in (_WARM, _REQUESTS - 1) and sys.platform == "linux":
                    sizes[number] = _resident(api)

        async def ask_all() -> None:
            numbers = iter(range(_REQUESTS))
            async with (
                httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client,
                anyio.create_task_group() as clients,
            ):
                for _ in range(_CLIENTS):
                    clients.start_soon(ask, client, numbers)

        anyio.run(ask_all)
        assert len(kinds) == _REQUESTS
        failing = {trace for trace, kind in kinds.items() if kind in ("fails", "crushed")}

        def failures_are_there(spans: list[ReceivedSpan]) -> bool:
            return failing <= {span["trace_id"] for span in spans if span["status"]["code"] == "ERROR"}

        spans = [span for span in receiver_process.wait_for(failures_are_there, 200) if span["trace_id"] in kinds]

    by_trace: dict[str, set[tuple[str, str]]] = {}
    for span in spans:
        by_trace.setdefault(span["trace_id"], set()).add((span["service"], span["name"]))
    for trace in failing:
        if kinds[trace] == "fails":
            assert by_trace[trace] == {("shop-api", "GET /fails/{number}"), ("shop-api", "look")}
        else:
            assert {("shop-worker", "process shop.pack"), ("shop-worker", "wrap")} <= by_trace[trace]
    rest = _REQUESTS - len(failing)
    kept = len(by_trace.keys() - failing)
    assert abs(kept - _SHARE * rest) < 4 * math.sqrt(rest * _SHARE * (1 - _SHARE)), kept
    assert all("ot=th:fd70a3d70a3d71" in s["trace_state"] for s in spans if s["trace_id"] not in failing)
    if sizes:
        assert sizes[_REQUESTS - 1] - sizes[_WARM] < _GROWTH, sizes
