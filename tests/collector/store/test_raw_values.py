"""What is told from the bytes of spans about the values of a key is never wrong about a span that has a wanted one."""

from __future__ import annotations

from functools import partial
from operator import eq
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_otel.collector.attributes import plain, text
from causal_otel.collector.expressions import Compare
from causal_otel.collector.query import Query
from causal_otel.collector.store import chunks
from causal_otel.collector.store.raw_values import RawValues
from causal_otel.collector.store.reader import Reader
from tests.collector.spans import any_value, event, span, trace_id, traces
from tests.collector.store.stores import EVER, write

KEYS = ("key", "", "a", "aa", "a.a", "http.response.status_code", "a\nb", "\x03aa", "ü", "." * 46, "x" * 119, "x" * 300)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
) | st.integers(110, 140).map("y".__mul__)  # around the length that takes a second byte


def _attribute(key: bytes, value: bytes) -> bytes:
    """An attribute of a span whose serialized key and value, with their fields, are these."""
    return b"\x4a" + bytes((len(key) + len(value),)) + key + value


@settings(deadline=None, max_examples=300)
@given(
    key=st.sampled_from(KEYS),
    others=st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), VALUES, max_size=4),
    value=VALUES,
    on_event=st.booleans(),
)
def test_a_wanted_value_is_never_missed(key: str, others: dict[str, Any], value: Any, on_event: bool) -> None:
    """Whatever the key and the value are, what stands beside them, and whether an event has them."""
    tags = {**others, key: value}
    having = span(events=[event("happened", tags)]) if on_event else span(tags=tags)
    content = chunks.spans_field(each.SerializeToString() for each in (span(tags=others), having))
    assert RawValues(key, partial(eq, text(plain(any_value(value))))).may_be_in(content)


@pytest.mark.parametrize("value", [200, 1.5, "text", b"bytes", True, None, [1, "a"]])
def test_other_values_of_the_key_are_told_apart(value: Any) -> None:
    """A span with another value, with the key as a part of another, or without it has none that is wanted."""
    tags = {"key": value, "another key": "wanted", "keys": "wanted"}
    made = [span(tags=tags), span(events=[event("happened", tags)]), span()]
    content = chunks.spans_field(each.SerializeToString() for each in made)
    assert not RawValues("key", "wanted".__eq__).may_be_in(content)
    assert RawValues("keys", "wanted".__eq__).may_be_in(content)


@pytest.mark.parametrize(
    "raw",
    [
        _attribute(b"", b"\x12\x03\x0a\x01w\x0a\x03key"),
        _attribute(b"\x0a\x83\x00key", b"\x12\x03\x0a\x01w"),
        _attribute(b"\x8a\x00\x03key", b"\x12\x03\x0a\x01w"),
        _attribute(b"\x0a\x03key", b"\x12\x83\x00\x0a\x01w"),
        _attribute(b"\x0a\x03key", b"\x12\x03\x0a\x01v\x12\x03\x0a\x01w"),
        b"\x4a\x8a\x00\x0a\x03key\x12\x03\x0a\x01w",
    ],
    ids=["value first", "padded key", "padded tag", "padded value", "two values", "padded attribute"],
)
def test_what_is_serialized_in_an_unusual_way_is_not_passed_over(raw: bytes) -> None:
    """Protobuf allows it, so the span has the value."""
    made = span()
    made.MergeFromString(raw)
    assert [(pair.key, text(plain(pair.value))) for pair in made.attributes] == [("key", "w")]
    assert RawValues("key", "w".__eq__).may_be_in(chunks.spans_field([span().SerializeToString() + raw]))


@pytest.mark.parametrize("service", [None, "shop"])
def test_a_comparison_makes_messages_of_those_traces_only_that_satisfy_it(
    service: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others, which have the key as well, are told apart by their bytes."""
    key = "http.response.status_code"
    write(tmp_path, [traces(*(span(trace=each, tags={key: 500 if each == 7 else 200}) for each in range(1, 50)))])
    made: list[object] = []
    joined = chunks.joined

    def counting(*arguments: Any) -> Any:
        made.append(arguments)
        return joined(*arguments)

    monkeypatch.setattr(chunks, "joined", counting)
    with Reader(tmp_path) as reader:
        for query in (
            Query(*EVER, service=service, where=Compare(key, ">=", "500")),
            Query(*EVER, service=service, where=Compare(key, "!=", "200")),
        ):
            assert reader.search(query).trace_ids == (trace_id(7),)
            assert len(made) == 1
            made.clear()
