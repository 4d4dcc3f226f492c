"""The page of the runtime over a real application: a blocked loop, a full pool, late queues, a cancelled call."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from rich.console import Console

from causal_otel.cli.demo.slow.causes import CAUSES, PLANTED
from causal_otel.cli.demo.slow.play import plant
from causal_otel.cli.demo.slow.stage import slow_stage
from causal_otel.cli.demo.stage import Stage
from causal_otel.collector.query import Query
from causal_otel.collector.units import parse_duration
from tests.collector.web.browser import OpenPage, screenshot
from tests.collector.web.test_runtime_page import rows
from tests.waiting import wait_until

pytestmark = pytest.mark.long

_CANCELLED = """
import asyncio, sys
import causal_otel, httpx

causal_otel.install()

async def main():
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            async with asyncio.timeout(0.05):
                await client.get(sys.argv[1])
        except TimeoutError:
            print("cancelled")

asyncio.run(main())
"""
"""A program that gives up what takes longer."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """The slow demo."""
    with slow_stage(Console(file=io.StringIO()), loop="asyncio") as running:
        yield running


def test_what_was_planted_is_on_the_page(stage: Stage, open_page: OpenPage) -> None:
    """Each cause in its table, with at least what was planted, and led to the request that suffered."""
    traces = {}
    with httpx.Client(base_url=stage.api_url, timeout=60, trust_env=False) as client:
        for cause in CAUSES:
            if cause.path in ("/sleep", "/pool", "/queue", "/worker", "/forgotten"):
                traces[cause.path] = plant(stage, client, cause).trace.trace_id
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRACING_"))}
    environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": stage.collector.endpoint, "OTEL_SERVICE_NAME": "impatient"}
    given = [sys.executable, "-c", _CANCELLED, f"{stage.api_url}/query"]
    ended = subprocess.run(given, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "cancelled\n", ended.stderr
    query = Query(start=0, end=2**63 - 1, service="impatient")
    wait_until(lambda: stage.collector.traces.search(query).trace_ids, "the span of the cancelled call")
    page = open_page(f"{stage.collector.url}/runtime?lookback=1h")
    screenshot(page, "runtime-planted")
    planted = PLANTED * 1e9
    stalls, lags, pools = rows(page, "stalls"), rows(page, "lag"), rows(page, "pools")
    queues, tasks = rows(page, "queues"), rows(page, "tasks")
    ((_, _, longest),) = [cells for (frame, _), cells in stalls.items() if frame.endswith("sleep()")]
    assert parse_duration(longest) >= 0.8 * planted
    stuck = lags["", "demo-api"][5]
    assert parse_duration(stuck) >= 0.8 * planted
    (full,) = [cells for (pool, _), cells in pools.items() if pool.startswith("postgresql") and cells[0] == "1"]
    assert parse_duration(full[3]) >= 0.8 * planted
    waited = [parse_duration(cells[3]) for (_, service), cells in queues.items() if service == "demo-worker"]
    assert max(waited) >= 0.8 * planted
    held = [cells[4] for (_, service), cells in queues.items() if service == "demo-worker"]
    assert any(parse_duration(each.partition("at most ")[2] or "0s") >= 0.8 * planted for each in held)
    assert int(tasks["send the letter", "demo-api"][1]) >= 1
    assert tasks["GET", "impatient"][0] == "1"
    link = page.locator("#stalls tbody tr", has_text="sleep()").locator('[data-label="Longest"] a')
    assert link.get_attribute("href") == f"/trace/{traces['/sleep']}"
