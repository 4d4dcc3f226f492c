"""Profilers of others beside us, as docs/how-to/profile.md has them: what they see is told apart by trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from causal_otel.causality.folded import stacks
from tests.installing import run_strictly

pytestmark = pytest.mark.long

_PLANTED = """
import sys, time, threading
import causal_otel

def planted(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))
"""


def _allowed(run: subprocess.CompletedProcess[str]) -> None:
    """Skip the test where this machine forbids one process to read another."""
    if "Permission denied" in run.stderr or "Operation not permitted" in run.stderr:
        pytest.skip(f"py-spy may not read a process here: {run.stderr.strip()[-200:]}")
    assert not run.returncode, run.stderr


def test_py_spy(tmp_path: Path) -> None:
    """py-spy reads a process that we profile too; a thread that is named after its trace has that name there."""
    code = _PLANTED + (
        "causal_otel.install(exporter='none', profiling=True)\n"
        "def work():\n"
        "    with causal_otel.span('work'):\n"
        "        threading.current_thread().name = f'trace {causal_otel.current_trace_id()}'\n"
        "        print(causal_otel.current_trace_id(), flush=True)\n"
        "        planted(600)\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "sys.stdin.read()\n"
    )
    py_spy, out = Path(sys.executable).with_name("py-spy"), tmp_path / "profile"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        trace_id = child.stdout.readline().strip()
        try:
            options = ["-d", "2", "--threads", "-f", "raw", "-o", str(out)]
            command = [str(py_spy), "record", "--pid", str(child.pid), *options]
            _allowed(subprocess.run(command, capture_output=True, text=True, timeout=120))
        finally:
            child.kill()
    seen = [(frames, count) for frames, count in stacks(out.read_text()) if "planted" in frames[-1]]
    of_trace = sum(count for frames, count in seen if f"trace {trace_id}" in frames[0])
    assert of_trace * 2 > sum(count for _, count in seen), seen


def test_pyroscope() -> None:
    """Pyroscope's span processor works with our provider: samples have the trace's ids, roots their profile's."""
    code = _PLANTED + (
        "import gzip, http.server, re, zlib\n"
        "import pyroscope\n"
        "from opentelemetry import trace\n"
        "from pyroscope.otel import PyroscopeSpanProcessor\n"
        "pushed = []\n"
        "class Server(http.server.BaseHTTPRequestHandler):\n"
        "    def do_POST(self):\n"
        "        body = self.rfile.read(int(self.headers['content-length']))\n"
        "        for at in (found.start() for found in re.finditer(rb'\\x1f\\x8b\\x08', body)):\n"
        "            try:\n"
        "                body += zlib.decompressobj(31).decompress(body[at:])\n"
        "            except zlib.error:\n"
        "                pass\n"
        "        pushed.append(body)\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "    def log_message(self, *_):\n"
        "        pass\n"
        "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)\n"
        "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
        "pyroscope.configure(application_name='shop', server_address=f'http://127.0.0.1:{server.server_port}')\n"
        "causal_otel.install(exporter='none')\n"
        "trace.get_tracer_provider().add_span_processor(PyroscopeSpanProcessor())\n"
        "deadline = time.monotonic() + 50\n"
        "with causal_otel.span('work') as span:\n"
        "    trace_id = causal_otel.current_trace_id().encode()\n"
        "    while not any(trace_id in body for body in pushed) and time.monotonic() < deadline:\n"
        "        planted(1)\n"
        "print(any(trace_id in body and b'planted' in body for body in pushed))\n"
        "print(span.attributes['pyroscope.profile.id'] == format(span.get_span_context().span_id, '016x'))\n"
        "pyroscope.shutdown()\n"
    )
    done = run_strictly(code)
    assert done.stdout.splitlines() == ["True", "True"], done.stderr


def test_memray(tmp_path: Path) -> None:
    """Allocations of one span go to a file that is named after its trace."""
    code = (
        "import causal_otel, memray\n"
        "causal_otel.install(exporter='none')\n"
        "with causal_otel.span('report'):\n"
        f"    with memray.Tracker(f'{tmp_path}/{{causal_otel.current_trace_id()}}.bin'):\n"
        "        kept = [bytes(1000) for _ in range(10_000)]\n"
        "    print(causal_otel.current_trace_id())\n"
    )
    done = run_strictly(code)
    assert (tmp_path / f"{done.stdout.strip()}.bin").stat().st_size > 0, done.stderr
