"""Regular expressions of a search: what they find, what is refused, and that none takes long."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_otel.collector.patterns import Pattern

_ATOMS = st.sampled_from(
    ["a", "b", "B", "1", "_", ".", r"\.", r"\d", r"\W", "[ab]", "[^a1]", r"[\d_]", "[a-c]", "^", "$"]
)
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda each: f"(?:{'|'.join(each)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?"])).map(lambda each: f"({each[0]}){each[1]}"),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(source=_PATTERNS, texts=st.lists(st.text("abAB1_. c", max_size=8), min_size=1, max_size=8))
def test_what_is_found_is_what_python_finds(source: str, texts: list[str]) -> None:
    """For every expression of the parts that are supported, and in texts that were met before as well."""
    pattern = Pattern(source)
    # Python's $ is also before a line's end at the end of the text.
    expected = re.compile(source.replace("$", r"\Z"), re.IGNORECASE | re.DOTALL)
    for text in [*texts, *texts]:
        assert pattern.found_in(text) == bool(expected.search(text)), (source, text)


@pytest.mark.parametrize(
    ("source", "found", "not_found"),
    [
        ("get|post", "POST /orders", "PUT /orders"),
        ("^/api/v[12]/", "/api/v2/orders", "/x/api/v2/"),
        (r"timeout\.$", "it was a Timeout.", "timeout. really"),
        ("größe", "GRÖSSE GRÖßE", "grosse"),
        ("a.b", "a\nb", "ab"),
        ("[]x]", "]", "["),
        ("[a-]", "-", "b"),
        ("", "", None),
        ("^$", "", " "),
        ("a{|b".replace("{", r"\{"), "a{", "a"),
    ],
)
def test_expressions_mean_what_they_say(source: str, found: str, not_found: str | None) -> None:
    """Anywhere in the text, in capitals or not."""
    assert Pattern(source).found_in(found)
    assert not_found is None or not Pattern(source).found_in(not_found)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("(a", "no )"), ("a)", "no ("), ("[a", "no ]"), ("*a", "nothing before"), ("a|+", "nothing before"),
        ("a**", "repeated twice"), ("a{2}", "not supported"), ("(?=a)", "not supported"), (r"(a)\1", "not supported"),
        (r"\bword", "not supported"), ("a\\", "nothing follows"), ("[b-a]", "a later one"), ("x" * 501, "at most 500"),
        ("(" * 60 + ")" * 60, "nested"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused(source: str, reason: str) -> None:
    """With a sentence, instead of finding nothing."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        Pattern(source)


@pytest.mark.parametrize("source", ["(a+)+$", "(a|a)*b", "(a*)*b", ".*.*.*.*x$", "(.|a)*(a|.)*q"])
def test_steps_grow_with_the_text_only(source: str) -> None:
    """Expressions that take Python's own more steps than there are atoms are done after a step a character."""
    steps = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal steps
        steps += event == "call"

    pattern = Pattern(source)
    sys.setprofile(count)
    try:
        assert not pattern.found_in("a" * 5000 + "!")
    finally:
        sys.setprofile(None)
    assert steps < 5000


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of ever new characters fill no memory, and are searched all the same."""
    monkeypatch.setattr("causal_otel.collector.patterns._MOST_KNOWN", 50)
    pattern = Pattern("[^x]+x")
    assert pattern.found_in("".join(map(chr, range(0x4E00, 0x5200))) + "x")
    assert pattern._known <= 50
