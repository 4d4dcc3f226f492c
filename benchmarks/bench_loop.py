"""How long exporting keeps an event loop from running: the lateness of a ticker, in processes of their own.

python -m benchmarks.bench_loop causal_otel URL 3
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.peers import ATTRIBUTES, NAME, Peer, opentelemetry, ours
from benchmarks.rounds import BARE, OPENTELEMETRY, OURS, in_process

if TYPE_CHECKING:
    from benchmarks.conftest import Record, Sink

_TICK = 0.001
_SPANS_A_TICK = 5
_SECONDS = 3
_RUNS = 5


async def _late(seconds: int, tracer: Any) -> list[float]:
    """For each second, the 99.9th percentile of how late its ticks are.

    Every tick is due when it is, however late the one before was: ticks that a stall has delayed all count.
    """
    now = time.perf_counter
    late = []
    due = now()
    a_second = round(1 / _TICK)
    for _ in range(seconds * a_second):
        due += _TICK
        await asyncio.sleep(max(0, due - now()))
        late.append(now() - due)
        if tracer is not None:
            for _ in range(_SPANS_A_TICK):
                with tracer.start_as_current_span(NAME, attributes=ATTRIBUTES):
                    pass
    return [
        sorted(late[begin : begin + a_second])[int(a_second * 0.999) - 1] for begin in range(0, len(late), a_second)
    ]


def main(variant: str, url: str, seconds: str) -> None:
    """Run one variant, and print what :func:`_late` finds."""
    managers: dict[str, Callable[[], AbstractContextManager[Peer | None]]] = {
        BARE: nullcontext,
        OPENTELEMETRY: lambda: opentelemetry(url),
        OURS: lambda: ours(url),
    }
    with managers[variant]() as peer:
        tracer = None if peer is None else peer.tracer
        asyncio.run(_late(1, tracer))  # connections, imports
        gc.collect()  # what they have left, else a full collection falls into the one run and not into the other
        with nullcontext() if tracer is None else tracer.start_as_current_span("root"):
            late = asyncio.run(_late(int(seconds), tracer))
        if peer is not None:
            peer.flush()
    print(json.dumps(late))


def test_stall(record: Record, sink: Sink) -> None:
    """At 5,000 spans a second; every span arrives.

    What is kept is the median second: the machine's own stalls are as long as what is looked for, and taking the least
    would favour whoever stalls seldom.
    """
    found: dict[str, list[float]] = {BARE: [], OPENTELEMETRY: [], OURS: []}
    for _ in range(_RUNS):
        for variant, values in found.items():
            values.extend(in_process("-m", "benchmarks.bench_loop", variant, sink.url, str(_SECONDS)))
    spans = round((1 + _SECONDS) / _TICK) * _SPANS_A_TICK + 1
    sink.expect(2 * _RUNS * spans)
    bare = median(found[BARE])
    record("stall", {name: bare if name == BARE else median(values) - bare for name, values in found.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
