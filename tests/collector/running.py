"""The collector as it is run: ``causal-otel collector`` in a process of its own, on free ports."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from causal_otel.testing.process import Process, process
from tests.collector.spans import request, span, traces

__all__ = ["OTLP_HEADERS", "Running", "now", "one_span", "running"]

OTLP_HEADERS = {"content-type": "application/x-protobuf"}

_COMMAND = (sys.executable, "-c", "import sys; from causal_otel.cli import main; sys.exit(main())", "collector")


class Running:
    """A collector under way."""

    def __init__(self, child: Process) -> None:
        self.process = child
        output = child.output()

        def address(name: str) -> str:
            found = re.search(rf"{re.escape(name)}: +(\S+)", output)
            assert found is not None, output
            return found[1]

        self.pages, self.http, self.grpc = map(address, ("Pages and APIs", "OTLP/HTTP", "OTLP/gRPC"))

    def post(self, body: bytes, *, path: str = "/v1/traces", **headers: str) -> httpx.Response:
        """Send a request to ``/v1/traces``, or to another path."""
        given = {**OTLP_HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.post(f"{self.http}{path}", content=body, headers=given, trust_env=False, timeout=30)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask the query port."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(self.pages + path, headers=given, trust_env=False, timeout=90)

    def trace(self, trace: int) -> list[str]:
        """The names of a trace's spans, sorted; none if there is no such trace."""
        response = self.get(f"/api/traces/{trace:032x}")
        if response.status_code == 404:
            return []
        assert response.status_code == 200, response.text
        return sorted(each["operationName"] for found in response.json()["data"] for each in found["spans"])

    def metrics(self) -> dict[str, float]:
        """The samples at ``/metrics``, by name and labels as they are written there."""
        lines = self.get("/metrics").text.splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


@contextlib.contextmanager
def running(
    directory: Path,
    *options: str,
    environ: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
    command: Sequence[str] = _COMMAND,
) -> Iterator[Running]:
    """Run a collector over ``directory`` for as long as the block lasts.

    Args:
        directory: where it keeps traces.
        options: of the command.
        environ: variables to add.
        wrapper: a command that runs the command given after it.
        command: another command to run the collector.
    """
    ports = ("--port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0", "--data-dir", str(directory))
    with process(
        [*wrapper, *command, *ports, *options],
        name="causal-otel collector",
        ready=lambda child: "Ctrl-C stops it." in child.output(),
        env={**clean_environment(), **(environ or {})},
    ) as child:
        yield Running(child)


def clean_environment() -> dict[str, str]:
    """Our environment without what would change a collector."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CAUSAL_OTEL_")}


def now() -> int:
    """Unix time in nanoseconds: spans of long ago would be put away or deleted."""
    return time.time_ns()


def one_span(trace: int, name: str = "work", **fields: Any) -> bytes:
    """A request with one span that starts now."""
    return request(traces(span(name, trace=trace, start=now(), **fields)))
