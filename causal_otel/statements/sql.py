"""SQL text in, sanitised text and a summary of low cardinality out.

This is no parser. A regular expression of the :class:`Dialect` splits the text into tokens in linear time, where the
server splits it. Literals become ``?``, comments go, everything else stays as it is written. Nothing is cached here:
callers describe a statement once and cache the result.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from causal_otel.engine.redaction import Sanitised
from causal_otel.statements._statement import MAX_SUMMARY, MAX_TEXT, Statement
from causal_otel.statements.dialects import MYSQL, POSTGRESQL, Dialect, mysql

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["MAX_TEXT", "MYSQL", "POSTGRESQL", "Dialect", "Statement", "describe", "mysql"]

_COMMENT_MARK = re.compile(r"/\*|\*/")
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)")

_QUERIES = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"})
_BEFORE_TARGET = frozenset({"FROM", "JOIN", "INTO", "USING"})
_DEFINITIONS = frozenset({"CREATE", "ALTER", "DROP", "TRUNCATE", "REFRESH", "ANALYZE", "VACUUM", "LOCK", "COPY"})
_BEFORE_NAME = frozenset({"TRUNCATE", "COPY", "CALL", "LISTEN", "NOTIFY", "LOCK"})
_OBJECTS = frozenset(
    {"TABLE", "VIEW", "INDEX", "SCHEMA", "SEQUENCE", "DATABASE", "TYPE", "FUNCTION", "EXTENSION", "ROLE"}
)
_FILLERS = frozenset(
    {"IF", "NOT", "EXISTS", "ONLY", "LATERAL", "OR", "REPLACE", "UNIQUE", "TEMP", "TEMPORARY", "UNLOGGED"}
    | {"MATERIALIZED", "CONCURRENTLY"}
)


def describe(query: str, dialect: Dialect) -> Statement:
    """Replace the literals of a statement by ``?`` and summarise what it does, ``INSERT orders SELECT carts``.

    Args:
        query: the statement; its first :data:`MAX_TEXT` characters are read.
        dialect: whose SQL it is. With the wrong one literals may remain.
    """
    text: list[str] = []
    summary = _Summary(dialect.modifiers)
    for kind, token in _tokens(query, dialect.token):
        if kind == "name":
            text.append(token)
            summary.name(token)
        elif kind in ("space", "comment"):
            summary.space()
            if text and text[-1] != " ":
                text.append(" ")
        elif kind == "other":
            text.append(token)
            summary.punctuation(token)
        elif kind == "parameter":
            text.append(token)
        else:
            text.append("?")
    return Statement(Sanitised(_LIST.sub("(?)", "".join(text).strip())), summary.text(), len(query) > MAX_TEXT)


def _tokens(query: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """The kind and the text of each token; a nested comment is one token."""
    at, end = 0, min(len(query), MAX_TEXT)
    while at < end:
        token = pattern.match(query, at, end)
        assert token is not None  # `other` matches any character
        at = token.end()
        kind = token.lastgroup or ""
        if kind == "nested":
            at = _close(query, at, end)[1]
            yield "comment", ""
        elif kind == "executable":
            at = yield from _executable_comment(query, at, end, pattern)
        else:
            yield kind, token.group()


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


def _executable_comment(
    query: str, at: int, end: int, pattern: re.Pattern[str]
) -> Generator[tuple[str, str], None, int]:
    """The tokens inside ``/*! ... */`` from ``at`` on; returns where the text goes on after it.

    Whether the server executes the comment depends on its version. One that does ends the comment at the first ``*/``
    outside literals. One that does not ends it at the first ``*/`` anywhere, except that one comment may be inside. If
    these two places differ, we cannot know what is a literal from there on, so the rest of the statement is hidden.
    """
    close, after = _close(query, at, end, 2)
    yield "other", "/*!"
    while at < close:
        token = pattern.match(query, at, end)
        assert token is not None  # `other` matches any character
        kind = token.lastgroup or ""
        if token.end() > close or kind == "executable" or query.startswith("*/", at):
            yield "literal", ""
            return end
        yield kind, token.group()
        at = token.end()
    if close < after:
        yield "other", "*/"
    return after


class _Summary:
    """Collects the operations and their targets from the names and the punctuation of a statement."""

    def __init__(self, modifiers: frozenset[str]) -> None:
        self._modifiers = modifiers
        self._parts: list[str] = []
        self._ctes = False  # after WITH: names before the first query are those of common table expressions
        self._expects = False  # the next name is a target
        self._target = ""  # what the last token was in a target like schema.table: "name", "dot" or ""
        self._definition = False  # CREATE and the like: the kind of object belongs to the operation
        self._queries = [False]  # for each open parenthesis: whether a query has begun in it

    def name(self, name: str) -> None:
        word = name.upper()
        target, self._target = self._target, ""
        if target == "dot":
            self._parts[-1] += f".{name}"
            self._target = "name"
        elif word in _QUERIES and not self._definition:
            self._parts.append(word)
            self._queries[-1] = True
            self._expects = word == "UPDATE"
        elif not self._parts:
            if word == "WITH":
                self._ctes = True
            elif not self._ctes:
                self._parts.append(word)
                self._definition = word in _DEFINITIONS
                self._expects = word in _BEFORE_NAME
                self._queries[-1] = word == "REPLACE"  # MySQL; as any other word of a statement it is a function
        elif self._definition and word in _OBJECTS:
            self._parts.append(word)
            self._expects = True
        elif word in _FILLERS or word in self._modifiers:
            pass
        elif self._expects:
            self._parts.append(name)
            self._target = "name"
            self._expects = self._definition = False
        elif word in _BEFORE_TARGET and self._queries[-1]:
            self._expects = True  # FROM in EXTRACT(year FROM t) is not: no query has begun in that parenthesis

    def punctuation(self, mark: str) -> None:
        self._target = "dot" if mark == "." and self._target == "name" else ""
        if mark == "(":
            self._queries.append(False)
            self._expects = False
        elif mark == ")" and len(self._queries) > 1:
            self._queries.pop()

    def space(self) -> None:
        self._target = ""

    def text(self) -> str:
        summary = " ".join(self._parts)
        if len(summary) <= MAX_SUMMARY:
            return summary
        return summary[: MAX_SUMMARY + 1].rpartition(" ")[0]
