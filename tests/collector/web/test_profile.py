"""The flame graph of a span's profile, in the span's details."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from causal_otel.causality.folded import folded
from causal_otel.collector.web.profile_view import profile_view
from causal_otel.names import CAUSAL_PROFILE, CAUSAL_PROFILE_PERIOD, CAUSAL_PROFILE_SAMPLES
from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_traces import ATTACK, Builder
from tests.collector.web.trace_site import application

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

_TRACE = "9f" * 16
_SEEN = {
    "shop/api.py:31 orders();shop/prices.py:12 total();decimal.py:3 quantize()": 12,
    "shop/api.py:31 orders();shop/prices.py:12 total()": 6,
    "shop/api.py:33 orders();json/encoder.py:200 JSONEncoder.encode()": 2,
}


def _attributes(seen: dict[str, int], **more: Any) -> dict[str, Any]:
    told = {CAUSAL_PROFILE: folded(seen, 8000), CAUSAL_PROFILE_SAMPLES: sum(seen.values()), CAUSAL_PROFILE_PERIOD: 0.05}
    return {**told, **more}


def _profiled(attributes: dict[str, Any]) -> Starlette:
    """The pages over a trace whose second span has these attributes."""
    b = Builder(_TRACE)
    b.add("shop", "GET /orders", None, 0, 1200, "server")
    b.add("shop", "price", 1, 100, 1000, **{key.replace(".", "__"): value for key, value in attributes.items()})
    return application(MemoryReader([b.message]))


def _page(attributes: dict[str, Any]) -> str:
    return TestClient(_profiled(attributes)).get(f"/trace/{_TRACE}?span={Builder.id(2)}").text


def test_frames_are_as_wide_as_their_share() -> None:
    """Frames lie below those that called them, the widest first, and are as wide as their share of the samples."""
    view = profile_view(_attributes(_SEEN))
    assert view is not None
    assert view.says == "20 samples, about 1 s"
    assert [(frame.row, frame.x, frame.width, frame.name.rpartition(" ")[2]) for frame in view.frames] == [
        (0, 0.0, 90.0, "orders()"),
        (0, 90.0, 10.0, "orders()"),
        (1, 0.0, 90.0, "total()"),
        (1, 90.0, 10.0, "JSONEncoder.encode()"),
        (2, 0.0, 60.0, "quantize()"),
    ]
    assert [(line.name, line.share, line.says) for line in view.hot] == [
        ("decimal.py:3 quantize()", 0.6, "12 samples, about 600 ms"),
        ("shop/prices.py:12 total()", 0.3, "6 samples, about 300 ms"),
        ("json/encoder.py:200 JSONEncoder.encode()", 0.1, "2 samples, about 100 ms"),
    ]
    assert (view.rows, view.left_out) == (3, 0)


@pytest.mark.parametrize("text", ["", "nothing", "f() 0", 7, None, ["f() 1"]])
def test_what_is_no_profile_is_not_shown(text: Any) -> None:
    """Something else under that name is an attribute like others."""
    assert profile_view({CAUSAL_PROFILE: text}) is None


@pytest.mark.parametrize("period", [float("nan"), float("inf"), -1.0, "0.05", 1e9, None])
def test_a_period_that_cannot_be(period: Any) -> None:
    """Without a period that makes sense, samples are counted and no time is told."""
    view = profile_view(_attributes(_SEEN, **{CAUSAL_PROFILE_PERIOD: period}))
    assert view is not None
    assert view.says == "20 samples"


def test_what_does_not_fit_is_counted() -> None:
    """Samples that the attribute has no room for, and frames that the graph has none for, are told as numbers."""
    seen = {";".join(f"m{number}_{row}.py:1 f()" for row in range(100)): 1 for number in range(300)}
    view = profile_view({CAUSAL_PROFILE: folded(seen, 90_000), CAUSAL_PROFILE_SAMPLES: 1000})
    assert view is not None
    assert view.says.startswith("1000 samples; ")
    assert len(view.frames) <= 400
    assert view.rows <= 64
    assert view.left_out > 1000


def test_the_details_have_it() -> None:
    """The graph is in the details of the span that has a profile, with the lines that ran most as a list."""
    text = _page(_attributes(_SEEN))
    assert text.count('class="flame profile"') == 1
    assert "<title>shop/prices.py:12 total(): 18 samples, about 900 ms</title>" in text
    assert "<code>decimal.py:3 quantize()</code> 60 %" in text


def test_names_are_only_text() -> None:
    """Whatever somebody calls a frame is shown as text."""
    text = _page(_attributes({f"{ATTACK.replace(';', ',')} f()": 5}))
    assert 'class="flame profile"' in text
    assert "<img src=x" not in text
    assert "<script>window" not in text


@pytest.mark.long
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 480)])
def test_in_a_browser(serve: Callable[[ASGIApp], str], open_page: OpenPage, theme: Any, width: int) -> None:
    """The details that a click opens draw the graph: each frame below the one that called it, as wide as told."""
    page = open_page(f"{serve(_profiled(_attributes(_SEEN)))}/trace/{_TRACE}", theme=theme, width=width)
    page.click(f"#s-{Builder.id(2)} .op")
    graph = page.locator("svg.flame.profile")
    graph.wait_for()
    whole = graph.bounding_box()
    boxes = [bar.bounding_box() for bar in graph.locator("rect.bar").all()]
    assert whole is not None
    assert [round(box["width"] / whole["width"], 2) for box in boxes if box is not None] == [0.9, 0.1, 0.9, 0.1, 0.6]
    tops = [box["y"] - whole["y"] for box in boxes if box is not None]
    assert tops == pytest.approx([0, 0, 20, 20, 40], abs=1)
    assert page.locator(".hot li").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    screenshot(page, f"profile-{theme}")
