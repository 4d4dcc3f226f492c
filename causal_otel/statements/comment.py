"""The comment by which a SQL statement carries its trace into the server's own logs and statistics.

It is that of sqlcommenter: ``SELECT * FROM songs /*traceparent='00-...-01'*/``.
"""

from __future__ import annotations

import functools
import re
from urllib.parse import quote

from causal_otel.statements._statement import MAX_TEXT
from causal_otel.statements.dialects import POSTGRESQL

__all__ = ["with_traceparent"]

_END = "; \t\n\r\f\v"  # what may follow the last word of a statement
_UNRESERVED = re.compile(r"[0-9A-Za-z._~-]*")  # quote() would return the same, in three times the time
_CACHED = 256  # statements with a mark in them that may begin a comment: most have none


def with_traceparent(statement: str, traceparent: str) -> str:
    """The statement with its trace context in a comment at its end, before a semicolon.

    Unchanged are a statement with nothing in it, and one that has a comment already, as the specification of
    sqlcommenter demands. So is a statement of more than :data:`MAX_TEXT` characters in which a literal or a comment
    has ``--`` or ``/*``: to tell which of them it is would take too long.

    Args:
        statement: SQL of any dialect.
        traceparent: the W3C header's value; what is no letter, digit, ``-``, ``.``, ``_`` or ``~`` is URL-encoded.
    """
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
