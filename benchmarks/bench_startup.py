"""What a program waits for at its start, in processes of their own, opentelemetry-api imported before.

asyncpg is imported as well, so that there is something to patch. redis is not: it imports half of the SDK. psutil is
kept away, as a service has none: it is here for the tests' PostgreSQL, and the SDK's resource detection would import
it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.rounds import BARE, OPENTELEMETRY, OURS, added, in_process

if TYPE_CHECKING:
    from benchmarks.conftest import Record

_RUNS = 7

_PROGRAM = """
import sys, time
sys.modules["psutil"] = None
import asyncpg
from opentelemetry import context, propagate, trace
started = time.perf_counter()
{imports}
imported = time.perf_counter()
{install}
print([imported - started, time.perf_counter() - imported])
"""
_OURS = _PROGRAM.format(imports="import causal_otel", install="causal_otel.install()")
_OPENTELEMETRY = _PROGRAM.format(
    imports="""
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
""",
    install="""
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
AsyncPGInstrumentor().instrument()
""",
)


def test_startup(record: Record) -> None:
    """Wall-clock time, since that is what is waited for; nothing is recorded, so nothing is sent.

    Of the first run, which may have to compile our source, nothing is left in the least of them.
    """
    found: dict[str, list[list[float]]] = {OPENTELEMETRY: [], OURS: []}
    for _ in range(_RUNS):
        for name, program in ((OPENTELEMETRY, _OPENTELEMETRY), (OURS, _OURS)):
            found[name].append(in_process("-c", program, PYTHONDONTWRITEBYTECODE=""))
    record("import", {name: min(run[0] for run in runs) for name, runs in found.items()})
    record("install", {name: min(run[1] for run in runs) for name, runs in found.items()})


def test_run(record: Record) -> None:
    """``causal-otel run``, over a program that calls ``install()`` itself: CPU time of whole processes.

    Nothing in them waits, so that it is what is waited for on an idle machine.
    """
    causal_otel = str(Path(sys.executable).with_name("causal-otel"))
    found: dict[str, list[float]] = {BARE: [], OURS: []}
    for _ in range(_RUNS):
        found[BARE].append(_cpu_seconds(sys.executable, "-c", "import causal_otel; causal_otel.install()"))
        found[OURS].append(_cpu_seconds(causal_otel, "run", sys.executable, "-c", "pass"))
    record("run", added(found))


def _cpu_seconds(*command: str) -> float:
    """What a program has used, when it has ended well."""
    child = os.posix_spawn(command[0], command, {**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
    _, status, used = os.wait4(child, 0)
    assert status == 0, command
    return used.ru_utime + used.ru_stime
