"""What SQL and Cypher have in common: a described statement and its limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from causal_otel.engine.redaction import Sanitised

__all__ = ["MAX_SUMMARY", "MAX_TEXT", "Statement", "summary_of", "words"]

MAX_TEXT = 8192
"""How many characters of a statement are read and recorded."""

MAX_SUMMARY = 255
"""The longest ``db.query.summary`` that the semantic conventions allow, in characters."""


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


class Statement(NamedTuple):
    """A statement without its values."""

    text: Sanitised
    """The statement without comments, with ``?`` for each literal and one ``?`` for a list of literals."""
    summary: str
    """Operations and what they work on: keywords in capitals, names as written. At most :data:`MAX_SUMMARY` long."""
    truncated: bool
    """Whether the statement was longer than :data:`MAX_TEXT`. Of one cut to a character more it is told as well."""


def summary_of(clauses: Iterable[list[str]]) -> str:
    """The summary of operations with their targets: of each, the targets once; of equal ones in a row, one.

    So a program that repeats a part of a statement as often as it has values makes one summary of all.

    Args:
        clauses: each is an operation, then its targets; empty words are left out.
    """
    parts: list[str] = []
    room = MAX_SUMMARY + 1
    previous: list[str] = []
    for operation, *targets in clauses:
        clause = [operation, *filter(None, dict.fromkeys(targets))]
        if clause == previous:
            continue
        previous = clause
        for part in clause:
            room -= len(part) + 1
            if room < 0:
                return " ".join(parts)
            parts.append(part)
    return " ".join(parts)
