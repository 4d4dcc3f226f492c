"""A collector whose heavy pages are made in other processes."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.heavy.rules import HEAVY_SPANS
from tests.collector.running import Running, now, running
from tests.collector.spans import request, span, traces
from tests.collector.web.sample_traces import large, shop
from tests.slow_machine import SlowMachine
from tests.waiting import wait_until

BIG = "1a" * 16
SHOP = "5b8aa5a2d2c872e8321cf37308d69df2"
_PART = 10_000
"""Spans of a large trace that go into one request."""


def post(collector: Running, message: TracesData) -> None:
    """Send it, in parts that are not too large for one request."""
    groups = list(message.resource_spans)
    spans = [(group, scoped.scope, span) for group in groups for scoped in group.scope_spans for span in scoped.spans]
    for place in range(0, len(spans), _PART):
        part = TracesData()
        for group, scope, each in spans[place : place + _PART]:
            if not part.resource_spans or part.resource_spans[-1].resource != group.resource:
                part.resource_spans.add(resource=group.resource).scope_spans.add(scope=scope)
            part.resource_spans[-1].scope_spans[-1].spans.append(each)
        assert collector.post(request(part)).status_code == 200


def workers_of(collector: Running) -> list[int]:
    """The processes that a collector has started."""
    pid = collector.process.pid
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, children.read_text().split())
    return sorted(found)


def is_there(pid: int) -> bool:
    """Whether a process is there, and not just waiting to be looked after."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Running]:
    """A collector with a large trace and a small one."""
    with running(tmp_path / "traces", "--retention", "3650d") as found:
        post(found, large(HEAVY_SPANS, BIG))
        post(found, shop(start=now() - 10**9))
        yield found


def test_large_traces_are_read_elsewhere(collector: Running) -> None:
    """A page of a large trace comes from another process, which goes with the collector; of a small one, from it."""
    assert collector.get(f"/trace/{SHOP}").status_code == 200
    assert workers_of(collector) == []
    page = collector.get(f"/trace/{BIG}", accept="text/html")
    assert page.status_code == 200
    assert page.headers["content-encoding"] == "gzip"
    assert "content-security-policy" in page.headers
    assert "service-0" in page.text
    (worker,) = workers_of(collector)
    nice = [os.getpriority(os.PRIO_PROCESS, pid) for pid in (collector.process.pid, worker)]
    assert nice[1] == min(19, nice[0] + 5)
    spans = [each for found in collector.get(f"/api/traces/{BIG}").json()["data"] for each in found["spans"]]
    assert len(spans) == HEAVY_SPANS
    assert collector.get("/?lookback=30d").status_code == 200
    assert collector.get(f"/compare?a={BIG}&b={SHOP}").status_code == 200
    assert workers_of(collector) == [worker]
    os.kill(collector.process.pid, signal.SIGKILL)
    wait_until(lambda: not is_there(worker))


def test_a_collector_that_stops_takes_its_workers_along(tmp_path: Path) -> None:
    """None is left behind, not even one at work."""
    with running(tmp_path / "traces", "--retention", "3650d") as collector:
        post(collector, large(HEAVY_SPANS, BIG))
        collector.get(f"/trace/{BIG}")
        (worker,) = workers_of(collector)
    wait_until(lambda: not is_there(worker))


def test_who_leaves_is_not_worked_for(collector: Running) -> None:
    """A worker whose client has gone is killed though it would go on for ever; others get their answers."""
    collector.get(f"/trace/{BIG}")
    (worker,) = workers_of(collector)
    os.kill(worker, signal.SIGSTOP)
    address = urlsplit(collector.pages)

    def is_gone_with_its_client() -> bool:
        with socket.create_connection((address.hostname or "", address.port or 0)) as client:
            client.sendall(f"GET /trace/{BIG} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            # Mostly it is handed over before anything else that is asked on another connection is answered.
            assert collector.get("/health").status_code == 200
        return not is_there(worker)

    wait_until(is_gone_with_its_client)
    assert collector.get(f"/trace/{BIG}").status_code == 200


_READING = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
while True:
    for path in sys.argv[2:]:
        with opener.open(sys.argv[1] + path, timeout=120) as answer:
            while answer.read(1 << 16): pass
        print(path, flush=True)
"""
"""Asks for pages without an end, in a process of its own: so it takes nothing from whoever measures."""


def _latencies(collector: Running, count: int, first: int) -> list[float]:
    """Seconds that requests with spans take, which come evenly."""
    found = []
    begin = time.monotonic()
    for number in range(count):
        body = request(traces(*(span("work", trace=first + number, id=each, start=now()) for each in range(1, 51))))
        time.sleep(max(0.0, begin + number * 0.05 - time.monotonic()))
        started = time.perf_counter()
        assert collector.post(body).status_code == 200
        found.append(time.perf_counter() - started)
    return found


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


@pytest.mark.long
def test_spans_are_taken_in_meanwhile(tmp_path: Path) -> None:
    """While pages of 50,000 spans and long searches are made without an end, a request's p95 stays within twice."""
    with running(tmp_path / "traces", "--retention", "3650d") as collector:
        post(collector, large(50_000, BIG))
        for block in range(20):
            body = [span("old", trace=10**6 + block * 500 + n, id=1, start=now() - n * 10**12) for n in range(500)]
            assert collector.post(request(traces(*body))).status_code == 200
        _latencies(collector, 20, 1)  # connections, caches
        alone = _latencies(collector, 150, 1000)
        paths = (f"/trace/{BIG}", "/?lookback=30d&tags=none%21%3D1", f"/trace/{BIG}?critical=end")
        done: list[bytes] = []
        asking = [sys.executable, "-c", _READING, collector.pages, *paths]
        with subprocess.Popen(asking, stdout=subprocess.PIPE) as reading:
            assert reading.stdout is not None
            try:
                done.append(reading.stdout.readline())  # workers have started
                counting = threading.Thread(target=done.extend, args=(reading.stdout,))
                counting.start()
                meanwhile = _latencies(collector, 150, 2000)
                assert workers_of(collector)
            finally:
                reading.kill()
            counting.join(60)
        said = f"p95 {_p95(alone) * 1e3:.1f} ms alone, {_p95(meanwhile) * 1e3:.1f} ms beside {len(done)} heavy pages"
        print(said)
        if _p95(meanwhile) > 2 * _p95(alone):
            raise SlowMachine(said)
