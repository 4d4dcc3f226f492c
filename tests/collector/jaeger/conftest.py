"""Readers and a server for what Jaeger's APIs are asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.applications import Starlette

from causal_otel.collector.jaeger import legacy, openapi, unknown, v3
from causal_otel.collector.query import TraceReader
from causal_otel.collector.reading import Reading
from causal_otel.collector.receive import otlp_json
from tests.collector.oracle import MemoryReader
from tests.waiting import wait_until

GOLDEN = Path(__file__).parent / "golden"
OURS = GOLDEN / "ours"
INPUTS = ("golden-trace.otlp.json", "edge-traces.otlp.json", "bulk-1.otlp.pb", "bulk-2.otlp.pb")
NOW = 1_795_381_200 * 10**9
"""2026-11-22T21:00:00Z, an hour after the golden trace."""


def golden_messages() -> list[TracesData]:
    """What Jaeger was given before it was asked."""
    files = [GOLDEN / "input" / name for name in INPUTS]
    return [
        otlp_json.loads(file.read_bytes()) if file.suffix == ".json" else TracesData.FromString(file.read_bytes())
        for file in files
    ]


def application(reader: TraceReader) -> Starlette:
    """Both APIs over ``reader``, at 21:00 on the day of the golden trace."""
    reading = Reading(reader)
    return Starlette(
        routes=[*v3.routes(reading), *legacy.routes(reading, now=lambda: NOW), *openapi.routes(), *unknown.routes()]
    )


@contextmanager
def served(app: Starlette) -> Iterator[httpx.Client]:
    """A client of a server of ``app`` on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_until(lambda: server.started or not thread.is_alive(), "the server did not start")
            assert server.started
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@contextmanager
def stored(messages: Iterable[TracesData], directory: Path) -> Iterator[TraceReader]:
    """A reader of ``messages``, written to files in ``directory``."""
    # Here, so that a fault in the store leaves the tests over memory standing.
    from causal_otel.collector.store.reader import Reader
    from causal_otel.collector.store.writer import Writer

    writer = Writer(directory, clock=lambda: NOW / 1e9)
    writer.start()
    try:
        for message in messages:
            writer.put(message.SerializeToString()).result(60)
        with Reader(directory) as reader:
            yield reader
    finally:
        writer.close(20)


@pytest.fixture(scope="session", params=["memory", "store"])
def golden_reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceReader]:
    """The golden traces, kept in memory and on the disk."""
    if request.param == "memory":
        yield MemoryReader(golden_messages())
    else:
        with stored(golden_messages(), tmp_path_factory.mktemp("golden")) as reader:
            yield reader


@pytest.fixture(scope="session")
def golden_client(golden_reader: TraceReader) -> Iterator[httpx.Client]:
    """A client of both APIs over the golden traces."""
    with served(application(golden_reader)) as client:
        yield client
