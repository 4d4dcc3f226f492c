"""Programs of a tenth of a second, over every transport and with every ending: no span is lost, none comes twice.

The export has neither sent nor needed anything when such a program ends: all that is imported, started or opened first
at the end of a process must work there.
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.grpc_collector import grpc_serving
from tests.faults.programs import run, send_spool
from tests.faults.scripted import refused_port, scripted

SPANS = 20
ENDINGS = {
    "return": ("pass", 0, []),
    "sys.exit": ("sys.exit(3)", 3, []),
    "exception": ("raise ValueError", 1, []),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM, []),
    "asyncio.run": ("asyncio.run(work('in the loop'))", 0, ["in the loop"]),
    "atexit": ("atexit.register(trace, 'at exit')", 0, ["at exit"]),
    "daemon thread": ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", 0, []),
    "fork": ("if not os.fork(): trace('in the child'); sys.exit(0)\nos.wait()", 0, ["in the child"]),
    "uninstall": ("causal_otel.uninstall()", 0, []),
    "quick atexit": ("", 0, ["at exit"]),  # the first span of all ends there
}

_PROGRAM = """
import asyncio, atexit, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forking with threads
import causal_otel
causal_otel.install(patches=[], schedule_delay=60.0)

def trace(name):
    with causal_otel.span(name):
        pass

async def work(name):
    trace(name)

"""
_ORDINARY = f"""
for number in range({SPANS}):
    trace(f"span {{number}}")
    time.sleep(0.1 / {SPANS})
"""


def _end(ending: str, **variables: Any) -> tuple[Counter[str], str]:
    """Run a program: which spans it has made, and what it wrote on standard error."""
    leave, status, more = ENDINGS[ending]
    quick = ending.startswith("quick")
    leave = leave or "atexit.register(trace, 'at exit')"
    done = run(_PROGRAM + ("" if quick else _ORDINARY) + leave, **variables)
    assert done.returncode == status, done.stderr
    made = Counter(more if quick else [*(f"span {number}" for number in range(SPANS)), *more])
    assert "causal_otel:" not in done.stderr or "TRACING_SPOOL_DIRECTORY" in variables, done.stderr
    return made, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("ending", ENDINGS)
class TestEveryEnding:
    def test_http(self, ending: str) -> None:
        """OTLP/HTTP: each span arrives once, and nothing is logged."""
        with scripted() as collector:
            made, _ = _end(ending, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
            assert Counter(collector.names()) == made

    def test_grpc(self, ending: str) -> None:
        """OTLP/gRPC: each span arrives once, and nothing is logged."""
        with grpc_serving() as collector:
            made, _ = _end(ending, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
            assert Counter(collector.names()) == made

    def test_console(self, ending: str) -> None:
        """The console: each span is printed once."""
        made, shown = _end(ending, OTEL_TRACES_EXPORTER="console")
        assert Counter(re.findall(r"(?m)^[^a-z]*(span \d+|in the loop|in the child|at exit)\b", shown)) == made

    def test_spool(self, ending: str, tmp_path: Path) -> None:
        """With nobody listening and a spool each span is on disk, and the next program sends it once."""
        spool = str(tmp_path / "spool")
        with refused_port() as port:
            made, _ = _end(
                ending, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", TRACING_SPOOL_DIRECTORY=spool
            )
        with scripted() as collector:
            send_spool(spool, collector.endpoint)
            assert Counter(collector.names()) == made
