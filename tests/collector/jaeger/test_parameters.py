"""Parameters are read, and refused, as Go does it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_otel.collector.jaeger import parameters

DURATIONS = {
    "1.5s": 1_500_000_000, "100ms": 10**8, "250us": 250_000, "3µs": 3000, "3μs": 3000, "7ns": 7, "2h45m": 9900 * 10**9,
    "-5ms": -5_000_000, "+1s": 10**9, "0": 0, "-0": 0, "1.s": 10**9, ".5s": 5 * 10**8, "1h1m1s": 3661 * 10**9,
}  # fmt: skip
BAD_DURATIONS = {
    "": 'time: invalid duration ""', "abc": 'time: invalid duration "abc"', "5": 'time: missing unit in duration "5"',
    "5x": 'time: unknown unit "x" in duration "5x"', ".s": 'time: invalid duration ".s"', "1s2": "missing unit",
    "9999999999h": "time: invalid duration", "9" * 5000 + "s": "time: invalid duration", "-": "time: invalid duration",
}  # fmt: skip
BAD_TIMES = {
    "abc": 'cannot parse "abc" as "2006"', "2026-11-22": 'cannot parse "" as "T"',
    "2026-13-01T00:00:00Z": "month out of range", "2026-02-30T00:00:00Z": "day out of range",
    "2026-11-22T24:00:00Z": "hour out of range", "2026-11-22T20:00:00": 'cannot parse "" as "Z07:00"',
    "2026-11-22T20:00:00Zx": 'extra text: "x"', "1795377600000000": "cannot parse",
}  # fmt: skip
BAD_MAPS = {
    "": "unexpected end of JSON input", "{bad": "invalid character 'b' looking for beginning of object key string",
    '{"a":true}': "json: cannot unmarshal bool into Go value of type string",
    '{"a":1}': "json: cannot unmarshal number into Go value of type string",
    '{"a":' + "9" * 5000 + "}": "json: cannot unmarshal number into Go value of type string",
    "[]": "json: cannot unmarshal array into Go value of type map[string]string",
    '{"a":"b"} x': "invalid character 'x' after top-level value", '{"a" "b"}': "after object key",
    '{"a":NaN}': "looking for beginning of value", "[" * 100_000: "max depth",
}  # fmt: skip


@pytest.mark.parametrize("text", DURATIONS)
def test_durations(text: str) -> None:
    """A duration in Go's notation becomes nanoseconds."""
    assert parameters.parse_duration(text) == DURATIONS[text]


@pytest.mark.parametrize("text", BAD_DURATIONS, ids=lambda text: text[:12])
def test_malformed_durations(text: str) -> None:
    """What is no duration is refused in Go's words."""
    with pytest.raises(parameters.Malformed) as refused:
        parameters.parse_duration(text)
    assert BAD_DURATIONS[text] in str(refused.value)


def test_times() -> None:
    """RFC 3339 with any fraction and offset becomes Unix time in nanoseconds, also unescaped."""
    assert parameters.parse_timestamp("2026-11-22T20:00:00Z") == 1_795_377_600 * 10**9
    assert parameters.parse_timestamp("2026-11-22T20:00:00.123456789999Z") == 1_795_377_600_123_456_789
    assert parameters.parse_timestamp("2026-11-22T21:30:00.5+01:30") == 1_795_377_600_500_000_000
    assert parameters.parse_timestamp("2026-11-22T21:00:00 01:00") == 1_795_377_600 * 10**9
    assert parameters.parse_timestamp("1969-12-31T23:59:59.9Z") == -(10**8)
    assert parameters.parse_timestamp("9999-12-31T23:59:59Z") == parameters.LAST_TIME


@given(st.datetimes(datetime(1970, 1, 1), datetime(2262, 1, 1), timezones=st.just(UTC)))
def test_times_of_python(moment: datetime) -> None:
    """What Python writes is read to the microsecond."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert (
        parameters.parse_timestamp(moment.isoformat())
        == ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000
    )


@pytest.mark.parametrize("text", BAD_TIMES)
def test_malformed_times(text: str) -> None:
    """What is no time is refused in Go's words, which say where reading failed."""
    with pytest.raises(parameters.Malformed) as refused:
        parameters.parse_timestamp(text)
    assert str(refused.value).startswith("parsing time ")
    assert BAD_TIMES[text] in str(refused.value)


@pytest.mark.parametrize(
    ("text", "bits", "reason"),
    [("1.5", 64, "invalid syntax"), ("", 64, "invalid syntax"), ("1_0", 64, "invalid syntax"),
     ("٣", 64, "invalid syntax"), ("2147483648", 32, "value out of range"), ("9" * 5000, 64, "value out of range")],
    ids=["fraction", "empty", "underscore", "arabic", "32 bits", "long"],
)  # fmt: skip
def test_malformed_integers(text: str, bits: int, reason: str) -> None:
    """What is no integer of that size is refused in Go's words."""
    with pytest.raises(parameters.Malformed, match=rf"strconv\.ParseInt: parsing .*: {reason}"):
        parameters.parse_integer(text, bits=bits)


def test_integers() -> None:
    """Integers have a sign and leading zeros if they like; unsigned ones have no sign."""
    assert [parameters.parse_integer(text) for text in ("+5", "-5", "0005", str(-(2**63)))] == [5, -5, 5, -(2**63)]
    assert parameters.parse_integer("-2147483648", bits=32) == -(2**31)
    assert parameters.parse_unsigned("4294967295") == 2**32 - 1
    for text in ("-1", "4294967296"):
        with pytest.raises(parameters.Malformed, match="ParseUint"):
            parameters.parse_unsigned(text)


def test_booleans_and_numbers() -> None:
    """Booleans are spelled as Go spells them, numbers as everybody does."""
    assert parameters.parse_boolean("T") is True
    assert parameters.parse_boolean("FALSE") is False
    assert [parameters.parse_number(text) for text in ("0.95", ".5", "1e-3")] == [0.95, 0.5, 0.001]
    for text in ("yes", "tRUE", ""):
        with pytest.raises(parameters.Malformed, match="ParseBool"):
            parameters.parse_boolean(text)
    for text in ("", "1_0", "0x1", "."):
        with pytest.raises(parameters.Malformed, match="ParseFloat"):
            parameters.parse_number(text)


def test_trace_ids() -> None:
    """A trace id has up to 32 hexadecimal digits; a short one means one that starts with zeros."""
    assert parameters.parse_trace_id("A3ce929d0e0e4736").hex() == "0000000000000000a3ce929d0e0e4736"
    assert parameters.parse_trace_id("1").hex() == "1".zfill(32)
    for text in ("", "xyz", "0x12", "a" * 33, "-1", "g" + "0" * 31):
        with pytest.raises(parameters.Malformed):
            parameters.parse_trace_id(text)


@pytest.mark.parametrize("text", BAD_MAPS, ids=lambda text: text[:12])
def test_malformed_maps(text: str) -> None:
    """What is no JSON object of strings is refused in Go's words."""
    with pytest.raises(parameters.Malformed) as refused:
        parameters.parse_string_map(text)
    assert BAD_MAPS[text] in str(refused.value)


def test_maps() -> None:
    """A JSON object of strings is a dict; half a surrogate pair, which nothing can be stored under, is replaced."""
    assert parameters.parse_string_map('{"a":"b","c":null}') == {"a": "b", "c": ""}
    assert parameters.parse_string_map("null") == {}
    assert parameters.parse_string_map(r'{"a\ud800":"\ud83d\ude00\udc00"}') == {"a?": "\U0001f600?"}
