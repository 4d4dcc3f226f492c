"""What every test may use: real servers and an OTLP receiver, each started when a test first asks for it."""

from __future__ import annotations

import pytest

from tests.services.fixtures import neo4j_server, postgres_url, receiver, receiver_process, redis_url

__all__ = ["neo4j_server", "postgres_url", "receiver", "receiver_process", "redis_url"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that Neo4j was skipped, and why, however quiet the run is."""
    reasons = {
        report.longrepr[2]
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple) and "against Neo4j itself" in report.longrepr[2]
    }
    for reason in sorted(reasons):
        terminalreporter.write_line(reason, yellow=True, bold=True)
