"""Searches for a value that a span has: what a click on it offers."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode

from causal_otel.collector.expressions import Compare, Not, written

__all__ = ["ValueLinks", "value_links"]

_LONGEST = 256
"""Characters of a value that can be searched for: longer ones are in no index, and in no address."""


class ValueLinks(NamedTuple):
    """Where traces with that value are found, and those without it; empty: it cannot be searched for."""

    search: str
    exclude: str


def value_links(key: str, value: str) -> ValueLinks:
    """The searches for a value of a key."""
    if not key or len(key) + len(value) > _LONGEST:
        return ValueLinks("", "")
    is_it = Compare(key, "=", value)
    return ValueLinks(*(f"/?{urlencode({'q': written(each)})}" for each in (is_it, Not(is_it))))
