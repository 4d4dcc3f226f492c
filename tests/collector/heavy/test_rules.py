"""Which requests are heavy."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from causal_otel.collector.heavy.rules import HEAVY_SPANS, key_of, traces_of

A, B = "1a" * 16, "2b" * 16


def key(address: str, spans: int) -> str:
    """The key of a request to an address, if its traces have so many spans."""
    split = urlsplit(address)
    return key_of(split.path, dict(parse_qsl(split.query)), lambda: spans)


@pytest.mark.parametrize(
    "address",
    [
        f"/trace/{A}",
        f"/trace/{A}?span=1",
        f"/trace/{A}.json",
        f"/trace/{A}/span/{'1' * 16}",
        f"/trace/{A}/find?text=x",
        f"/api/traces/{A}",
        f"/api/v3/traces/{A}",
        f"/compare?a={A}&b={B}",
    ],
)
def test_large_traces_are_heavy(address: str) -> None:
    """Whatever shows a trace is, if it has many spans, and has that trace as what a worker may know already."""
    assert key(address, HEAVY_SPANS) == A
    assert key(address, HEAVY_SPANS - 1) == ""
    split = urlsplit(address)
    assert traces_of(split.path, dict(parse_qsl(split.query)))[0] == bytes.fromhex(A)


@pytest.mark.parametrize(
    ("address", "heavy"),
    [
        ("/", False),
        ("/?lookback=24h", False),
        ("/?lookback=30d", True),
        ("/?lookback=30d&service=shop", False),
        ("/search.json?start=2026-01-01", True),
        ("/search.json?start=2026-01-01T10:00&end=2026-01-01T11:00", False),
        ("/?start=nonsense&lookback=30d", False),
        ("/operations?lookback=30d", True),
        ("/operations", False),
        ("/map?lookback=7d", True),
        ("/map?lookback=2d", False),
        ("/map?lookback=100h&focus=shop", True),
        ("/map.json?lookback=30d", True),
        ("/map.json?start=2026-01-01&end=2026-01-02", False),
        ("/map?lookback=soon", False),
        ("/errors", False),
        ("/errors?lookback=30d&service=shop", True),
        ("/error?type=ValueError&lookback=7d", True),
        ("/error?type=ValueError&lookback=2d", False),
        ("/runtime?lookback=30d", True),
        ("/runtime?lookback=24h", False),
        ("/operations.json?lookback=30d", True),
        ("/errors.json?lookback=1h", False),
        ("/errors.json?start=2026-01-01&end=2026-01-09", True),
        ("/service?service=shop&lookback=2d", False),
        ("/service?service=shop", True),  # it shows a week
        ("/service?service=shop&start=2026-01-01&end=2026-01-02", False),
        ("/service?service=shop&start=nonsense", False),
        ("/operation?service=shop&operation=GET", False),  # of one operation a week is not much
        ("/operation?service=shop&operation=GET&lookback=30d", True),
        ("/operation?service=shop&operation=GET&start=2026-01-01&end=2026-01-11", True),
        ("/compare", False),
        ("/compare?groups=1", False),
        ("/compare?a.service=shop&b.service=shop", True),
        ("/compare?a=%2F%3Fservice%3Dshop&b=service%3Dshop", True),
        ("/different?service=shop&box.start=2026-01-01T10:00", True),
        ("/live", False),
        ("/status", False),
        (f"/trace/{'x' * 32}", False),
        ("/static/base.css", False),
    ],
)
def test_long_times_are_heavy(address: str, heavy: bool) -> None:
    """Searches through days of all services, figures of many days, and groups of traces."""
    assert bool(key(address, 0)) is heavy
