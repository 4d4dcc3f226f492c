"""How a demo's servers and services are started in order, with progress on the screen, and stopped together.

Children of ours that need time to import are started first and waited for later; the servers start meanwhile. All of
it happens on the main thread, whose interruption (Ctrl-C, SIGTERM) unwinds what has been started, wherever it is.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from causal_otel.cli.demo.collector import Collector, collector
from causal_otel.testing.process import LOOPBACK, Process, check_running, process, workdir

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Starting", "consuming", "listening", "starting", "uvicorn", "worker"]

T = TypeVar("T")

_KEPT_VARIABLES = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV"),
    # The only settings: they decide how many spans there are on a slow machine.
    "TRACING_LOOP_BLOCK_THRESHOLD",
    "TRACING_SLOW_PLUMBING",
)
_EXPORT_MILLISECONDS = 200


class Starting:
    """Starts one after another; what it has started ends with the block of :func:`starting`.

    Args:
        console: where progress is shown.
        stack: what ends them.
        work: a directory for what they write.

    Attributes:
        environment: what the services see from now on.
    """

    def __init__(self, console: Console, stack: ExitStack, work: Path) -> None:
        self._console = console
        self._stack = stack
        self._work = work
        self.environment = _environment(work)

    def collector(self) -> Collector:
        """Start the collector, which all services begun after it export to."""
        kept = self.up(
            "collector", "keeps the traces, and shows them in the browser", collector(self._work, self.environment)
        )
        self.environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": kept.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": str(_EXPORT_MILLISECONDS),
            "TRACING_LOGS": "export",
        }
        return kept

    def up(self, name: str, role: str, server: AbstractContextManager[T]) -> T:
        """Start a server and wait for it."""
        with _progress(self._console, name, role):
            return self._stack.enter_context(server)

    def begin(self, service: str, arguments: list[str]) -> Process:
        """Start a service of ours, a module with arguments, and do not wait for it."""
        command = [sys.executable, "-m", *arguments]
        log = self._work / f"{service}.log"
        return self._stack.enter_context(
            process(command, name=service, log=log, cwd=self._work, env=dict(self.environment))
        )

    def ready(self, child: Process, role: str, sign: Callable[[Process], bool]) -> None:
        """Wait for a service that was begun."""

        def sign_of_life(child: Process) -> bool:
            check_running()  # a server that has died meanwhile explains why this one is never ready
            return sign(child)

        with _progress(self._console, child.name, role):
            child.wait_until_ready(sign_of_life, timeout=30.0)


@contextmanager
def starting(console: Console) -> Iterator[Starting]:
    """Start things, which are stopped when the block is left."""
    with ExitStack() as stack:
        stopping = console.status("Stopping everything ...")
        stack.callback(stopping.stop)
        work = stack.enter_context(workdir("demo"))
        try:
            yield Starting(console, stack, work)
        finally:
            stopping.start()


def uvicorn(app: str, port: int, *, loop: str = "auto") -> list[str]:
    """The arguments that serve an application, such as ``demo.api:app``, on an event loop that uvicorn knows."""
    options = ["--host", LOOPBACK, "--port", str(port), "--log-level", "warning", "--timeout-graceful-shutdown", "2"]
    return ["uvicorn", app, "--loop", loop, *options]


def worker(module: str, processes: int) -> list[str]:
    """The arguments that start a worker with Celery's app of a module."""
    quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    options = ["worker", "-P", "prefork", "-c", str(processes), "-l", "INFO"]
    return ["celery", "-A", module, *options, *quiet]


def listening(port: int) -> Callable[[Process], bool]:
    """Says whether somebody listens on a port."""

    def sign(_: Process) -> bool:  # and no request, which would be traced
        with socket.create_connection((LOOPBACK, port), 1):
            return True

    return sign


def consuming(worker: Process) -> bool:
    """Whether a worker takes tasks."""
    return " ready." in worker.output()


def _environment(work: Path) -> dict[str, str]:
    """What our children see: none of the user's settings of OpenTelemetry, our own, Celery, libpq, uvicorn, a proxy."""
    kept = {key: value for key, value in os.environ.items() if key in _KEPT_VARIABLES or key.startswith("PYTHON")}
    return kept | {"TMPDIR": str(work)}


@contextmanager
def _progress(console: Console, name: str, role: str) -> Iterator[None]:
    with console.status(f"Starting {name} ..."):
        yield
    mark = "+" if console.options.ascii_only else "✓"
    console.print(f"  [green]{mark}[/] {name:<14} [dim]{role}[/]", no_wrap=True, overflow="crop")
