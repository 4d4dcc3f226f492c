"""SQL text in, sanitised text and a summary of low cardinality out.

This is no parser. A regular expression of the :class:`Dialect` splits the text into tokens in linear time, where the
server splits it. Literals become ``?``, comments go, lists of values and rows are shown by their first one, everything
else stays as it is written. Nothing is cached here: callers describe a statement once and cache the result.
"""

from __future__ import annotations

import re

from causal_otel.engine.redaction import Sanitised
from causal_otel.statements._statement import MAX_TEXT, Statement
from causal_otel.statements.dialects import GENERIC, MYSQL, POSTGRESQL, Dialect, mysql
from causal_otel.statements.sql_summary import SqlSummary
from causal_otel.statements.sql_text import SqlText

__all__ = ["GENERIC", "MAX_TEXT", "MYSQL", "POSTGRESQL", "Dialect", "Statement", "describe", "mysql"]

_COMMENT_MARK = re.compile(r"/\*|\*/")


def describe(query: str, dialect: Dialect) -> Statement:
    """Replace the literals of a statement by ``?`` and summarise what it does, ``INSERT orders SELECT carts``.

    Args:
        query: the statement; its first :data:`MAX_TEXT` characters are read.
        dialect: whose SQL it is. With the wrong one literals may remain.
    """
    end = min(len(query), MAX_TEXT)
    truncated = len(query) > end
    summary = SqlSummary(dialect.modifiers)
    shown = SqlText(query, end, dialect, summary)
    text = shown.tokens
    match = dialect.token.match
    cut = end if truncated else -1
    close = after = -1  # where the executable comment that we are in ends, and where the text goes on
    before = ""
    at = 0
    while at < end:
        token = match(query, at, end)
        assert token is not None  # `other` matches any character, `end` the end
        kind = token.lastgroup or ""
        start = token.start(kind)
        if start > at and text and text[-1] != " ":
            text.append(" ")
        at = token.end()
        if close >= 0:
            if start == close:
                text.append("*/" if close < after else "")
                at, close = after, -1
                continue
            if at > close or kind == "executable" or query.startswith("*/", start):
                text.append("?")  # who does not execute the comment ends it elsewhere
                break
        if kind == "name":
            name = token[kind]
            text.append(name)
            if at != cut:  # a name that is cut is none
                word = name.upper()
                if before == ".":
                    summary.dotted(name)
                else:
                    summary.name(name, word, before)
                before = word
        elif kind == "other":
            mark = token[kind]
            if mark == ".":
                text.append(mark)
            elif mark == ",":
                at = shown.comma(start, at)
                summary.comma()
            elif mark in "([{":
                shown.opened(mark, before)
                summary.opened(mark)
            elif mark in ")]}":
                at = shown.closed(mark, at)
                summary.closed()
            elif mark == ";":
                text.append(mark)
                summary.semicolon()
            else:
                text.append(mark)
                summary.value()
            before = mark
        elif kind == "nested" or kind == "comment":
            if kind == "nested":
                at = _close(query, at, end)[1]
            if text and text[-1] != " ":
                text.append(" ")
        elif kind == "executable":
            text.append("/*!")
            # Whether the server executes the comment depends on its version. One that does ends the comment at the
            # first */ outside literals. One that does not ends it at the first */ anywhere, except that one comment
            # may be inside. If these two places differ, we cannot know what is a literal from there on.
            close, after = _close(query, at, end, 2)
        elif kind == "open":
            text.append("?")
        elif kind != "end":
            shown.value(token[kind] if kind == "parameter" else "?")
            summary.value()
            before = ""
    if truncated:
        summary.cut(before)
    return Statement(Sanitised(shown.result(truncated)), summary.text(), truncated)


def _close(query: str, at: int, end: int, max_depth: int = MAX_TEXT) -> tuple[int, int]:
    """The span of the ``*/`` that closes the comment opened before ``at``; comments nest ``max_depth`` deep."""
    depth = 1
    for mark in _COMMENT_MARK.finditer(query, at, end):
        if mark.group() == "*/":
            depth -= 1
            if not depth:
                return mark.span()
        elif depth < max_depth:
            depth += 1
    return end, end
