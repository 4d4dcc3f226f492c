"""A trace of 50,000 spans in a browser, from a collector as it is run: when it can be used, and how much is sent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.collector.heavy.test_heavy_reads import post, workers_of
from tests.collector.running import running
from tests.collector.web.sample_traces import large, loops
from tests.collector.web.trace_site import LARGE, SHOP
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from tests.collector.web.browser import OpenPage

_SPANS = 50_000
_BYTES = 1_000_000
_READING = 1500
"""Milliseconds for which somebody looks at a page before the click."""

_TIMES = """() => {
    const [page] = performance.getEntriesByType("navigation");
    const usable = page.domContentLoadedEventEnd;
    const loaded = [page, ...performance.getEntriesByType("resource")].filter(each => each.startTime < usable);
    return [usable / 1000, loaded.reduce((sum, each) => sum + each.transferSize, 0)];
}"""
"""Scripts are modules: they have run, and keys and clicks are theirs, when the content counts as loaded."""


def _cpu(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.long
@pytest.mark.parametrize(
    ("made", "trace_id", "rows"),
    [(loops, SHOP, 100), (large, LARGE, 9000)],
    ids=["equal siblings", "tree"],
)
def test_a_trace_of_50_000_spans_can_be_used_in_a_moment(
    made: Callable[[int, str], TracesData], trace_id: str, rows: int, tmp_path: Path, open_page: OpenPage
) -> None:
    """In runs or without any: keys and clicks act long before all is explained, and less than 1 MB was sent for it.

    Whoever clicks has a page of the collector before. All rows and the explanation come later, without a click. The
    seconds that are printed are those of docs/explanation/performance.md.
    """
    with running(tmp_path / "traces", "--retention", "3650d") as collector:
        post(collector, made(_SPANS, trace_id))
        page = open_page(collector.pages)
        wait_until(lambda: workers_of(collector))
        page.wait_for_timeout(_READING)
        page.goto(f"{collector.pages}/trace/{trace_id}")
        seconds, sent = page.evaluate(_TIMES)
        spans = page.locator("dt:text-is('Spans') + dd").inner_text()
        page.keyboard.press("j")
        current = page.locator(".row.current").count()
        page.wait_for_selector("#why:not(.later)", timeout=60_000)
        whole = page.evaluate("performance.now() / 1000")
        found = page.evaluate("JSON.parse(document.getElementById('spans').textContent).length")
        server = sum(map(_cpu, workers_of(collector)))
        print(f"{seconds:.2f} s, {sent / 1000:.0f} kB; explained after {whole:.2f} s; CPU {server:.2f} s")
        page.close()
    assert (spans, current) == ("50\u202f000", 1)
    assert found >= rows
    assert sent < _BYTES
    assert seconds < whole / 2
