"""What profiling costs at its default rate: a process that does nothing, and a FastAPI service that is busy.

python -m benchmarks.bench_profiling idle asyncio

CPU time of the thread that looks, as a share of one CPU. The busy service is real uvicorn with requests coming in all
the time, each of which computes a little, awaits, and computes again. On a loop that waits for I/O very often, as with
``sleep(0)``, the thread is woken in vain each time that the loop gives the GIL away for a moment; requests do so a few
times.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn
import uvloop
from fastapi import FastAPI

import causal_otel
from benchmarks.rounds import OURS, in_process
from causal_otel.testing.process import LOOPBACK

if TYPE_CHECKING:
    from benchmarks.conftest import Record

__all__ = ["main"]

_LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
_SECONDS = 5.0
_CLIENTS = 8
_RUNS = 3
_THREAD = "causal-otel-profiler"

app = FastAPI()


def _compute() -> list[str]:
    return [str(number) for number in range(2000)]


@app.get("/work/{number}")
async def work(number: int) -> int:
    _compute()
    await asyncio.sleep(0.001)
    return number + len(_compute())


def _cpu() -> float:
    """The CPU seconds of the thread that looks."""
    (thread,) = [each for each in threading.enumerate() if each.name == _THREAD]
    return int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0]) / 1e9


async def _share() -> float:
    """The share of a CPU that the thread takes for some seconds."""
    with causal_otel.span("begins"):
        pass
    await asyncio.sleep(3)  # it has begun to doze, if there is nothing to be seen
    before, since = _cpu(), time.perf_counter()
    await asyncio.sleep(_SECONDS)
    return (_cpu() - before) / (time.perf_counter() - since)


async def _ask(port: int) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    while True:
        writer.write(b"GET /work/7 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))


def _clients(port: int) -> None:
    """In a child, from before there is any thread: ask all the time."""

    async def ask() -> None:
        await asyncio.gather(*(_ask(port) for _ in range(_CLIENTS)))

    asyncio.run(ask())


async def _busy(listening: socket.socket) -> float:
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve([listening]))
    share = await _share()
    server.should_exit = server.force_exit = True
    await serving
    return share


def main(what: str, kind: str) -> None:
    """Measure, and print the share."""
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen()
        child = os.fork() if what == "busy" else 0
        if what == "busy" and not child:
            try:
                _clients(listening.getsockname()[1])
            finally:
                os._exit(0)
        causal_otel.install(service_name="benchmark", exporter="none", profiling=True)
        with asyncio.Runner(loop_factory=_LOOPS[kind]) as runner:
            share = runner.run(_busy(listening) if what == "busy" else _share())
    if child:
        os.waitpid(child, 0)
    print(json.dumps(share))


@pytest.mark.parametrize("kind", _LOOPS)
@pytest.mark.parametrize("what", ["idle", "busy"])
def test_profiling(record: Record, what: str, kind: str) -> None:
    """The least of some runs: what others add is never negative."""
    shares = [in_process("-m", "benchmarks.bench_profiling", what, kind) for _ in range(_RUNS)]
    record(f"profiling {what} {kind}", {OURS: min(shares)})


if __name__ == "__main__":
    main(*sys.argv[1:])
