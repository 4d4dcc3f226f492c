"""Query parameters as Jaeger reads them: Go's numbers, durations and times, and Go's words for what is wrong.

Clients show these words, and some look for them, so they are those of Go's ``strconv``, ``time`` and ``encoding/json``.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "LAST_TIME",
    "Malformed",
    "clamped",
    "parse_boolean",
    "parse_duration",
    "parse_integer",
    "parse_number",
    "parse_string_map",
    "parse_timestamp",
    "parse_trace_id",
    "parse_unsigned",
]

LAST_TIME = 2**63 - 1
"""The last Unix time in nanoseconds that fits in 64 bits, in the year 2262."""

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:([0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_DURATION_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)", re.ASCII)
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DIGITS = 19  # of the largest number in 64 bits

_LAYOUT = "2006-01-02T15:04:05.999999999Z07:00"
_TIME = tuple(
    (name, re.compile(pattern, re.ASCII))
    for name, pattern in (
        ("2006", "[0-9]{4}"), ("-", "-"), ("01", "[0-9]{2}"), ("-", "-"), ("02", "[0-9]{2}"), ("T", "T"),
        ("15", "[0-9]{2}"), (":", ":"), ("04", "[0-9]{2}"), (":", ":"), ("05", r"[0-9]{2}(?:[.,][0-9]+)?"),
        ("Z07:00", "Z|[+-][0-9]{2}:[0-9]{2}"),
    )
)  # fmt: skip
_LIMITS = (("month", 1, 12), ("day", 1, 31), ("hour", 0, 23), ("minute", 0, 59), ("second", 0, 59))


class Malformed(ValueError):
    """A parameter's value cannot be read; the message is what Go says of it."""


def clamped(time: int) -> int:
    """``time`` in nanoseconds, or the nearest that fits in 64 bits."""
    return max(-LAST_TIME - 1, min(time, LAST_TIME))


def parse_integer(text: str, *, bits: int = 64, function: str = "ParseInt") -> int:
    """A whole number of so many bits, in decimal."""
    if not _INTEGER.fullmatch(text):
        raise _syntax(function, text)
    digits = text.lstrip("+-").lstrip("0") or "0"
    value = int(digits) if len(digits) <= _DIGITS else 1 << bits
    if text.startswith("-"):
        value = -value
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise Malformed(f"strconv.{function}: parsing {_quoted(text)}: value out of range")
    return value


def parse_unsigned(text: str, *, bits: int = 32) -> int:
    """A whole number of so many bits, at most 32, without a sign."""
    if text.startswith(("+", "-")):
        raise _syntax("ParseUint", text)
    value = parse_integer(text, function="ParseUint")
    if value >= 1 << bits:
        raise Malformed(f"strconv.ParseUint: parsing {_quoted(text)}: value out of range")
    return value


def parse_number(text: str) -> float:
    """A floating-point number."""
    if not _FLOAT.fullmatch(text):
        raise _syntax("ParseFloat", text)
    return float(text)


def parse_boolean(text: str) -> bool:
    """One of ``1 t T TRUE true True`` and ``0 f F FALSE false False``."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise _syntax("ParseBool", text)


def parse_duration(text: str) -> int:
    """Nanoseconds, from a duration as Go writes it: ``1.5s``, ``100ms``, ``1h30m``, ``0``."""
    rest = text[1:] if text.startswith(("+", "-")) else text
    if rest == "0":
        return 0
    total = 0
    valid = bool(rest)
    while rest and valid:
        part = _DURATION_PART.match(rest)
        assert part is not None  # it matches the empty string
        whole, fraction, unit = part.groups(default="")
        valid = bool(whole or fraction) and len(whole.lstrip("0")) <= _DIGITS
        if not valid:
            break
        if not unit:
            raise Malformed(f"time: missing unit in duration {_quoted(text)}")
        if unit not in _UNITS:
            raise Malformed(f"time: unknown unit {_quoted(unit)} in duration {_quoted(text)}")
        fraction_digits = fraction[:_DIGITS]
        total += int(whole.lstrip("0") or "0") * _UNITS[unit]
        total += int(fraction_digits or "0") * _UNITS[unit] // 10 ** len(fraction_digits)
        valid = total <= LAST_TIME
        rest = rest[part.end() :]
    if not valid:
        raise Malformed(f"time: invalid duration {_quoted(text)}")
    return -total if text.startswith("-") else total


def parse_timestamp(text: str) -> int:
    """Unix time in nanoseconds, from RFC 3339 with any fraction of a second: ``2026-11-22T20:00:00.5Z``.

    Grafana sends it unescaped, so that the ``+`` of an offset has become a space: that is taken as well.
    """
    fields: list[str] = []
    rest = restored = text.replace(" ", "+")
    for name, pattern in _TIME:
        match = pattern.match(rest)
        if match is None:
            raise Malformed(
                f"parsing time {_quoted(text)} as {_quoted(_LAYOUT)}: cannot parse {_quoted(rest)} as {_quoted(name)}"
            )
        fields.append(match[0])
        rest = rest[match.end() :]
    if rest:
        raise Malformed(f"parsing time {_quoted(restored)}: extra text: {_quoted(rest)}")
    year, month, day, hour, minute = (int(fields[index]) for index in (0, 2, 4, 6, 8))
    second, _, fraction = fields[10].replace(",", ".").partition(".")
    for (name, least, most), value in zip(_LIMITS, (month, day, hour, minute, int(second)), strict=True):
        if not least <= value <= most:
            raise Malformed(f"parsing time {_quoted(text)}: {name} out of range")
    try:
        moment = datetime(max(1, year), month, day, hour, minute, int(second), tzinfo=UTC)
    except ValueError:
        raise Malformed(f"parsing time {_quoted(text)}: day out of range") from None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = since.days * 86400 + since.seconds - _offset(fields[11])
    return clamped(seconds * 10**9 + int(fraction[:9].ljust(9, "0")))


def parse_trace_id(text: str) -> bytes:
    """16 bytes from at most 32 hexadecimal digits; a shorter one is filled with zeros on the left."""
    if len(text) > 32:
        raise Malformed(f"TraceID cannot be longer than 32 hex characters: {text}")
    for half in (text[:-16], text[-16:]) if len(text) > 16 else (text,):
        if not re.fullmatch("[0-9a-fA-F]+", half):
            raise _syntax("ParseUint", half)
    return bytes.fromhex(text.zfill(32))


def parse_string_map(text: str) -> dict[str, str]:
    """A JSON object of strings."""
    try:
        document = json.loads(text, parse_int=float, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise Malformed(_json_fault(text, error)) from None
    except RecursionError:
        raise Malformed("exceeded max depth") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Malformed(f"json: cannot unmarshal {_json_kind(document)} into Go value of type map[string]string")
    for value in document.values():
        if value is not None and not isinstance(value, str):
            raise Malformed(f"json: cannot unmarshal {_json_kind(value)} into Go value of type string")
    return {_encodable(key): _encodable(value or "") for key, value in document.items()}


def _offset(zone: str) -> int:
    """Seconds east of Greenwich."""
    if zone == "Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return -seconds if zone[0] == "-" else seconds


def _syntax(function: str, text: str) -> Malformed:
    return Malformed(f"strconv.{function}: parsing {_quoted(text)}: invalid syntax")


def _quoted(text: str) -> str:
    """``text`` in quotes, on one line."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else json.dumps(text)


def _encodable(text: str) -> str:
    """``text`` with every half of a surrogate pair, which UTF-8 cannot hold, replaced."""
    return text.encode(errors="replace").decode()


def _constant(name: str) -> Any:
    raise Malformed(f"invalid character {name.lstrip('-')[0]!r} looking for beginning of value")


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return {str: "string", float: "number", list: "array"}.get(type(value), "object")


def _json_fault(text: str, error: json.JSONDecodeError) -> str:
    place = len(text) - len(text[error.pos :].lstrip(" \t\n\r"))
    if place >= len(text) or "Unterminated" in error.msg:
        return "unexpected end of JSON input"
    expected = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after object key:value pair",
        "Extra data": "after top-level value",
        "Invalid control character at": "in string literal",
    }.get(error.msg, "looking for beginning of value")
    return f"invalid character {text[place]!r} {expected}"
