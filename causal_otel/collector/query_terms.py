"""Single conditions of the language of searches: what a key, an operator and a value mean, and what is no condition."""

from __future__ import annotations

import re
from typing import NamedTuple

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.conditions import nanoseconds, number, seconds
from causal_otel.collector.expressions import ERROR, Compare, Expression, Field, Has, Not
from causal_otel.collector.patterns import Pattern

__all__ = [
    "FIELD_NAMES",
    "HOW",
    "OPERATORS",
    "ROOTS",
    "SIGN",
    "STATUSES",
    "WORDS",
    "Mistake",
    "Value",
    "alone",
    "compared",
    "other_operator",
]

OPERATORS = ("=", "!=", ">", ">=", "<", "<=", "~")
"""What a key is compared by."""

_ORDERS = (">", ">=", "<", "<=")

FIELD_NAMES = {
    "service": "service",
    "operation": "operation",
    "name": "operation",
    "kind": "kind",
    "system": "system",
    "status": "status",
    "duration": "duration",
    "root": "root",
}
"""What fields of a span are called in the language, and in a tree."""

STATUSES = ("error", "ok", "unset")
"""The values of the field ``status``."""

ROOTS = ("true", "false")
"""The values of the field ``root``: whether the span has no parent."""

_INSTEAD = {
    "==": "=",
    "=~": "~",
    "!~": "!key~expression",
    "<>": "!=",
    "=>": ">=",
    "=<": "<=",
}
_ALIKE = "{} is not supported: write key=GET* or key~expression"
_THERE = "{} is not supported: write key or !key"
WORDS = {
    **dict.fromkeys(("&", "&&", ",", ";"), "all conditions have to hold anyway: leave {} out"),
    **dict.fromkeys(("|", "||"), "{} is not supported: write OR"),
    "in": "{} is not supported: write (key=one OR key=other)",
    **dict.fromkeys(("like", "ilike", "contains", "matches", "regexp"), _ALIKE),
    **dict.fromkeys(("is", "exists"), _THERE),
    "between": "{} is not supported: write key>=1 key<=2",
}
"""What joins or makes conditions in other languages, in lower case; here it would be a key that nobody has."""

SIGN = re.compile(r"[*?^$&|,;'{}\[\]≠≤≥≈]")
"""What is in conditions of other languages and in hardly a key: ``key*=x``, ``{key=x}``, ``key≥x``."""

HOW = 'write key=value, key="some value", key!=value, key>500, key~expression, key or !key'
"""What to say of something that is no condition at all."""


class Mistake(ValueError):
    """A text cannot be read.

    Attributes:
        column: where, counted from 1.
    """

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"column {column}: {message}")
        self.column = column


class Value(NamedTuple):
    """What a tag or a field is compared with: where it begins, and whether a ``*`` in it stands for any text."""

    text: str
    at: int
    wild: bool


def compared(key: str, operator: str, value: Value, at: int, *, in_quotes: bool) -> Expression:
    """A key that is compared with a value.

    Args:
        key: which one.
        operator: one of :data:`OPERATORS`.
        value: what follows it.
        at: where the key is.
        in_quotes: whether it is in quotes, and so a tag's.

    Raises:
        Mistake: They do not go together.
    """
    if not in_quotes and key in FIELD_NAMES:
        return _of_field(FIELD_NAMES[key], operator, value, at)
    if not in_quotes and key == "error" and operator in ("=", "!=") and value.text in ("true", "false"):
        return ERROR if (operator == "=") is (value.text == "true") else Not(ERROR)
    return _of_tag(key, operator, value)


def other_operator(operator: str) -> str:
    """What to say of signs that are no operator."""
    if hint := _INSTEAD.get(operator):
        return f"{operator} is not supported: write {hint}"
    signs = " ".join(OPERATORS)
    return f'{operator} is none of {signs}; a value that begins with such a sign is quoted, as in key="=value"'


def alone(key: str, at: int, *, in_quotes: bool) -> Expression:
    """A key that is not compared with anything; the arguments are those of :func:`compared`."""
    if in_quotes:
        return Has(key)
    if key in FIELD_NAMES:
        example = {"duration": ">20ms", "status": "=error", "kind": "=server", "root": "=true"}.get(key, "=NAME")
        raise Mistake(at + 1, f'every span has {key}: write {key}{example}, or "{key}" for a tag of that name')
    if key[0].isdigit():
        raise Mistake(at + 1, f"{key[:40]} is no key: write key={key[:40]}, without spaces")
    if ":" in key:
        name, _, value = key.partition(":")
        hint = f'write {name[:40]}={value[:40] or "value"}, or "{key[:40]}" for a key of that name'
        raise Mistake(at + 1, f"{key[:40]}: {hint}")
    return ERROR if key == "error" else Has(key)


def _of_tag(key: str, operator: str, value: Value) -> Expression:
    if operator in _ORDERS and number(value.text) is None and seconds(value.text) is None:
        raise Mistake(
            value.at + 1, f"{operator} compares numbers: write one, as in {key}{operator}500 or {key}{operator}20ms"
        )
    if operator == "~":
        _check_pattern(key, value)
    if value.wild and value.text == "*":
        if operator == "!=":
            raise Mistake(value.at + 1, f"write !{key} for spans without the key")
        return Compare(key, "~", "")
    return Compare(key, operator, value.text, value.wild)


def _of_field(name: str, operator: str, value: Value, at: int) -> Field:
    if name == "duration":
        if nanoseconds(value.text) is None or operator == "~":
            raise Mistake(
                at + 1,
                "duration takes > >= < <= = != and a unit, as in duration>100ms; "
                'write "duration" for a tag of that name',
            )
        return Field(name, operator, value.text)
    allowed = {"kind": KINDS, "status": STATUSES, "root": ROOTS}.get(name)
    if operator in _ORDERS or (allowed and operator == "~"):
        signs = "= and !=" if allowed else "=, != and ~"
        raise Mistake(at + 1, f'{name} is compared with {signs}; write "{name}" for a tag of that name')
    if allowed and value.text not in allowed:
        raise Mistake(value.at + 1, f"{name} is one of {', '.join(allowed)}")
    if operator == "~":
        _check_pattern(name, value)
    return Field(name, operator, value.text, value.wild)


def _check_pattern(key: str, value: Value) -> None:
    try:
        Pattern(value.text)
    except ValueError as error:
        raise Mistake(value.at + 1, f"{key}~{value.text[:40]}: {error}") from None
