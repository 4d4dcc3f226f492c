"""Searches for a value that a span has: what a click on it offers."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlencode

__all__ = ["ValueLinks", "condition", "value_links"]

_BARE = re.compile(r"[A-Za-z0-9_.@/:+-]+")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_WORDS = frozenset({"or", "and", "not"})
_LONGEST = 256
"""Characters of a value that can be searched for: longer ones are in no index, and in no address."""


class ValueLinks(NamedTuple):
    """Where traces with that value are found, and those with another; empty: it cannot be searched for."""

    search: str
    exclude: str


def condition(key: str, value: str, *, unlike: bool = False) -> str:
    """A condition of the query line: ``key=value``, or ``key!=value``.

    What is no plain word is in double quotes, within which a backslash stands before quotes and backslashes.
    """
    return f"{_written(key, _KEY)}{'!=' if unlike else '='}{_written(value, _BARE)}"


def value_links(key: str, value: str) -> ValueLinks:
    """The searches for a value of a key."""
    if not key or len(key) + len(value) > _LONGEST:
        return ValueLinks("", "")
    return ValueLinks(*(f"/?{urlencode({'q': condition(key, value, unlike=unlike)})}" for unlike in (False, True)))


def _written(text: str, plain: re.Pattern[str]) -> str:
    if plain.fullmatch(text) and text.casefold() not in _WORDS:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
