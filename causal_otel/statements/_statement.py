"""What SQL and Cypher have in common: a described statement and its limits."""

from __future__ import annotations

from typing import NamedTuple

from causal_otel.engine.redaction import Sanitised

__all__ = ["MAX_SUMMARY", "MAX_TEXT", "Statement"]

MAX_TEXT = 8192
"""How many characters of a statement are read and recorded."""

MAX_SUMMARY = 255
"""The longest ``db.query.summary`` that the semantic conventions allow, in characters."""


class Statement(NamedTuple):
    """A statement without its values."""

    text: Sanitised
    """The statement without comments, with ``?`` for each literal and one ``?`` for a list of literals."""
    summary: str
    """Operations and what they work on: keywords in capitals, names as written. At most :data:`MAX_SUMMARY` long."""
    truncated: bool
    """Whether the statement was longer than :data:`MAX_TEXT`. Of one cut to a character more it is told as well."""
