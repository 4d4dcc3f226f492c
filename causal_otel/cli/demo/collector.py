"""The demo's collector: ``causal-otel collector`` in a process of its own, and the traces that it keeps."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from causal_otel.collector.store.reader import Reader
from causal_otel.testing.process import LOOPBACK, claim_port, http_status, process

__all__ = ["Collector", "collector"]


@dataclass(frozen=True)
class Collector:
    """A collector under way.

    Args:
        url: the base URL of its pages.
        endpoint: where to export to, as ``OTEL_EXPORTER_OTLP_ENDPOINT`` takes it.
        traces: reads what it keeps.
    """

    url: str
    endpoint: str
    traces: Reader

    def link(self, trace_id: str) -> str:
        """The page of a trace, by its id in hexadecimal."""
        return f"{self.url}/trace/{trace_id}"


@contextmanager
def collector(work: Path, environment: Mapping[str, str]) -> Iterator[Collector]:
    """Run a collector on free ports for as long as the block lasts.

    Args:
        work: where it keeps its traces and its log.
        environment: what it sees.

    Raises:
        ServerError: It cannot be started.
    """
    name, data = "collector", work / "traces"
    port, otlp_port = claim_port(None, name), claim_port(None, name)
    url, endpoint = (f"http://{LOOPBACK}:{number}" for number in (port, otlp_port))
    options = {"port": port, "otlp-http-port": otlp_port, "otlp-grpc-port": "off", "data-dir": data}
    with (
        process(
            [
                *(sys.executable, "-m", "causal_otel", "collector"),
                *(f"--{option}={value}" for option, value in options.items()),
            ],
            name=name,
            log=work / "collector.log",
            cwd=work,
            # Were our tracing loaded into every Python process here, the collector would trace its own requests.
            env={**environment, "OTEL_SDK_DISABLED": "true"},
            ready=lambda _: http_status(f"{url}/status.json") == 200,
        ),
        Reader(data) as traces,
    ):
        yield Collector(url, endpoint, traces)
