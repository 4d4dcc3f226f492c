"""The table of what the last ``make bench`` has measured: it writes the page that the README takes it from.

python -m benchmarks.table    # writes the page; ``make bench`` does
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rounds import BARE, DDTRACE, FASTAPI, OPENTELEMETRY, OURS
from causal_otel._reference.pages import FIGURES, ROOT

__all__ = ["HEADING", "RESULTS", "ROWS", "Row", "markdown"]

RESULTS = Path(__file__).with_name("results.json")

HEADING = """\
# Figures

Written by `make bench`; do not edit.

CPU time, measured side by side in one run; CPython 3.11 on a shared machine with two cores, so read the ratios. With
`+`: what is added to the bare call. [Performance](performance.md) says what each row is, and why some miss their bar.

"""

_UNITS = {"s": 1, "ns": 1e9, "µs": 1e6, "ms": 1e3, "kB": 1e-3, "of bare": 1, "% of a CPU": 1e2}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table.

    Args:
        label: what is measured.
        unit: what it is shown in.
        added: whether the figures beside the bare one are what is added to it.
        share: what part of OpenTelemetry's figure ours may be, as in 1/share.
        most: what ours may be at most, in the unit.
        least: what ours must be at least, in the unit.
        over_bare: how much more than the bare figure ours may be, as a part of it.
        decimals: how exactly it is shown.
    """

    label: str
    unit: str = "µs"
    added: bool = False
    share: int | None = None
    most: float | None = None
    least: float | None = None
    over_bare: float | None = None
    decimals: int = 2

    def bar(self) -> str:
        """What ours must be."""
        bars = [] if self.share is None else [f"≤ 1/{self.share}"]
        if self.most is not None:
            bars.append(f"≤ {self.most:g} {self.unit}")
        if self.least is not None:
            bars.append(f"≥ {self.least:g} {self.unit}")
        if self.over_bare is not None:
            bars.append(f"≤ bare + {self.over_bare:.0%}")
        return ", ".join(bars)

    def missed(self, values: Mapping[str, float]) -> bool:
        """Whether ours is not."""
        mine = values[OURS]
        if self.most is not None and mine * _UNITS[self.unit] > self.most:
            return True
        if self.least is not None and mine * _UNITS[self.unit] < self.least:
            return True
        if self.over_bare is not None and mine > values[BARE] * (1 + self.over_bare):
            return True
        return self.share is not None and OPENTELEMETRY in values and mine * self.share > values[OPENTELEMETRY]

    def figure(self, values: Mapping[str, float], column: str) -> str:
        """What a cell shows."""
        if column not in values:
            return "–"
        sign = "+" if self.added and column != BARE else ""
        return f"{values[column] * _UNITS[self.unit]:{sign}.{self.decimals}f} {self.unit}"


ROWS = {
    "whole request": Row(label="**a whole request**: FastAPI, one query, one GET", added=True, share=10, most=60),
    "whole request unsampled": Row(label="a whole request, not sampled", added=True, share=15),
    "nothing": Row(label="a whole request to a route that does nothing", added=True, share=10),
    "500 routes": Row(label="the same, by the last of 500 routes", added=True, share=10),
    "causes": Row(label="a whole request with all that says why it took so long, over one without", over_bare=0.05),
    "causes nothing": Row(label="the same, to a route that does nothing", over_bare=0.05),
    "throughput": Row(label="requests a second that one core serves", unit="of bare", least=0.88),
    "latency": Row(label="a whole request at 200 a second (p99)", unit="ms", over_bare=0.05),
    "celery publisher": Row(label="**a Celery task** through Valkey: its publisher", added=True, share=10),
    "celery worker": Row(label="the same: its worker, solo pool", added=True, share=10),
    "celery publisher unsampled": Row(label="a Celery task, not sampled: its publisher", added=True, share=15),
    "celery worker unsampled": Row(label="the same: its worker", added=True, share=15),
    "child": Row(label="child span, 7 attributes, made current and ended", share=20),
    "leaf": Row(label="leaf span, as the patches make them", share=35),
    "unsampled": Row(label="unsampled: child of an unsampled span", share=15),
    "unsampled root": Row(label="unsampled: a root that the sampler drops", share=15),
    "root decision": Row(label="deciding about a root: default rules, an HTTP request", most=1),
    "held back": Row(label="a span held back, should its trace fail, over one dropped", added=True, most=3),
    "gate": Row(label="gate of a patch, nothing recorded", most=0.5),
    "wrapped": Row(label="an empty coroutine, patched, nothing recorded", added=True),
    "metrics": Row(label="an empty coroutine, patched and recorded: what metrics add", added=True, most=1),
    "metrics unsampled": Row(label="the same, not sampled", added=True, most=1),
    "metrics client": Row(label="an HTTP request that is sent: what metrics add", added=True, most=1),
    "metrics server": Row(label="an HTTP request that is served: what metrics add", added=True, most=1),
    "metrics process": Row(label="a task that is executed: what metrics add", added=True, most=1),
    "encode": Row(label="encoding a span for OTLP", share=16),
    "encode new": Row(label="encoding a span, two of seven values never seen before"),
    "redaction": Row(label="redaction, a span with 7 attributes, values repeat", added=True, most=1),
    "redaction new": Row(label="redaction, two of seven values never seen before", added=True, most=1),
    "asyncpg": Row(label="asyncpg `fetchval`, recorded and exported", added=True, share=20),
    "psycopg": Row(label="psycopg `execute`, asyncio, recorded and exported", added=True),
    "grpc": Row(label="gRPC call and its server (`grpc.aio`), recorded and exported", added=True),
    "redis": Row(label="redis `GET`, recorded and exported", added=True, share=20),
    "httpx": Row(label="httpx `GET`, recorded and exported", added=True),
    "aiohttp": Row(label="aiohttp `GET`, recorded and exported", added=True),
    "aiokafka": Row(label="aiokafka `send_and_wait`, recorded and exported", added=True),
    "neo4j": Row(label="neo4j `run` and `consume`, recorded and exported", added=True, most=10),
    "asyncpg acquire": Row(label="asyncpg connection taken from a pool that has one", added=True, most=1),
    "asyncpg cursor": Row(label="asyncpg cursor of 500 rows, recorded and exported", added=True, share=100),
    "redis pipeline": Row(label="redis pipeline of 100 `SET`, recorded and exported", added=True, share=20),
    "redis pipeline mixed": Row(label="redis pipeline of 50 `SET` and 50 `GET`", added=True, share=20),
    "submit": Row(label="`submit` of a thread pool, in a trace", added=True, most=1),
    "submit outside": Row(label="`submit` of a thread pool, outside any trace", added=True, most=1),
    "submit and run": Row(label="`submit` of a thread pool, in a trace, and its job", added=True),
    "lock": Row(label="`async with` an `asyncio.Lock` that is free", unit="ns", decimals=0, added=True, most=50),
    "lock acquire": Row(label="its `acquire` and `release`", unit="ns", decimals=0, added=True, most=50),
    "semaphore": Row(
        label="`async with` an `asyncio.Semaphore` that is free", unit="ns", decimals=0, added=True, most=50
    ),
    "queue": Row(label="`asyncio.Queue.put` and `get`, nobody waits", unit="ns", decimals=0, added=True, most=50),
    "lock contended": Row(label="an `asyncio.Lock` that is waited for each time", added=True),
    "sqlalchemy": Row(label="SQLAlchemy `session.execute` on asyncpg", added=True, share=10),
    "fastapi": Row(label="FastAPI request, recorded and exported", added=True),
    "asyncpg unrecorded": Row(label="asyncpg `fetchval`, nothing recorded", added=True, most=1),
    "redis unrecorded": Row(label="redis `GET`, nothing recorded", added=True, most=1),
    "asyncpg unsampled": Row(label="asyncpg `fetchval`, not sampled", added=True),
    "psycopg unsampled": Row(label="psycopg `execute`, asyncio, not sampled", added=True),
    "grpc unsampled": Row(label="gRPC call and its server (`grpc.aio`), not sampled", added=True),
    "redis unsampled": Row(label="redis `GET`, not sampled", added=True),
    "httpx unsampled": Row(label="httpx `GET`, not sampled", added=True),
    "aiohttp unsampled": Row(label="aiohttp `GET`, not sampled", added=True),
    "aiokafka unsampled": Row(label="aiokafka `send_and_wait`, not sampled", added=True),
    "neo4j unsampled": Row(label="neo4j `run` and `consume`, not sampled", added=True),
    "sqlalchemy unsampled": Row(label="SQLAlchemy `session.execute` on asyncpg, not sampled", added=True),
    "fastapi unsampled": Row(label="FastAPI request, not sampled", added=True),
    "whole": Row(label="300,000 child spans, created and exported, each", share=12),
    "stall": Row(label="event loop stalled by exporting 5,000 spans/s (p99.9)", unit="ms", added=True, share=5, most=1),
    "loop idle asyncio": Row(
        label="an idle process whose loop is watched: asyncio", unit="% of a CPU", added=True, most=0.5
    ),
    "loop idle uvloop": Row(
        label="an idle process whose loop is watched: uvloop", unit="% of a CPU", added=True, most=0.5
    ),
    "loop steps asyncio": Row(label="a step of a task on a loop that is watched: asyncio", over_bare=0.05),
    "loop steps uvloop": Row(label="a step of a task on a loop that is watched: uvloop", over_bare=0.05),
    "profiling idle asyncio": Row(label="profiling, an idle process: asyncio", unit="% of a CPU", most=1),
    "profiling idle uvloop": Row(label="profiling, an idle process: uvloop", unit="% of a CPU", most=1),
    "profiling busy asyncio": Row(label="profiling, a busy FastAPI service: asyncio", unit="% of a CPU", most=1),
    "profiling busy uvloop": Row(label="profiling, a busy FastAPI service: uvloop", unit="% of a CPU", most=1),
    "memory": Row(label="memory of a live span, 7 attributes", unit="kB", most=0.6),
    "memory current": Row(label="memory of a live span that is current", unit="kB"),
    "import": Row(label="import, on top of opentelemetry-api", unit="ms", most=60, decimals=0),
    "install": Row(label="`install()`", unit="ms", most=30, decimals=0),
    "run": Row(
        label="a process under `causal-otel run`, over one that calls `install()`",
        unit="ms",
        added=True,
        most=60,
        decimals=0,
    ),
    "pytest unused": Row(label="a suite of 300 tests, pytest's plugin there and not used", unit="s", over_bare=0.005),
    "pytest used": Row(label="the same, each test asserts something of its traces", unit="s", over_bare=0.02),
    "pytest budgets": Row(label="the same, each test is compared with its budget", unit="s", over_bare=0.02),
    "pytest test": Row(label="one of these tests, without what is imported once", unit="ms", over_bare=0.02),
}


def markdown(results: Mapping[str, Mapping[str, float]]) -> str:
    """The table, of the rows that were measured."""
    columns = (BARE, OPENTELEMETRY, FASTAPI, DDTRACE, OURS)
    lines = ["| benchmark | " + " | ".join(columns) + " | ratio | bar |", "|---|" + "---:|" * 6 + "---|"]
    for name, row in ROWS.items():
        values = results.get(name)
        if not values or OURS not in values:
            continue
        cells = [row.figure(values, column) for column in columns]
        theirs, mine = values.get(OPENTELEMETRY), values[OURS]
        cells.append("–" if theirs is None or mine <= 0 else f"1/{theirs / mine:.1f}")
        verdict = " **lost in the noise**" if mine <= 0 else " **missed**" if row.missed(values) else ""
        cells.append(row.bar() + verdict)
        lines.append(f"| {row.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    if not RESULTS.exists():
        sys.exit("nothing measured yet: make bench")
    results = json.loads(RESULTS.read_text())
    missing = [row.label for name, row in ROWS.items() if name not in results]
    if missing:
        print("not measured:", "; ".join(missing), file=sys.stderr)
    (ROOT / FIGURES).write_text(f"{HEADING}{markdown(results)}\n", encoding="utf-8")
