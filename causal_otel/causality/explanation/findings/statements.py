"""Which calls are the same: by their text and their target."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.causality.spans.targets import is_database, is_http, named
from causal_otel.names import (
    CAUSAL_CODE_ORIGIN,
    CAUSAL_ORM_ORIGIN,
    DB_NAMESPACE,
    DB_QUERY_PARAMETER,
    DB_QUERY_TEXT,
    SERVER_ADDRESS,
    SERVER_PORT,
    URL_FULL,
    URL_TEMPLATE,
)

if TYPE_CHECKING:
    from causal_otel.causality.spans import Span

__all__ = ["Statement", "exactly", "origin", "place", "statement"]

_READING = frozenset({"SELECT", "MATCH", "GET", "MGET", "HGET", "HGETALL", "HMGET", "LRANGE", "SMEMBERS", "ZRANGE"})
_READING_METHODS = frozenset({"GET", "HEAD"})
_COMMANDS = frozenset({"redis", "valkey"})
_PARAMETER = f"{DB_QUERY_PARAMETER}."

_VALUE = re.compile(r"\?|\$\w|%s|%\(|(?<!:):\w|@\w")
"""What stands in a statement where a value was, ours or the caller's own. (In a key of Redis, ``:`` is just a sign.)"""


class Statement(NamedTuple):
    """A call, without the values that differ from one to the next.

    Attributes:
        service: who called.
        place: what was called, see :func:`place`.
        name: the span's.
        text: the statement, or the template of the URL; empty: there is none.
    """

    service: str
    place: str
    name: str
    text: str


def statement(span: Span) -> Statement:
    """What a client's span has called."""
    attributes = span.attributes
    text = attributes.get(DB_QUERY_TEXT) or attributes.get(URL_TEMPLATE) or ""
    return Statement(span.service, place(span), span.name, str(text))


def place(span: Span) -> str:
    """The server, and what of it, that a client's span talks to."""
    attributes = span.attributes
    parts = [span.system, attributes.get(SERVER_ADDRESS), attributes.get(SERVER_PORT), attributes.get(DB_NAMESPACE)]
    return " ".join([str(part) for part in parts if part])


def exactly(span: Span) -> str | None:
    """What makes a call that only reads the same as another, values and all; None: that cannot be told."""
    attributes = span.attributes
    if is_http(span):
        url = attributes.get(URL_FULL)
        return f"{span.name} {url}" if url and span.name.partition(" ")[0] in _READING_METHODS else None
    text = attributes.get(DB_QUERY_TEXT)
    if not is_database(span) or not isinstance(text, str) or not text:
        return None
    if text.split(None, 1)[0].upper() not in _READING:
        return None
    values = sorted([(key, str(value)) for key, value in attributes.items() if key.startswith(_PARAMETER)])
    unknown = "?" in text if span.system in _COMMANDS else _VALUE.search(text) is not None
    return None if unknown and not values else f"{text} {values}"


def origin(span: Span) -> str:
    """Where the code has issued it, and what made an ORM do so: ``, from orders.py:52 load() (Order.items)``."""
    code, orm = span.attributes.get(CAUSAL_CODE_ORIGIN), span.attributes.get(CAUSAL_ORM_ORIGIN)
    if code and orm:
        return f", from {named(str(code))} ({named(str(orm))})"
    return f", from {named(str(code or orm))}" if code or orm else ""
