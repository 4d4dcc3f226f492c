"""The traces of ``causal-otel demo``, its API, worker, databases and all, on their way to a true Jaeger."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from causal_otel.cli.demo import collector, scenario, stage, starting
from causal_otel.testing.process import LOOPBACK
from tests.interop.arrived import fetched, same
from tests.interop.running import Jaeger, jaeger
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("jaeger")


def test_jaeger_has_what_the_demo_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of its traces are in Jaeger as in our collector, which sends on what it gets: every span, link and event."""
    with jaeger(tmp_path / "badger") as found:

        def forwarding(work: Path, environment: Mapping[str, str]) -> AbstractContextManager[collector.Collector]:
            forward = {"CAUSAL_OTEL_COLLECTOR_FORWARD": f"http://{LOOPBACK}:{found.http_port}"}
            return collector.collector(work, {**environment, **forward})

        monkeypatch.setattr(starting, "collector", forwarding)
        with stage.stage(Console(quiet=True), None) as running:
            shown = scenario.play(running)
            services = set()
            for each in shown:
                arrived, kept = _both(found, running.collector.url, each.trace.trace_id, len(each.trace.spans))
                same(arrived, kept, model=True)
                services |= {span["service"] for span in kept}
        assert len(shown) == 2
        assert services == {"demo-api", "demo-worker", "demo-scoring"}


def _both(found: Jaeger, ours: str, trace_id: str, least: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What Jaeger has of a trace, and what ours has, when that is as much: spans may come late."""
    arrived: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []

    def as_many() -> bool:
        kept[:], arrived[:] = fetched(ours, trace_id), fetched(found.query, trace_id)
        return len(arrived) == len(kept) >= least

    wait_until(as_many, lambda: f"{len(arrived)} of {len(kept)} spans, of at least {least}")
    return arrived, kept
