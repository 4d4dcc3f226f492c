"""What conditions mean: for the values that a span has, and for a span as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from causal_otel.collector.conditions import holds, is_like
from causal_otel.collector.expressions import Compare
from causal_otel.collector.matching import matching_span
from causal_otel.collector.query import Query
from causal_otel.collector.query_line import parse
from tests.collector.spans import MILLISECOND, event, span, traces


@pytest.mark.parametrize(
    ("condition", "holding", "others"),
    [
        ("a=1.50", [["1.5"], ["x", "1.50"], ["15e-1"]], [["1.51"], ["x"], []]),
        ("a=GET*", [["GET"], ["GET /"], ["x", "GET"]], [["get"], ["a GET"], []]),
        ("a=*a*b", [["ab"], ["xaxbxb"]], [["ba"], ["abc"]]),
        ("a=x*x", [["xx"], ["xyx"]], [["x"]]),
        ("a!=200", [["404"], ["true"], [""]], [["200"], ["404", "200"], []]),
        ("a!=x*", [["y"]], [["xy"], []]),
        ("a>500", [["501"], ["500.5"], ["1e3"], ["x", "501"]], [["500"], ["-501"], ["x"], ["true"], ["NaN"], []]),
        ("a>=9007199254740993", [["9007199254740993"]], [["9007199254740992"]]),
        ("a<1", [["0"], ["-3"], [".5"]], [["1"], ["9" * 50], [""]]),
        ("a<=20ms", [["0.02"], ["20ms"], ["3us"]], [["0.021"], ["20"], ["21ms"]]),
        ("a<=20", [["20"]], [["20ms"]]),
        ("a~time.?out", [["TIMEOUT"], ["a time out"]], [["tim eout"], []]),
        ("a=*", [["x"], [""], ["false"]], [[]]),
    ],
)
def test_conditions_mean_what_they_say(condition: str, holding: list[list[str]], others: list[list[str]]) -> None:
    """For all the values that a span has by the key: its own, its events' and its resource's."""
    read = parse(condition).where
    assert isinstance(read, Compare)
    assert [texts for texts in holding + others if holds(read, texts)] == holding


@pytest.mark.parametrize(
    ("like", "name", "expected"),
    [
        ("select", "SELECT orders", True),
        ("ORDERS", "SELECT orders", True),
        ("SELECT*", "select orders", True),
        ("*orders", "SELECT orders", True),
        ("select*users", "SELECT orders", False),
        ("orders*", "SELECT orders", False),
        ("*", "", True),
        ("STRASSE", "Straße", True),
    ],
)
def test_a_name_is_found_by_a_part_of_it(like: str, name: str, expected: bool) -> None:
    """In capitals or not; with a star it is about the whole name."""
    assert is_like(like, name) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http.response.status_code>=500", "failed"),
        ("http.response.status_code!=200", "failed"),
        ("http.response.status_code=2*", "fine"),
        ("http.response.status_code", "fine"),
        ("http.response.status_code>=500 OR user=42", "fine"),
        ("user=42 OR error", "fine"),
        ("!(user=42 OR error)", "plain"),
        ("-user=42", "plain"),
        ("user!=42", None),
        ("NOT (in.event>3)", "fine"),
        ("flag", None),
        ("!flag", "fine"),
        ("name=fa*", "failed"),
        ("name=FAILED", None),
        ("operation~^(plain|fine)$ duration!=20ms", "plain"),
        ("service=shop status=error", "failed"),
        ("service!=shop", None),
        ("status=unset (user OR in.event)", "fine"),
        ("status=ok", None),
        ("kind=internal error", "failed"),
        ("kind!=internal", None),
        ('system=""', "fine"),
        ('system!=""', None),
        ("duration<=1ms", "plain"),
        ("duration=10ms", "failed"),
        ("!http.response.status_code", "plain"),
        ("in.event>3", "failed"),
        ("host=h* !user", "plain"),
        ("host!=h", None),
        ("duration>15ms", "fine"),
        ("!error duration<15ms", "plain"),
        ("error", "failed"),
        ("user>40 http.response.status_code<300", "fine"),
        ("user>40 http.response.status_code>300", None),
    ],
)
def test_all_conditions_hold_for_one_span(text: str, expected: str | None) -> None:
    """The span that starts last of those that satisfy them all is the one that is found."""
    more: dict[str, Any] = {"start": 3, "duration": 10 * MILLISECOND}
    trace = traces(
        span(
            "failed", error=True, tags={"http.response.status_code": 503}, events=[event("x", {"in.event": 4})], **more
        ),
        span(
            "fine",
            tags={"http.response.status_code": 200, "user": "42", "flag": False},
            start=5,
            duration=20 * MILLISECOND,
        ),
        span("plain", start=4, duration=MILLISECOND),
        resource={"host": "h"},
    )
    found = matching_span(trace, Query(0, 10, where=parse(text).where))
    assert (found.name if found else None) == expected
