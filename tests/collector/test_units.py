"""Durations and times as people write and read them, and time axes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_otel.collector.units import (
    format_duration,
    moment,
    parse_duration,
    ticks,
    written_duration,
    written_moment,
)
from tests.collector.spans import NOON


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1 µs"),
        (430_000, "430 µs"),
        (999_499, "999 µs"),
        (999_500, "1 ms"),
        (1_234_567, "1.23 ms"),
        (9_996_000, "10 ms"),
        (12_345_678, "12.3 ms"),
        (99_960_000, "100 ms"),
        (2_500_000_000, "2.5 s"),
        (59_949_999_999, "59.9 s"),
        (59_950_000_000, "1 min"),
        (200 * 10**9, "3 min 20 s"),
        (5_400 * 10**9, "1 h 30 min"),
        (93_600 * 10**9, "1 d 2 h"),
        (-1_500, "-1.5 µs"),
    ],
)
def test_durations_have_three_digits_and_a_unit(nanoseconds: int, text: str) -> None:
    """The unit is the largest that leaves a whole number before the point; from a minute on there are two."""
    assert format_duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1.2s", 1_200_000_000),
        ("100ms", 100_000_000),
        ("500us", 500_000),
        ("500 µs", 500_000),
        ("500μs", 500_000),
        (" 7NS ", 7),
        ("30d", 30 * 86_400 * 10**9),
        ("1h30m", 5_400 * 10**9),
        ("1 h 30 min", 5_400 * 10**9),
        ("0.1s", 100_000_000),
    ],
)
def test_durations_are_read(text: str, nanoseconds: int) -> None:
    """Numbers with units, several of them if need be, in any case."""
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "5", "ms", "-1s", "1.s", "1e3s", "1s x", "1fortnight", "1,5s", "٣s", "9" * 500 + "s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match="is not a duration: write a number and a unit, as in 500us"):
        parse_duration(text)


def test_durations_end_where_the_store_ends() -> None:
    """What 64 bits cannot hold is too long."""
    assert parse_duration("106751d") < 2**63
    with pytest.raises(ValueError, match="too long"):
        parse_duration("106752d")


@given(st.integers(0, 2**62))
def test_what_is_written_can_be_read(nanoseconds: int) -> None:
    """Reading a shown duration gives it back, but for what the digits leave out."""
    assert parse_duration(format_duration(nanoseconds)) == pytest.approx(nanoseconds, rel=0.05)


@given(st.integers(0, 2**63), st.integers(2, 20))
def test_ticks_divide_the_axis_evenly(total: int, most: int) -> None:
    """They start at 0, keep one distance, stay on the axis, and are neither too many nor needlessly few."""
    marks = ticks(total, most)
    assert marks[0] == (0, "0")
    assert len(marks) <= most
    assert marks[-1].at <= total
    assert len({after.at - before.at for before, after in pairwise(marks)}) <= 1
    assert len(marks) * 6 >= min(most, total)


@pytest.mark.parametrize(
    ("total", "labels"),
    [
        (0, ["0"]),
        (7, ["0", "2 ns", "4 ns", "6 ns"]),
        (1_000, ["0", "200 ns", "400 ns", "600 ns", "800 ns", "1 µs"]),
        (123_456, ["0", "50 µs", "100 µs"]),
        (61 * 10**9, ["0", "20 s", "40 s", "1 min"]),
        (400 * 10**9, ["0", "2 min", "4 min", "6 min"]),
        (10**15, ["0", "5 d", "10 d"]),
    ],
)
def test_ticks_are_round(total: int, labels: list[str]) -> None:
    """Steps are 1, 2 or 5 times a power of ten, from a minute on those of a clock."""
    assert [mark.label for mark in ticks(total)] == labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T12:00", NOON),
        ("2026-11-22T12:00:00.000001", NOON + 1000),
        ("2026-11-22T13:00+01:00", NOON),
        ("2026-11-22T12:00Z", NOON),
        ("2026-11-22", NOON - 12 * 3600 * 10**9),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, expected: int) -> None:
    """A time is read as ISO 8601, in UTC if it has no zone."""
    assert moment(text) == expected


@pytest.mark.parametrize("text", ["yesterday", "12:00", "1969-12-31", "9999-01-01", "0001-01-01T00:00+23:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """What is no time, or none that a span can have, is an error."""
    with pytest.raises(ValueError, match="time"):
        moment(text)


@pytest.mark.parametrize(
    ("begin", "total", "labels"),
    [
        (100_000_000, 100_000_000, ["100 ms", "120 ms", "140 ms", "160 ms", "180 ms", "200 ms"]),
        (1_234_500_000, 500_000, ["1.2345 s", "1.2346 s", "1.2347 s", "1.2348 s", "1.2349 s", "1.235 s"]),
        (0, 10, ["0", "2 ns", "4 ns", "6 ns", "8 ns", "10 ns"]),
        (999, 3, ["999 ns", "1 µs", "1.001 µs", "1.002 µs"]),
    ],
)
def test_marks_of_a_part_of_an_axis_are_told_apart(begin: int, total: int, labels: list[str]) -> None:
    """They say how far from the whole axis' start they are, with as many digits as that takes."""
    found = ticks(total, 6, begin=begin)
    assert [tick.label for tick in found] == labels
    assert all(begin <= tick.at <= begin + total for tick in found)


@given(nanoseconds=st.integers(0, 2**63 - 1))
def test_what_is_written_for_an_address_is_read_back_to_the_nanosecond(nanoseconds: int) -> None:
    """A time and a duration survive being written, whatever they are."""
    assert moment(written_moment(nanoseconds)) == nanoseconds
    assert parse_duration(written_duration(nanoseconds)) == nanoseconds
    assert moment(f"{written_moment(nanoseconds)}Z") == nanoseconds


def test_what_is_written_is_short() -> None:
    """Whole minutes have no seconds, and durations the unit that a person would choose."""
    assert written_moment(NOON) == "2026-11-22T12:00"
    assert written_moment(NOON + 10**9) == "2026-11-22T12:00:01"
    assert written_moment(NOON - 1) == "2026-11-22T11:59:59.999999999"
    assert [written_duration(each) for each in (0, 973, 1562, 1_500_000, 10**11)] == [
        "0ns",
        "973ns",
        "1.562us",
        "1.5ms",
        "100s",
    ]
