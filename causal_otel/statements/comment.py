"""The comment by which a SQL statement carries its trace into the server's own logs and statistics.

It is that of sqlcommenter: ``SELECT * FROM songs /*traceparent='00-...-01'*/``. A text with one is like no other, so
whoever remembers statements by their texts asks for :func:`to_describe` first.
"""

from __future__ import annotations

import functools
import re
from urllib.parse import quote

from causal_otel.statements._statement import MAX_TEXT
from causal_otel.statements.dialects import POSTGRESQL

__all__ = ["to_describe", "with_traceparent"]

_END = "; \t\n\r\f\v"  # what may follow the last word of a statement
_UNRESERVED = re.compile(r"[0-9A-Za-z._~-]*")  # quote() would return the same, in three times the time
_CACHED = 256  # statements with a mark in them that may begin a comment: most have none

_MARK = "traceparent='"
_TOLD = rf"/\*(?![!+])[^*]*{_MARK}[^'*]*'[^*]*\*/"  # there may be more to it, such as the framework's route
_FIRST, _LAST = re.compile(rf"\s*{_TOLD}\s*"), re.compile(rf"{_TOLD}(?=[{_END}]*\Z)")
_FAR = 2048  # characters from the beginning, or the end, within which such a comment is


def with_traceparent(statement: str, traceparent: str) -> str:
    """The statement with its trace context in a comment at its end, before a semicolon.

    Unchanged are a statement with nothing in it, and one that has a comment already, as the specification of
    sqlcommenter demands. So is a statement of more than :data:`MAX_TEXT` characters in which a literal or a comment
    has ``--`` or ``/*``: to tell which of them it is would take too long.

    Args:
        statement: SQL of any dialect.
        traceparent: the W3C header's value; what is no letter, digit, ``-``, ``.``, ``_`` or ``~`` is URL-encoded.
    """
    if _MARK in statement and (_first(statement) or _last(statement)):
        return statement  # found before anything is remembered of a text that never comes again
    if ("--" in statement or "/*" in statement) and (len(statement) > MAX_TEXT or _has_comment(statement)):
        return statement
    words = statement.rstrip(_END)
    if not words.strip(_END):
        return statement
    value = traceparent if _UNRESERVED.fullmatch(traceparent) else quote(traceparent, safe="")
    return f"{words} /*traceparent='{value}'*/{statement[len(words) :]}"


@functools.lru_cache(_CACHED)
def _has_comment(statement: str) -> bool:
    # Where another dialect's strings end elsewhere, ours may be put into a comment that goes to the end of the line.
    # Then nobody reads it, and it changes nothing.
    return any(token.lastgroup in ("comment", "nested", "open") for token in POSTGRESQL.token.finditer(statement))


def to_describe(statement: str) -> str:
    """What is read of a statement to describe it, without the comment by which it carries a trace.

    That is no more than a character beyond :data:`MAX_TEXT`, which tells that there was more. Such comments
    are ours, or those of whoever else traces the program: OpenTelemetry's instrumentations append them, ddtrace puts
    them in front.

    Args:
        statement: SQL of any dialect.
    """
    if len(statement) <= MAX_TEXT and _MARK not in statement:
        return statement
    first = _first(statement)
    if first is not None:
        statement = statement[first.end() :]
    last = _last(statement)
    if last is not None:
        statement = statement[: last.start()].rstrip() + statement[last.end() :]
    return statement[: MAX_TEXT + 1]


def _first(statement: str) -> re.Match[str] | None:
    return _FIRST.match(statement, 0, _FAR)


def _last(statement: str) -> re.Match[str] | None:
    return _LAST.search(statement, max(0, len(statement) - _FAR))
