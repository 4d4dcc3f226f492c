"""Traces, and agents that are connected to a server over each transport."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.running import Running, running
from tests.mcp.agents import TOKEN, Agent, over_http, over_stdio
from tests.mcp.traces import kept


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all traces."""
    return kept(tmp_path_factory.mktemp("mcp") / "traces")


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A collector with all traces that asks for a token."""
    directory = kept(tmp_path_factory.mktemp("mcp") / "traces")
    with running(directory, "--retention", "3650d", environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": TOKEN}) as found:
        yield found


@pytest.fixture(scope="session")
def over_stdin(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent over stdio, whose server has written nothing to stderr in the end."""
    log = tmp_path_factory.mktemp("mcp") / "log"
    with over_stdio("--data-dir", str(directory), log=log) as found:
        yield found
    assert log.read_text() == ""


@pytest.fixture(scope="session")
def over_network(collector: Running) -> Iterator[Agent]:
    """An agent over HTTP, with the token."""
    with over_http(collector.pages, {"authorization": f"Bearer {TOKEN}"}) as found:
        yield found


@pytest.fixture(params=["over_stdin", "over_network"])
def agent(request: pytest.FixtureRequest) -> Agent:
    """Each of the two."""
    found: Agent = request.getfixturevalue(request.param)
    return found
