"""What a store offers to ask for: the services and operations with the most spans, and tags of a sample."""

from __future__ import annotations

from pathlib import Path

from causal_otel.collector.store.reader import Reader
from causal_otel.collector.vocabulary import SeriesCount, TagCounts
from tests.collector.spans import HOUR, NOON, event, span, traces
from tests.collector.store.stores import close, write


def test_the_words_are_those_of_the_spans(tmp_path: Path) -> None:
    """Of a small store all, in the order in which a count of all spans has them; open or closed, of several days."""
    messages = [
        traces(
            *(
                span(
                    ("buy", "pay")[number % 2],
                    trace=number,
                    start=NOON - (number % 3) * 24 * HOUR,
                    tags={"n": number % 4, "user": "Ada B", "db.system.name": "redis"},
                    events=[event("miss", {"in event": "x"})],
                )
                for number in range(first, first + 10)
            ),
            service=("shop", "cart")[first % 20 // 10],
            resource={"host": f"h{first}"},
        )
        for first in range(1, 60, 10)
    ]
    expected = write(tmp_path, messages).vocabulary()
    for _ in range(2):
        with Reader(tmp_path) as reader:
            found = reader.vocabulary(seconds=60)
        assert found.series == expected.series
        assert found.series[0] == SeriesCount(*found.series[0][:3], max(each.spans for each in found.series))
        for key in ("n", "user", "in event", "event", "db.system.name", "otel.scope.name", "span.kind"):
            assert found.values[key] == expected.values[key], key
        assert set(found.values["host"]) == {f"h{first}" for first in range(1, 60, 10)}
        close(tmp_path)


def test_a_large_day_is_sampled(tmp_path: Path) -> None:
    """The last traces and some of the others: a tag that all have is there, and the count of series is of all."""
    spans = [span(trace=number, start=NOON + number, tags={"n": number, "all": "x"}) for number in range(1, 2001)]
    write(tmp_path, [traces(*spans[first : first + 200]) for first in range(0, 2000, 200)])
    with Reader(tmp_path) as reader:
        found = reader.vocabulary(seconds=60)
        assert found.series == (SeriesCount("shop", "work", "", 2000),)
        assert found.values["all"] == ("x",)
        assert "2000" in found.values["n"]
        assert min(map(int, found.values["n"])) < 1900
        hurried = reader.vocabulary(seconds=0.0)
        assert "all" not in hurried.values


def test_what_is_long_or_too_much_is_not_counted() -> None:
    """A statement is no word that somebody chooses from a list, nor are thousands of ids."""
    counts = TagCounts()
    counts.add([("a", "x" * 200), ("b", "y"), ("k" * 200, "z")])
    counts.add(("id", str(number)) for number in range(1000))
    counts.add((f"key {number}", "") for number in range(5000))
    found = counts.values()
    assert "a" not in found
    assert found["b"] == ("y",)
    assert len(found["id"]) == 200
    assert len(found) < 1100


def test_a_store_without_spans_offers_nothing(tmp_path: Path) -> None:
    """Nor does a directory that is not there."""
    with Reader(tmp_path / "nowhere") as reader:
        assert reader.vocabulary() == reader.vocabulary(seconds=5)
        assert reader.vocabulary().series == ()
