"""What comparisons mean for values: those that a span has of a tag, and the one that it has of a field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from causal_otel.collector.expressions import Compare, Field
from causal_otel.collector.patterns import Pattern
from causal_otel.collector.units import parse_duration

__all__ = [
    "holds",
    "is_exact",
    "is_like",
    "nanoseconds",
    "number",
    "on_duration",
    "on_text",
    "on_values",
    "seconds",
]

_LONGEST_NUMBER = 40
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
}

Texts = Iterable[str]


def holds(compared: Compare, texts: Texts) -> bool:
    """Whether a comparison holds for a span with these values of its tag, as :func:`.attributes.text` writes them."""
    return on_values(compared)(list(texts))


@lru_cache(maxsize=256)
def on_values(compared: Compare) -> Callable[[list[str]], bool]:
    """What :func:`holds` says of a comparison, as a function of the values."""
    operator, value = compared.operator, compared.value
    if operator == "~":
        found_in = Pattern(value).found_in
        return lambda texts: any(map(found_in, texts))
    if operator in _ORDERS:
        return _ordered(_ORDERS[operator], value)
    if operator == "=" and is_exact(compared):
        return lambda texts: value in texts
    equal = (lambda text: _is_wild(value, text)) if compared.wild else _equal(value)
    if operator == "=":
        return lambda texts: any(map(equal, texts))
    return lambda texts: bool(texts) and not any(map(equal, texts))


@lru_cache(maxsize=256)
def on_text(compared: Field) -> Callable[[str], bool]:
    """Whether a comparison of a field, but for ``duration``, holds, as a function of its value."""
    operator, value = compared.operator, compared.value
    if operator == "like":
        return lambda text: is_like(value, text)
    if operator == "~":
        return Pattern(value).found_in
    equal = (lambda text: _is_wild(value, text)) if compared.wild else value.__eq__
    return equal if operator == "=" else lambda text: not equal(text)


@lru_cache(maxsize=256)
def on_duration(compared: Field) -> Callable[[int], bool]:
    """Whether a comparison of ``duration`` holds, as a function of the nanoseconds."""
    operator, wanted = compared.operator, parse_duration(compared.value)
    if operator in _ORDERS:
        compare = _ORDERS[operator]
        return lambda took: compare(took, wanted)
    return lambda took: (took == wanted) is (operator == "=")


def is_exact(compared: Compare) -> bool:
    """Whether a comparison is with exactly one text, so that an index of texts tells what ``=`` finds."""
    return not compared.wild and not _is_other_number(compared.value)


def is_like(like: str, name: str) -> bool:
    """Whether a name is like this: has it in it or, where it has ``*``, is it; capitals or not are the same."""
    wanted, found = like.casefold(), name.casefold()
    return _is_wild(wanted, found) if "*" in wanted else wanted in found


def number(text: str) -> int | float | None:
    """The number that a text is; None: it is none."""
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdecimal() else float(text)


def nanoseconds(text: str) -> int | None:
    """The duration that a text is; None: it is none."""
    try:
        return parse_duration(text) if len(text) <= _LONGEST_NUMBER else None
    except ValueError:
        return None


def seconds(text: str) -> float | None:
    """The same in seconds."""
    found = nanoseconds(text)
    return None if found is None else found / 1e9


def _is_other_number(text: str) -> bool:
    """Whether there may be numbers that are equal to this one and are written another way."""
    found = number(text)
    return found is not None and (isinstance(found, float) or str(found) != text)


def _equal(value: str) -> Callable[[str], bool]:
    if not _is_other_number(value):
        return value.__eq__
    wanted = number(value)
    return lambda text: text == value or number(text) == wanted


def _ordered(compare: Callable[[float, float], bool], value: str) -> Callable[[list[str]], bool]:
    plain = number(value)
    wanted = seconds(value) if plain is None else plain
    assert wanted is not None  # it was read before

    def is_so(text: str) -> bool:
        found = number(text)
        if found is None and plain is None:
            found = seconds(text)
        return found is not None and compare(found, wanted)

    return lambda texts: any(map(is_so, texts))


def _is_wild(wanted: str, text: str) -> bool:
    """Whether a text is as ``wanted`` says, in which each ``*`` stands for any text, in one pass."""
    begin, *parts, end = wanted.split("*")
    at, until = len(begin), len(text) - len(end)
    if until < at or not (text.startswith(begin) and text.endswith(end)):
        return False
    for part in parts:
        found = text.find(part, at, until)
        if found < 0:
            return False
        at = found + len(part)
    return True
