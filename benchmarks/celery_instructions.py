"""How many instructions a Celery task takes in the process that sends it, and in the worker: by valgrind's callgrind.

    python -m benchmarks.celery_instructions [TRACER ...]

Instructions do not depend on what else the machine does: what a change saves shows after a few hundred tasks. It prints
thousands of instructions a task, export included, of the same processes as :mod:`benchmarks.bench_celery_process`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import redis

from benchmarks.processes import answering_server, module
from benchmarks.rounds import BARE, OPENTELEMETRY, OURS
from causal_otel.testing import servers

_TASKS = 200
_WAIT_SECONDS = 600


def _control(pid: int, *arguments: str) -> None:
    subprocess.run(["callgrind_control", *arguments, str(pid)], check=True, capture_output=True, timeout=_WAIT_SECONDS)


def _measure(broker: str, agent: str, role: str, tracer: str, sampled: str) -> float:
    """Thousands of instructions a task."""
    arguments = (tracer, broker, f"{agent}/v1/traces", sampled)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        client = stack.enter_context(redis.Redis.from_url(broker, socket_timeout=_WAIT_SECONDS))
        client.flushdb()
        valgrind = "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out"
        pids = {
            each: stack.enter_context(
                module("celery_process", each, *arguments, agent=agent, under=valgrind if each == role else ())
            ).pid
            for each in (("publisher",) if role == "publisher" else ("worker", "publisher"))
        }

        def done(times: int) -> None:
            for _ in range(times):
                assert client.blpop([f"{tracer}.done"], timeout=_WAIT_SECONDS) is not None

        if role == "worker":
            done(1)
        for warm in (True, False):
            if not warm:
                _control(pids[role], "--instr=on")
            client.rpush(f"{tracer}.ask", _TASKS)
            done(len(pids))
        _control(pids[role], "--dump")
        written = "".join(path.read_text() for path in Path(folder).iterdir())
        return max(map(int, re.findall(r"^(?:summary|totals): (\d+)", written, re.MULTILINE))) / _TASKS / 1000


def main(tracers: list[str]) -> None:
    """Measure and print."""
    with answering_server() as agent, servers.valkey() as broker:
        for role in ("publisher", "worker"):
            for sampled in ("sampled", "unsampled"):
                for tracer in tracers:
                    if tracer != BARE or sampled == "sampled":
                        print(
                            f"{role} {sampled} {tracer}: {_measure(broker, agent, role, tracer, sampled):.0f}",
                            flush=True,
                        )


if __name__ == "__main__":
    main(sys.argv[1:] or [BARE, OPENTELEMETRY, OURS])
