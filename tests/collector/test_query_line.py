"""The language of searches: what is read, and what is refused with a place and a sentence."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from causal_otel.collector.expressions import (
    ERROR,
    And,
    Compare,
    Expression,
    Field,
    Has,
    Not,
    Or,
    normalised,
    quoted,
    tags,
    written,
)
from causal_otel.collector.query_line import Line, Mistake, merged, operation, parse

A, B, C = Has("a"), Has("b"), Has("c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
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
        ("a=f(x)", (("a", "f(x)"),)),
        ("empty= other=x", (("empty", ""), ("other", "x"))),
        ('empty=""', (("empty", ""),)),
        ("größe=ü☃", (("größe", "ü☃"),)),
        ("twice=1 twice=2", (("twice", "1"), ("twice", "2"))),
        ('"duration"=5 "service"=x "error"=false', (("duration", "5"), ("service", "x"), ("error", "false"))),
    ],
)
def test_exact_values_are_tags(text: str, expected: tuple[tuple[str, str], ...]) -> None:
    """They are key=value pairs, quoted where they need it."""
    assert parse(text) == Line(tags(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a!=1", Compare("a", "!=", "1")),
        ("a>1", Compare("a", ">", "1")),
        ("a >= 1.5", Compare("a", ">=", "1.5")),
        ("a<20ms", Compare("a", "<", "20ms")),
        ("a<=-1e3", Compare("a", "<=", "-1e3")),
        ("a~^x.*y$", Compare("a", "~", "^x.*y$")),
        ("a~^(x|y)$", Compare("a", "~", "^(x|y)$")),
        ('a ~ "x y"', Compare("a", "~", "x y")),
        ("a=x*", Compare("a", "=", "x*", wild=True)),
        ('a="x y"*', Compare("a", "=", "x y*", wild=True)),
        ('a=*" x "*', Compare("a", "=", "* x *", wild=True)),
        ('a=*"x"*"y"', Compare("a", "=", "*x*y", wild=True)),
        ("a!=*x", Compare("a", "!=", "*x", wild=True)),
        ('a!="*x"', Compare("a", "!=", "*x")),
        ("a=1.50", Compare("a", "=", "1.50")),
        ("a=*", Compare("a", "~", "")),
        ("a", A),
        ("!a", Not(A)),
        ("-a", Not(A)),
        ("NOT a", Not(A)),
        ("not not a", Not(Not(A))),
        ("!a=1", Not(Compare("a", "=", "1"))),
        ("-user.id=7", Not(Compare("user.id", "=", "7"))),
        ('!"a b"', Not(Has("a b"))),
        ('"a:500"', Has("a:500")),
        ('!"NOT"', Not(Has("NOT"))),
        ("error", ERROR),
        ("error=true", ERROR),
        ("!error", Not(ERROR)),
        ("error=false", Not(ERROR)),
        ("error!=true", Not(ERROR)),
        ("error~time", Compare("error", "~", "time")),
        ('"error"', Has("error")),
        ("service=shop", Field("service", "=", "shop")),
        ("service!=s*", Field("service", "!=", "s*", wild=True)),
        ("service.name=shop", Compare("service.name", "=", "shop")),
        ("operation~get", Field("operation", "~", "get")),
        ('name="GET /"', Field("operation", "=", "GET /")),
        ("kind=server", Field("kind", "=", "server")),
        ('system=""', Field("system", "=", "")),
        ("status!=ok", Field("status", "!=", "ok")),
        ("duration > 1.5s", Field("duration", ">", "1.5s")),
        ("duration!=1ms", Field("duration", "!=", "1ms")),
        ('"duration">1', Compare("duration", ">", "1")),
    ],
)
def test_operators_are_conditions(text: str, expected: Expression) -> None:
    """With spaces around them or not, but for the equals sign; of tags, and of the fields of a span."""
    assert parse(f"x=1 {text} y=2").where == And((Compare("x", "=", "1"), expected, Compare("y", "=", "2")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("  ", None),
        ("a b", And((A, B))),
        ("a AND b and c", And((A, B, C))),
        ("a OR b", Or((A, B))),
        ("a or b Or c", Or((A, B, C))),
        ("a b OR c", Or((And((A, B)), C))),
        ("a OR b c", Or((A, And((B, C))))),
        ("a (b OR c)", And((A, Or((B, C))))),
        ("(a OR b)(c)", And((Or((A, B)), C))),
        ("((a))", A),
        ("!(a b)", Not(And((A, B)))),
        ("NOT (a OR b) c", And((Not(Or((A, B))), C))),
        ("a AND NOT b", And((A, Not(B)))),
        ("a -(b)", And((A, Not(B)))),
        ("( a OR b )", Or((A, B))),
        ("(a=1)", Compare("a", "=", "1")),
        ("(a~(x|y) OR b)", Or((Compare("a", "~", "(x|y)"), B))),
        ("or=1 not=2", And((Compare("or", "=", "1"), Compare("not", "=", "2")))),
    ],
)
def test_conditions_are_joined(text: str, expected: Expression | None) -> None:
    """By nothing or AND, which binds closer, by OR, NOT and parentheses; words in capitals or not."""
    assert parse(text) == Line(expected)


def test_words_of_log_records_are_beside_the_conditions() -> None:
    """Several are about one record; they are of the trace, so they are in no alternative."""
    assert parse('a log:"card declined" b log:Order') == Line(And((A, B)), ("card", "declined", "order"))
    assert parse("log:x") == Line(None, ("x",))
    assert parse('"log:x"').where == Has("log:x")
    assert merged(parse("a log:x"), None, parse("b log:y")) == Line(And((A, B)), ("x", "y"))
    for text in ("a OR log:x", "log:x OR a", "(log:x)", "!log:x", "NOT log:x"):
        with pytest.raises(Mistake, match="cannot stand"):
            parse(text)
    with pytest.raises(Mistake, match="one word or more"):
        parse('log:"?"')


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ('a="open', 3, "no other after it"),
        ("=1", 1, "write key=value"),
        ('a=b"c', 3, "in quotes as a whole"),
        ('a b "a"b=1', 8, "write key=value"),
        ('a="1"2', 6, "after the quote"),
        ('a="1""2"', 6, "in quotes as a whole"),
        ('a="x*y"*', 3, "use ~"),
        ("a=1 =2", 5, "write key=value"),
        ("x" * 5000, 4001, "at most 4000"),
        ("a = 1", 3, "no spaces around ="),
        ("a==1", 2, "write ="),
        ("a=~b", 2, "write ~"),
        ("a!~b", 2, "write !key~expression"),
        ("a<>1", 2, "write !="),
        ("a!1", 2, "! is none of = != > >= < <= ~"),
        ("a=!1", 2, 'key="=value"'),
        ("a>", 2, "nothing follows"),
        ("a>x", 3, "compares numbers"),
        ("a>1 5", 5, "5 is no key"),
        ("a~(b", 3, "no )"),
        ("a!=*", 4, "write !a"),
        ("a=1 & b=2", 5, "leave & out"),
        ("a=1 || b=2", 5, "write OR"),
        ("a=1, b=2", 4, "leave , out; or quote the value"),
        ("a>1 ; b<2", 5, "leave ; out"),
        ("a=1 ,b=2", 5, "because of ,"),
        ("a in (1, 2)", 3, "(key=one OR key=other)"),
        ("a LIKE GET%", 3, "write key=GET* or key~expression"),
        ("a is null", 3, "write key or !key"),
        ("a:500", 1, 'a:500: write a=500, or "a:500" for a key of that name'),
        ("!a:500", 2, "write a=500"),
        ("a^=x", 1, "because of ^"),
        ("a*=x", 1, "because of *"),
        ("*", 1, "because of *"),
        ("a≥500", 1, "because of ≥"),
        ("{a=1}", 1, "because of {"),
        ("a='x y'", 3, "quotes are double"),
        ("a~'x", 3, "quotes are double"),
        ("count(a)>5", 1, "there is no function count("),
        ("a OR", 5, "a condition is missing"),
        ("a OR OR b", 6, "missing before this word"),
        ("AND a", 1, "missing before this word"),
        ("a AND", 6, "a condition is missing"),
        ("NOT", 4, "a condition is missing"),
        ("! a", 1, "directly before"),
        ("a -", 4, "a condition is missing"),
        ("()", 2, "nothing in ( )"),
        ("a (b OR c", 3, "this ( has no ) after it"),
        ("a) b", 2, "this ) has no ( before it"),
        ("(" * 60 + "a" + ")" * 60, 52, "more than 50 deep"),
        ("!" * 60 + "a", 52, "more than 50 deep"),
        ("a " * 101, 201, "at most 100 conditions"),
        ("service", 1, "write service=NAME"),
        ("!kind", 2, "write kind=server"),
        ("kind=odd", 6, "kind is one of unspecified, internal"),
        ("status=bad", 8, "status is one of error, ok, unset"),
        ("service>5", 1, "service is compared with =, != and ~"),
        ("status~err", 1, "status is compared with = and !="),
        ("name~(b", 6, "no )"),
        ("duration>5", 1, "a unit"),
        ("duration=5", 1, "a unit"),
        ("duration~5ms", 1, "a unit"),
    ],
)
def test_what_is_not_supported_is_refused(text: str, column: int, reason: str) -> None:
    """With the place, and a sentence that says what to write, instead of finding nothing."""
    with pytest.raises(Mistake, match=re.escape(reason)) as caught:
        parse(text)
    assert caught.value.column == column
    assert str(caught.value).startswith(f"column {column}: ")


def test_a_name_in_quotes_is_meant_exactly() -> None:
    """An empty one is none asked for; a quote that is not closed is refused."""
    assert operation("  ") == (None, None)
    assert operation(" GET * ") == (None, "GET *")
    assert operation('"GET *" ') == ("GET *", None)
    with pytest.raises(ValueError, match="in quotes"):
        operation('"GET')


TEXTS = st.text(max_size=5) | st.sampled_from(["error", "OR", "service", "log", 'a "b" \\', "1.0", "true", "x y", "-a"])
COMPARED = st.one_of(
    st.builds(Compare, TEXTS, st.sampled_from(["=", "!="]), TEXTS),
    st.builds(Compare, TEXTS, st.sampled_from([">", ">=", "<", "<="]), st.sampled_from(["500", "-1.5e3", "20ms"])),
    st.builds(Compare, TEXTS, st.just("~"), st.sampled_from(["", "a|b", "(x y)*", r"\d+ \)"])),
    st.builds(Compare, TEXTS, st.sampled_from(["=", "!="]), st.sampled_from(["a*", "* b*", '"*'])).map(
        lambda each: Compare(each.key, each.operator, each.value, wild=True)
    ),
)
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    st.one_of(
        COMPARED,
        st.builds(Has, TEXTS),
        st.builds(Field, st.sampled_from(["service", "operation", "system"]), st.sampled_from(["=", "!="]), TEXTS),
        st.sampled_from([Field("kind", "=", "server"), Field("status", "!=", "ok"), Field("duration", ">", "1ms")]),
    ),
    lambda parts: st.one_of(
        parts.map(Not),
        st.lists(parts, min_size=2, max_size=3).map(lambda some: And(tuple(some))),
        st.lists(parts, min_size=2, max_size=3).map(lambda some: Or(tuple(some))),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
@example(Compare("a", "=", "\\"))
@example(Not(Compare("error", "=", "true")))
@example(Compare("error", "=", "false"))
def test_what_is_written_is_read_as_the_same(expression: Expression) -> None:
    """Whatever is in keys and values, and however the parts are nested."""
    assert parse(written(expression)).where == expression


@given(EXPRESSIONS)
def test_the_normal_form_is_the_same(expression: Expression) -> None:
    """It has no part of its own kind in it, and is its own normal form; so is the opposite of the opposite."""
    normal = normalised(expression)
    assert normalised(normal) == normal
    assert normalised(Not(Not(expression))) == normal
    assert normalised(normalised(expression, negated=True), negated=True) == normal


@given(st.text(max_size=20) | st.text('ab=!~<>()" *-ORNTlog:1', max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """With a place in the text, or just behind it; nothing else is raised."""
    assert 1 <= _column(text) <= len(text) + 1


def _column(text: str) -> int:
    """Where a text cannot be read; 1: it can."""
    try:
        parse(text)
    except Mistake as mistake:
        return mistake.column
    return 1


@given(st.text(min_size=1), st.text())
@example("a", "\\")
@example("a", "1.0")
def test_what_is_quoted_comes_back(key: str, value: str) -> None:
    """Whatever is in a key or a value."""
    assert parse(f"{quoted(key)}={quoted(value)}").where == Compare(key, "=", value)
