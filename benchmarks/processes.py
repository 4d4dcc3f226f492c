"""Processes that are measured from outside: their CPU time, and how they are started."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from benchmarks.rounds import on_core
from causal_otel.testing.process import LOOPBACK, Process, claim_port, http_status, process

__all__ = ["answering_server", "cpu_seconds", "module"]

_ROOT = Path(__file__).parents[1]
_QUIET = {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_CRASHTRACKING_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
}
"""ddtrace reaches nobody but its agent."""


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that all threads of a process have used."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def module(
    name: str,
    *arguments: str,
    agent: str = "",
    under: Sequence[str] = (),
    ready: Callable[[Process], bool] | None = None,
) -> AbstractContextManager[Process]:
    """Run a module of the benchmarks as a program.

    Args:
        name: the module's name below ``benchmarks``.
        arguments: what it is given.
        agent: the URL of Datadog's agent.
        under: the command that runs Python, as valgrind.
        ready: tells whether it is ready.
    """
    return process(
        [*under, sys.executable, "-W", "ignore", "-m", f"benchmarks.{name}", *arguments],
        name=" ".join((name, *arguments[:2])),
        cwd=_ROOT,
        env={**os.environ, **_QUIET, "DD_TRACE_AGENT_URL": agent},
        ready=ready,
    )


@contextmanager
def answering_server() -> Iterator[str]:
    """The URL of a :mod:`benchmarks.answering_server` on the second core."""
    url = f"http://{LOOPBACK}:{claim_port(None, 'answering server')}"
    with ExitStack() as stack:
        with on_core(1):
            ready = f"{url}/received"
            stack.enter_context(
                module("answering_server", url.rpartition(":")[2], ready=lambda _: http_status(ready) == 200)
            )
        yield url
