"""A whole collector under load: thirty days of spans through OTLP/HTTP into a collector that is kept on one core.

    python -m benchmarks.collector.load --spans 10000000 --days 30 --data-dir DIR

Prints spans a second, the collector's CPU time a span and its greatest memory, then what closing the days takes and
how many bytes a span is left with. The directory serves ``bench_search`` afterwards (``CAUSAL_OTEL_BENCH_STORE``).
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.collector.generate import requests
from causal_otel.collector.query import DayVolume
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer

_CONNECTIONS = 8
_START_SECONDS = 30.0
_CLOSING_SECONDS = 3600.0
_OTLP = re.compile(r"OTLP/HTTP:\s+http://127\.0\.0\.1:(\d+)")
_TICKS = os.sysconf("SC_CLK_TCK")


class _Collector(NamedTuple):
    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def greatest_memory(self) -> int:
        """Bytes of memory at the most."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0


@contextmanager
def _collector(directory: Path) -> Iterator[_Collector]:
    command = [sys.executable, "-m", "causal_otel", "collector", "--data-dir", str(directory), "--max-size", "none"]
    ports = ["--port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "off", "--retention", "40d"]
    cores = sorted(os.sched_getaffinity(0))
    process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, text=True)
    try:
        os.sched_setaffinity(process.pid, {cores[0]})
        os.sched_setaffinity(0, set(cores[1:]) or {cores[0]})
        yield _Collector(process.pid, _port(process))
    finally:
        process.terminate()
        process.wait(60)
        os.sched_setaffinity(0, set(cores))


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    deadline = time.monotonic() + _START_SECONDS
    for line in process.stdout:
        found = _OTLP.search(line)
        if found:
            return int(found[1])
        assert time.monotonic() < deadline, "the collector does not start"
    raise AssertionError("the collector has ended")


class _Sender:
    """One connection, kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, body: bytes) -> None:
        """Send a request, again while the collector is busy."""
        for _ in range(1000):
            self._connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
            response = self._connection.getresponse()
            response.read()
            if response.status == 200:
                return
            assert response.status == 429, response.status
            time.sleep(0.05)
        raise AssertionError("the collector stays busy")


def _send(port: int, spans: int, days_of_data: float) -> None:
    senders = [_Sender(port) for _ in range(_CONNECTIONS)]
    under_way: list[Future[None] | None] = [None] * _CONNECTIONS
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for number, body in enumerate(requests(spans, end=time.time_ns(), days=days_of_data)):
            slot = number % _CONNECTIONS
            before = under_way[slot]
            if before is not None:
                before.result()
            under_way[slot] = pool.submit(senders[slot].post, body)
        for last in under_way:
            if last is not None:
                last.result()


def main() -> None:
    """Load, close, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--data-dir", type=Path, required=True)
    arguments = parser.parse_args()
    with _collector(arguments.data_dir) as collector:
        cpu, started = collector.cpu_seconds(), time.monotonic()
        _send(collector.port, arguments.spans, arguments.days)
        cpu, wall = collector.cpu_seconds() - cpu, time.monotonic() - started
        memory = collector.greatest_memory()
    print(f"{arguments.spans / wall:,.0f} spans/s, {arguments.spans / cpu:,.0f} a second of the collector's CPU")
    print(f"{cpu / arguments.spans * 1e6:.1f} µs of CPU a span, at most {memory / 1e6:.0f} MB", flush=True)
    reader = Reader(arguments.data_dir)
    opened = _past(reader)
    started = time.process_time()
    writer = Writer(arguments.data_dir, retention_days=40)
    writer.start()  # which closes the days that are over
    deadline = time.monotonic() + _CLOSING_SECONDS
    while not all(day.closed for day in _past(reader)):
        assert time.monotonic() < deadline, "the days are not closed"
        time.sleep(1.0)
    closing = time.process_time() - started
    writer.close(60)
    closed = _past(reader)
    share = max(1, sum(day.spans for day in closed))
    before, after = (sum(day.bytes for day in each) / share for each in (opened, closed))
    print(f"{before:.0f} bytes a span while open, {after:.0f} once closed")
    print(f"{closing / share * 1e6:.1f} µs of CPU a span to close it")


def _past(reader: Reader) -> list[DayVolume]:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return [day for day in reader.volume().days if day.day != today]


if __name__ == "__main__":
    main()
