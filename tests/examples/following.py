"""An example as its reader runs it: a copy of its folder, and the commands of its README, in their order.

Only the environment differs: the ports are free ones, and the servers those of the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from causal_otel.testing.process import LOOPBACK, claim_port
from tests.docs.blocks import Command, blocks, commands
from tests.docs.pages import ROOT
from tests.docs.terminal import Terminal
from tests.faults.programs import environment
from tests.waiting import wait_until

__all__ = ["copied", "followed", "listens", "page", "told", "trace_id"]

_PORTS = ("16686", "4318", "8000", "8001")
"""Those that the READMEs name."""


def page(name: str) -> str:
    """The README of an example."""
    return f"examples/{name}/README.md"


def told(name: str) -> list[Command]:
    """The commands of an example's README that can be run here."""
    return [command for block in blocks(page(name)) if not block.not_run for command in commands(block)]


def trace_id(printed: str) -> str:
    """The id of the trace that a command has printed."""
    found = re.search(r"^(?:x-trace-id:|trace) ([0-9a-f]{32})\s*$", printed, re.MULTILINE | re.IGNORECASE)
    assert found is not None, printed
    return found[1]


def copied(name: str, place: Path) -> Path:
    """A copy of the folder of an example, which stands alone there."""
    shutil.copytree(ROOT / "examples" / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    return place / name


@contextmanager
def followed(
    name: str, place: Path, *, but: str | None = None, endpoint: str | None = None, **variables: str
) -> Iterator[list[str]]:
    """Follow the README of an example; what stays is ended with the block.

    Args:
        name: the example.
        place: a directory for the copy.
        but: commands that begin like this pattern are left out.
        endpoint: where spans go; None: to the collector that the README starts.
        variables: of its environment.

    Yields:
        what its commands have printed, in their order.
    """
    ports = {port: claim_port(None, port) for port in _PORTS}
    here = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(place),
        "CAUSAL_OTEL_COLLECTOR_PORT": str(ports["16686"]),
        "CAUSAL_OTEL_COLLECTOR_OTLP_HTTP_PORT": str(ports["4318"]),
        "CAUSAL_OTEL_COLLECTOR_OTLP_GRPC_PORT": "off",
        "OTLP_ENDPOINT": endpoint or f"http://{LOOPBACK}:{ports['4318']}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "UVICORN_PORT": str(ports["8000"]),
        "API_PORT": str(ports["8000"]),
        "SCORING_PORT": str(ports["8001"]),
        "SCORING_URL": f"http://{LOOPBACK}:{ports['8001']}",
    }
    printed = []
    with Terminal(copied(name, place), environment(**{**here, **variables})) as terminal:
        for text, shown in told(name):
            if but is None or not re.match(but, text):
                for readme, port in ports.items():
                    text = re.sub(rf"(?<=:){readme}\b", str(port), text)
                _wait_for_what_is_asked(text)
                printed.append(terminal.run(text, shown))
        yield printed


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    try:
        socket.create_connection((LOOPBACK, port), 1).close()
    except OSError:
        return False
    return True


def _wait_for_what_is_asked(command: str) -> None:
    """Wait for what a command asks: some programs say too early that they are ready."""
    asked = re.match(rf"curl .*http://{LOOPBACK}:(\d+)/", command)
    if asked is not None:
        wait_until(lambda: listens(int(asked[1])))
