"""Everything the demo runs on, started in order with progress on the screen, and stopped together.

Children of ours that need time to import are started first and waited for later; the servers start meanwhile. All of
it happens on the main thread, whose interruption (Ctrl-C, SIGTERM) unwinds what has been started, wherever it is.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from causal_otel.cli.demo.collector import Collector, collector
from causal_otel.cli.demo.config import Config
from causal_otel.testing.process import LOOPBACK, Process, check_running, claim_port, process, workdir
from causal_otel.testing.servers import bolt, postgres, valkey

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Stage", "stage"]

T = TypeVar("T")

_KEPT_VARIABLES = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV"),
    # The only settings: they decide how many spans there are on a slow machine.
    "TRACING_LOOP_BLOCK_THRESHOLD",
    "TRACING_SLOW_PLUMBING",
)
_EXPORT_MILLISECONDS = 200


@dataclass(frozen=True)
class Stage:
    """What runs while :func:`stage`'s block lasts.

    Args:
        api_url: the base URL of ``demo-api``.
        api: its process.
        worker: the process of ``demo-worker``; its tasks run in children of it.
        collector: where their spans go.
    """

    api_url: str
    api: Process
    worker: Process
    collector: Collector


@contextmanager
def stage(console: Console, api_port: int | None = None) -> Iterator[Stage]:
    """Start everything; stop everything when the block is left.

    Args:
        console: where progress is shown.
        api_port: the port of the API; None: a free one.

    Raises:
        ServerError: Something cannot be started.
    """
    if api_port:
        claim_port(api_port, "demo-api")  # a taken port is told at once, not after the others have started
    with ExitStack() as stack:
        work = stack.enter_context(workdir("demo"))
        stopping = console.status("Stopping everything ...")
        stack.callback(stopping.stop)

        def up(name: str, role: str, server: AbstractContextManager[T]) -> T:
            with _progress(console, name, role):
                return stack.enter_context(server)

        def started(service: str, arguments: list[str], environment: dict[str, str]) -> Process:
            command = [sys.executable, "-m", *arguments]
            log = work / f"{service}.log"
            return stack.enter_context(process(command, name=service, log=log, cwd=work, env=environment))

        def ready(child: Process, role: str, sign: Callable[[Process], bool]) -> None:
            def sign_of_life(child: Process) -> bool:
                check_running()  # a server that has died meanwhile explains why this one is never ready
                return sign(child)

            with _progress(console, child.name, role):
                child.wait_until_ready(sign_of_life, timeout=30.0)

        begun = time.monotonic()
        environment = _environment(work)
        kept = up("collector", "keeps the traces, and shows them in the browser", collector(work, environment))
        environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": kept.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": str(_EXPORT_MILLISECONDS),
            "TRACING_LOGS": "export",
        }
        scoring_port = claim_port(None, "demo-scoring")
        scoring = started("demo-scoring", _uvicorn("external", scoring_port), environment)
        postgres_url = up("PostgreSQL", "deliveries and analyses", postgres())
        redis_url = up("Valkey", "a Redis by another name: cache, and Celery's queue", valkey())
        graph = up("ArcadeDB", "stands in for Neo4j: it speaks Bolt and Cypher", bolt())

        environment |= Config(
            postgres_url=postgres_url,
            redis_url=redis_url,
            neo4j_url=graph.url,
            neo4j_user=graph.user,
            neo4j_password=graph.password,
            scoring_url=f"http://{LOOPBACK}:{scoring_port}",
        ).environment()
        api_port = claim_port(api_port, "demo-api")
        api = started("demo-api", _uvicorn("app", api_port), environment)
        worker = started("demo-worker", _celery(), environment)
        ready(scoring, "an external HTTP service, on Starlette", _listening(scoring_port))
        ready(api, "FastAPI under uvicorn", _listening(api_port))
        ready(worker, "Celery, prefork: tasks run in other processes", _consuming)
        console.print(f"\n  All up after {time.monotonic() - begun:.1f} s.")
        stack.callback(stopping.start)
        yield Stage(f"http://{LOOPBACK}:{api_port}", api, worker, kept)


def _uvicorn(module: str, port: int) -> list[str]:
    options = ["--host", LOOPBACK, "--port", str(port), "--log-level", "warning", "--timeout-graceful-shutdown", "2"]
    return ["uvicorn", f"causal_otel.cli.demo.{module}:app", *options]


def _celery() -> list[str]:
    quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    return ["celery", "-A", "causal_otel.cli.demo.tasks", "worker", "-P", "prefork", "-c", "2", "-l", "INFO", *quiet]


def _listening(port: int) -> Callable[[Process], bool]:
    def sign(_: Process) -> bool:  # and no request, which would be traced
        with socket.create_connection((LOOPBACK, port), 1):
            return True

    return sign


def _consuming(worker: Process) -> bool:
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
