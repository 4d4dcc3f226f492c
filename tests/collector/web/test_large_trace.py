"""A trace of 50,000 spans in a browser, from a collector as it is run: when it can be used, and how much is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.collector.heavy.test_heavy_reads import post
from tests.collector.running import running
from tests.collector.web.sample_traces import large, loops
from tests.collector.web.trace_site import LARGE, SHOP
from tests.slow_machine import assert_below

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from tests.collector.web.browser import OpenPage

_SPANS = 50_000
_SECONDS = 1.5
_BYTES = 1_000_000

_TIMES = """() => {
    const [page] = performance.getEntriesByType("navigation");
    const usable = page.domContentLoadedEventEnd;
    const loaded = [page, ...performance.getEntriesByType("resource")].filter(each => each.startTime < usable);
    return [usable / 1000, loaded.reduce((sum, each) => sum + each.transferSize, 0)];
}"""
"""Scripts are modules: they have run, and keys and clicks are theirs, when the content counts as loaded."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("made", "trace_id", "rows"),
    [(loops, SHOP, 100), (large, LARGE, 9000)],
    ids=["equal siblings", "tree"],
)
def test_a_trace_of_50_000_spans_can_be_used_in_a_moment(
    made: Callable[[int, str], TracesData], trace_id: str, rows: int, tmp_path: Path, open_page: OpenPage
) -> None:
    """In runs or without any: 1.5 s after the click keys and clicks act, and less than 1 MB was sent for it."""
    with running(tmp_path / "traces", "--retention", "3650d") as collector:
        post(collector, made(_SPANS, trace_id))
        page = open_page(f"{collector.pages}/trace/{trace_id}")
        seconds, sent = page.evaluate(_TIMES)
        print(f"{seconds:.2f} s, {sent / 1000:.0f} kB")
        spans = page.locator("dt:text-is('Spans') + dd").inner_text()
        found = page.evaluate("JSON.parse(document.getElementById('spans').textContent).length")
        page.keyboard.press("j")
        current = page.locator(".row.current").count()
        page.close()  # it asks for its explanation, which the end of the collector would cut off
    assert (spans, current) == ("50\u202f000", 1)
    assert found >= rows
    assert sent < _BYTES
    assert_below(_SECONDS, seconds)
