"""Numbers and texts of a query that SQLite, and so the tables, can hold."""

from __future__ import annotations

from causal_otel.collector.store.days import LARGEST

__all__ = ["is_unicode", "within_range"]


def within_range(number: int) -> int:
    """The time or duration nearest to ``number`` that the tables can hold."""
    return min(max(number, 0), LARGEST)


def is_unicode(text: str) -> bool:
    """Whether a table can hold ``text``: not if it has lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
