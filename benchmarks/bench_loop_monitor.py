"""What watching an event loop costs: a process that does nothing, and a step of a task. In processes of their own.

python -m benchmarks.bench_loop_monitor causal_otel idle asyncio

CPU time of all threads. The idle process is looked at for some seconds, and its figure is a share of one CPU; the least
of the runs is kept. The watching thread runs with cold caches there, so the figure is that of a machine with others at
work, if there are any.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from benchmarks.peers import ours
from benchmarks.rounds import BARE, OURS, in_process

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from benchmarks.conftest import Record

_LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
_SECONDS = 5.0
_STEPS, _TASKS = 2000, 20
_ROUNDS = 15
_RUNS = 6


async def _idle() -> float:
    """The share of a CPU that nothing takes."""
    await asyncio.sleep(0.5)
    started, since = time.process_time(), time.perf_counter()
    await asyncio.sleep(_SECONDS)
    return (time.process_time() - started) / (time.perf_counter() - since)


async def _steps() -> float:
    """The CPU seconds of a step of one of many tasks, at the least of several rounds."""

    async def task() -> None:
        for _ in range(_STEPS):
            await asyncio.sleep(0)

    found = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        await asyncio.gather(*(task() for _ in range(_TASKS)))
        found.append((time.process_time() - started) / _STEPS / _TASKS)
    return min(found)


def main(variant: str, what: str, kind: str) -> None:
    """Measure one variant, and print what it takes."""
    measures: dict[str, Callable[[], Coroutine[Any, Any, float]]] = {"idle": _idle, "steps": _steps}
    with (
        nullcontext() if variant == BARE else ours(None, "event_loop") as peer,
        nullcontext() if peer is None else peer.patched(),
        asyncio.Runner(loop_factory=_LOOPS[kind]) as runner,
    ):
        print(json.dumps(runner.run(measures[what]())))


@pytest.mark.parametrize("kind", _LOOPS)
@pytest.mark.parametrize("what", ["idle", "steps"])
def test_watching(record: Record, what: str, kind: str) -> None:
    """With the patch and without, in turns."""
    found: dict[str, list[float]] = {BARE: [], OURS: []}
    for _ in range(_RUNS):
        for variant, values in found.items():
            values.append(in_process("-m", "benchmarks.bench_loop_monitor", variant, what, kind))
    bare, mine = min(found[BARE]), min(found[OURS])
    record(f"loop {what} {kind}", {BARE: bare, OURS: mine - bare if what == "idle" else mine})


if __name__ == "__main__":
    main(*sys.argv[1:])
