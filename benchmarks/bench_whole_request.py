"""What a whole request costs its server: FastAPI under uvicorn on one core, one query and one GET, export included.

Every tracer has a server of its own, in a process of its own, and they are asked in turns. The CPU time is that of all
threads of the server's process; what calls it, PostgreSQL and what it calls are on the other core. A round ends when
the server has exported what the round has made. See :mod:`benchmarks.whole_request_server`.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from benchmarks.processes import answering_server, cpu_seconds, module
from benchmarks.rounds import BARE, DDTRACE, FASTAPI, OPENTELEMETRY, OURS, in_turns, on_core
from benchmarks.whole_request_server import ALL_CAUSES, NO_CAUSES
from causal_otel.testing.process import LOOPBACK, claim_port, http_status

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record

_CONNECTIONS = 8
_REQUESTS, _ROUNDS = 400, 8  # at saturation
_PER_SECOND, _PACED_REQUESTS, _PACED_ROUNDS = 200, 400, 4
_CAUSES = {BARE: NO_CAUSES, OURS: ALL_CAUSES}
_TRACERS = (BARE, OPENTELEMETRY, FASTAPI, DDTRACE, OURS)


@dataclass(frozen=True)
class _Server:
    port: int
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU that its process has used."""
        return cpu_seconds(self.pid)

    def ask(self, path: str, requests: int, per_second: float | None = None) -> tuple[float, list[float]]:
        """Send requests, and have it export: the seconds of the requests in all, and of each."""
        with on_core(1):
            began = time.perf_counter()
            latencies = asyncio.run(_requests(self.port, path, requests, per_second))
            seconds = time.perf_counter() - began
        _get(f"http://{LOOPBACK}:{self.port}/flush")
        return seconds, latencies


async def _requests(port: int, path: str, requests: int, per_second: float | None) -> list[float]:
    """Perform requests over a few connections: as fast as they are answered, or so many a second."""
    numbers = iter(range(requests))
    latencies: list[float] = []
    start = time.perf_counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        for number in numbers:
            due = time.perf_counter()
            if per_second is not None:
                due = start + number / per_second
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(
                f"GET {path}/{number} HTTP/1.1\r\nhost: shop.example.com\r\nuser-agent: bench\r\n\r\n".encode()
            )
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = answer.lower().partition(b"content-length:")[2].partition(b"\r")[0]
            await reader.readexactly(int(length))
            latencies.append(time.perf_counter() - due)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(connection() for _ in range(_CONNECTIONS)))
    return latencies


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return bytes(answer.read())


@contextmanager
def _servers(postgres: str, *, sampled: bool, names: Sequence[str] = _TRACERS) -> Iterator[dict[str, _Server]]:
    """A server of each tracer, and what they call and export to."""
    with ExitStack() as stack:
        answering = stack.enter_context(answering_server())
        arguments = (postgres, f"{answering}/hello", f"{answering}/v1/traces", "sampled" if sampled else "unsampled")

        def start(tracer: str) -> _Server:
            port = claim_port(None, tracer)
            url = f"http://{LOOPBACK}:{port}/nothing/0"
            child = module(
                "whole_request_server",
                *(tracer, str(port), *arguments),
                agent=answering,
                ready=lambda _: http_status(url) == 200,
            )
            return _Server(port, stack.enter_context(child).pid)

        yield {name: start(name) for name in names}
        received = json.loads(_get(f"{answering}/received"))
        assert (received.get("/v1/traces", 0) > 0) is sampled


def _cpu(server: _Server, path: str, requests: int = _REQUESTS) -> Callable[[], float]:
    def round_() -> float:
        before = server.cpu()
        server.ask(path, requests)
        return (server.cpu() - before) / requests

    return round_


@pytest.fixture(scope="module")
def servers(postgres_url: str) -> Iterator[dict[str, _Server]]:
    """Servers that record everything."""
    with _servers(postgres_url, sampled=True) as found:
        yield found


@pytest.mark.parametrize(
    ("row", "path"), [("whole request", "/work"), ("nothing", "/nothing"), ("500 routes", "/many")]
)
def test_cpu(benchmark: BenchmarkFixture, record: Record, servers: dict[str, _Server], row: str, path: str) -> None:
    """What a request adds to the CPU time of its server, at saturation."""
    record(row, in_turns(benchmark, {name: _cpu(server, path) for name, server in servers.items()}, _ROUNDS))


def test_unsampled(benchmark: BenchmarkFixture, record: Record, postgres_url: str) -> None:
    """The same, where nothing is sampled."""
    with _servers(postgres_url, sampled=False) as found:
        variants = {name: _cpu(server, "/work") for name, server in found.items()}
        record("whole request unsampled", in_turns(benchmark, variants, _ROUNDS))


@pytest.mark.parametrize(("row", "path"), [("causes", "/work"), ("causes nothing", "/nothing")])
def test_causes(benchmark: BenchmarkFixture, record: Record, postgres_url: str, row: str, path: str) -> None:
    """What all adds that says why a request took so long, to a request that is traced without."""
    with _servers(postgres_url, sampled=True, names=(NO_CAUSES, ALL_CAUSES)) as found:
        # They differ by little: many short rounds, so that both have some that nobody disturbs.
        variants = {name: _cpu(found[its], path, _REQUESTS // 2) for name, its in _CAUSES.items()}
        measured = in_turns(benchmark, variants, 5 * _ROUNDS)
    record(row, {BARE: measured[BARE], OURS: measured[BARE] + measured[OURS]})


def test_throughput(benchmark: BenchmarkFixture, record: Record, servers: dict[str, _Server]) -> None:
    """How many requests a second are served at saturation, as a part of the bare server's."""
    rates: dict[str, float] = dict.fromkeys(servers, 0.0)

    def turn() -> None:
        for name, server in servers.items():
            seconds, _ = server.ask("/work", _REQUESTS)
            rates[name] = max(rates[name], _REQUESTS / seconds)

    turn()
    benchmark.pedantic(turn, rounds=_ROUNDS, iterations=1)
    kept = {name: rate / rates[BARE] for name, rate in rates.items()}
    benchmark.extra_info.update(kept)
    record("throughput", kept)


def test_latency(benchmark: BenchmarkFixture, record: Record, servers: dict[str, _Server]) -> None:
    """The 99th percentile of the latencies at 200 requests a second."""
    lowest: dict[str, float] = dict.fromkeys(servers, float("inf"))

    def turn() -> None:
        for name, server in servers.items():
            _, latencies = server.ask("/work", _PACED_REQUESTS, _PER_SECOND)
            lowest[name] = min(lowest[name], sorted(latencies)[int(len(latencies) * 0.99)])

    benchmark.pedantic(turn, rounds=_PACED_ROUNDS, iterations=1)
    benchmark.extra_info.update(lowest)
    record("latency", lowest)
