"""What the benchmarks share: servers, an OTLP receiver that counts, and the results, of which the table is made."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from benchmarks import table
from causal_otel.testing import servers
from tests.services.fixtures import kafka_address, postgres_url, receiver_process, redis_url
from tests.services.received import receiver

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

__all__ = ["Record", "Sink", "kafka_address", "postgres_url", "receiver_process", "redis_url"]

# As for the tests: Logfire is not to be imported with FastAPI.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "logfire-plugin")

_ARRIVAL_SECONDS = 30.0

Record = Callable[[str, Mapping[str, float]], None]
_results: dict[str, dict[str, float]] = {}


class Sink:
    """A real OTLP receiver in a process of its own, which counts what arrives.

    Args:
        receiver: one that has received nothing yet and is sent nothing but what :meth:`expect` is told of.
    """

    def __init__(self, receiver: ReceivedSpans) -> None:
        self.url = f"{receiver.endpoint}/v1/traces"
        self._receiver = receiver
        self._expected = 0

    def expect(self, spans: int) -> None:
        """Exactly so many have arrived since this was asked last, or will within half a minute."""
        self._expected += spans
        if not self._expected:
            assert not self._receiver.spans(), "there are spans, and none were made"
            return
        deadline = time.monotonic() + _ARRIVAL_SECONDS
        while not (last := self._receiver.spans(since=self._expected - 1)):
            assert time.monotonic() < deadline, "spans are missing"
            time.sleep(0.05)
        assert len(last) == 1, "there are more spans than were made"


@pytest.fixture(scope="session")
def sink(receiver_process: ReceivedSpans) -> Sink:
    """Where the benchmarks export to."""
    return Sink(receiver_process)


@pytest.fixture(scope="session")
def http_url() -> Iterator[str]:
    """An HTTP server in a process of its own: another OTLP receiver, which nobody exports to."""
    with receiver() as answers:
        yield answers.endpoint


@pytest.fixture(scope="session")
def bolt_server() -> Iterator[servers.BoltServer]:
    """A server for the neo4j driver."""
    with servers.bolt() as server:
        yield server


@pytest.fixture
def record() -> Record:
    """Puts what was measured into a row of the table: seconds or bytes, by column."""

    def record(row: str, values: Mapping[str, float]) -> None:
        assert row in table.ROWS
        _results.setdefault(row, {}).update(values)

    return record


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop for drivers that await."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Keep the results, over those of before for the same rows, and print the table."""
    if _results:
        kept = json.loads(table.RESULTS.read_text()) if table.RESULTS.exists() else {}
        table.RESULTS.write_text(json.dumps({**kept, **_results}, indent=1) + "\n")
        terminalreporter.section("results")
        terminalreporter.write_line(table.markdown(_results))
