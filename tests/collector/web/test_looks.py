"""What the trace, compare and map pages look like, in both themes and two widths: nothing sticks out sideways."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import pytest

from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_traces import Builder, shop
from tests.collector.web.trace_site import SHOP, application

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

_OTHER = "0123456789abcdef0123456789abcdef"
_PAGES = {
    "trace": f"/trace/{SHOP}",
    "trace-span": f"/trace/{SHOP}?span={Builder.id(15)}&critical=answer",
    "compare": f"/compare?a={SHOP}&b={_OTHER}",
    "map": "/map?lookback=1h",
    "import": "/import",
}


@pytest.mark.long
@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", _PAGES)
def test_looks(
    open_page: OpenPage,
    serve: Callable[[ASGIApp], str],
    name: str,
    theme: Literal["light", "dark"],
    width: int,
) -> None:
    """Every page fits its window; how it looks is kept for whoever wants to see."""
    now = time.time_ns()
    reader = MemoryReader([shop(start=now), shop(_OTHER, now, slower=1.6)])
    page = open_page(serve(application(reader)) + _PAGES[name], theme=theme, width=width)
    screenshot(page, f"{name}-{theme}-{width}", full=False)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
