"""The language of searches: what is read, what it means for a span's values, and what is refused with a sentence."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from causal_otel.collector.conditions import Condition, Conditions, holds, is_like, operation, parse, parse_one, quoted
from causal_otel.collector.matching import matching_span
from causal_otel.collector.query import Query
from tests.collector.spans import MILLISECOND, event, span, traces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("  ", ()),
        ("user.id=42", (("user.id", "42"),)),
        ("a=1  b=2\n c=3", (("a", "1"), ("b", "2"), ("c", "3"))),
        ('http.route="GET /orders"', (("http.route", "GET /orders"),)),
        (r'note="a \"quoted\" back\\slash"', (("note", r'a "quoted" back\slash'),)),
        ('"a key"=1', (("a key", "1"),)),
        ('in=1 "a*"=1 "and"=', (("in", "1"), ("a*", "1"), ("and", ""))),
        ("a:b=1 a-b/c.d@e=1", (("a:b", "1"), ("a-b/c.d@e", "1"))),
        ("a=1,", (("a", "1,"),)),
        ("a=1,b='x'", (("a", "1,b='x'"),)),
        ("a=\"'x'\"", (("a", "'x'"),)),
        ('"a>key"=">=1 *"', (("a>key", ">=1 *"),)),
        ("url=/a?b=c&d=e", (("url", "/a?b=c&d=e"),)),
        ("note=a>b!=c", (("note", "a>b!=c"),)),
        ("error", (("error", "true"),)),
        ("empty= other=x", (("empty", ""), ("other", "x"))),
        ('empty=""', (("empty", ""),)),
        ("größe=ü☃", (("größe", "ü☃"),)),
        ("twice=1 twice=2", (("twice", "1"), ("twice", "2"))),
        ("duration=5", (("duration", "5"),)),
    ],
)
def test_exact_values_are_tags(text: str, expected: tuple[tuple[str, str], ...]) -> None:
    """They are key=value pairs, quoted where they need it; an error alone is true."""
    assert parse(text) == Conditions(tags=expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a!=1", Condition("a", "!=", "1")),
        ("a>1", Condition("a", ">", "1")),
        ("a >= 1.5", Condition("a", ">=", "1.5")),
        ("a<20ms", Condition("a", "<", "20ms")),
        ("a<=-1e3", Condition("a", "<=", "-1e3")),
        ("a~^x.*y$", Condition("a", "~", "^x.*y$")),
        ('a ~ "x y"', Condition("a", "~", "x y")),
        ("a=x*", Condition("a", "=", "x*", wild=True)),
        ("a!=*x", Condition("a", "!=", "*x", wild=True)),
        ('a!="*x"', Condition("a", "!=", "*x")),
        ("a=1.50", Condition("a", "=", "1.50")),
        ("a", Condition("a", "has")),
        ("!a", Condition("a", "lacks")),
        ('!"a b"', Condition("a b", "lacks")),
        ('"a:500"', Condition("a:500", "has")),
        ('!"NOT"', Condition("NOT", "lacks")),
        ('"duration">1', Condition("duration", ">", "1")),
    ],
)
def test_operators_are_conditions(text: str, expected: Condition) -> None:
    """With spaces around them or not, but for the equals sign."""
    assert parse(f"x=1 {text} y=2") == Conditions((("x", "1"), ("y", "2")), (expected,))


@pytest.mark.parametrize(
    ("text", "shortest", "longest"),
    [
        ("duration>1us", 1001, None),
        ("duration>=1us", 1000, None),
        ("duration<1us", None, 999),
        ("duration<=1us", None, 1000),
        ("duration=1us", 1000, 1000),
        ("duration>1us duration>2us duration<1ms duration<2ms", 2001, 10**6 - 1),
    ],
)
def test_duration_with_a_unit_is_the_spans_own(text: str, shortest: int | None, longest: int | None) -> None:
    """To the nanosecond; of several bounds the narrowest."""
    assert parse(text) == Conditions(shortest=shortest, longest=longest)


@pytest.mark.parametrize(
    "text", ['a="open', "=1", 'a=b"c', '"a"b=1', 'a="1"2', '"', "a=1 =2", "x" * 5000, "(a=1)", "a = 1"]
)
def test_what_are_no_tags_is_refused(text: str) -> None:
    """What cannot be read raises an error that says how to write it."""
    with pytest.raises(ValueError, match="tags"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a==1", "write ="),
        ("a=~b", "write ~"),
        ("a!~b", "with ~"),
        ("a<>1", "write !="),
        ("a!1", "! is none of = != > >= < <= ~"),
        ("a=!1", 'key="=value"'),
        ("!a=1", "write a!=value"),
        ("a>", "nothing follows"),
        ("a>x", "compares numbers"),
        ("a>1 5", "5 is no key"),
        ("a~(b", "no )"),
        ("a!=*", "write !a"),
        ("a=1 AND b=2", "leave AND out"),
        ("a=1 and b=2", "leave and out"),
        ("a=1 & b=2", "leave & out"),
        ("a=1, b=2", "leave , out; or quote the value"),
        ("a>1 ; b<2", "leave ; out"),
        ("a=1 ,b=2", "because of ,"),
        ("a=1 OR a=2", "OR is not supported: for values of one key write key~one|other"),
        ("a in (1, 2)", "in is not supported: for values of one key write key~one|other"),
        ("NOT a", "!key"),
        ("not a", "!key"),
        ("a LIKE GET%", "write key=GET* or key~expression"),
        ("a contains GET", "write key=GET* or key~expression"),
        ("a is null", "write key or !key"),
        ("a:500", 'a:500: write a=500, or "a:500" for a key of that name'),
        ("!a:500", "write a=500"),
        ("a^=x", "because of ^"),
        ("a*=x", "because of *"),
        ("*", "because of *"),
        ("a\u2265500", "because of \u2265"),
        ("{a=1}", "because of {"),
        ("a='x y'", "quotes are double"),
        ("a~'x", "quotes are double"),
        ("duration>5", "a unit"),
        ("duration~5ms", "a unit"),
        ("duration!=5ms", "a unit"),
    ],
)
def test_what_is_not_supported_is_refused(text: str, reason: str) -> None:
    """With a sentence that says what to write, instead of finding nothing."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse(text)


def test_a_condition_by_itself_has_no_need_of_quotes() -> None:
    """A value on the command line goes to its end, unless it is quoted."""
    assert parse_one("http.route=GET /orders").tags == (("http.route", "GET /orders"),)
    assert parse_one('http.route="GET *"').tags == (("http.route", "GET *"),)
    assert parse_one("a != b c").conditions == (Condition("a", "!=", "b c"),)
    assert parse_one("!a").conditions == (Condition("a", "lacks"),)
    for text in ("", "a b", 'a="b" c'):
        with pytest.raises(ValueError, match="write key=value"):
            parse_one(text)


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
        ("a", [["x"], ["true"], [""], ["false", "x"]], [["false"], []]),
        ("!a", [["false"], []], [["x"], ["false", "x"]]),
        ("a=*", [["x"], [""], ["false"]], [[]]),
    ],
)
def test_conditions_mean_what_they_say(condition: str, holding: list[list[str]], others: list[list[str]]) -> None:
    """For all the values that a span has by the key: its own, its events' and its resource's."""
    (read,) = parse(condition).conditions
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


def test_a_name_in_quotes_is_meant_exactly() -> None:
    """An empty one is none asked for; a quote that is not closed is refused."""
    assert operation("  ") == (None, None)
    assert operation(" GET * ") == (None, "GET *")
    assert operation('"GET *" ') == ("GET *", None)
    with pytest.raises(ValueError, match="in quotes"):
        operation('"GET')


@given(st.text(min_size=1), st.text())
@example("a", "\\")
@example("a", "1.0")
def test_what_is_quoted_comes_back(key: str, value: str) -> None:
    """Whatever is in a key or a value."""
    read = parse(f"{quoted(key)}={quoted(value)}")
    assert read in (Conditions(tags=((key, value),)), Conditions(conditions=(Condition(key, "=", value),)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http.response.status_code>=500", "failed"),
        ("http.response.status_code!=200", "failed"),
        ("http.response.status_code=2*", "fine"),
        ("http.response.status_code", "fine"),
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
        span("fine", tags={"http.response.status_code": 200, "user": "42"}, start=5, duration=20 * MILLISECOND),
        span("plain", start=4, duration=MILLISECOND),
        resource={"host": "h"},
    )
    read = parse(text)
    found = matching_span(
        trace, Query(0, 10, tags=read.tags, conditions=read.conditions, shortest=read.shortest, longest=read.longest)
    )
    assert (found.name if found else None) == expected
