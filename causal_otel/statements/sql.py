"""SQL text made safe and short: literals out, and a summary of low cardinality.

Not a parser: one regular expression splits the text into tokens in linear time, where PostgreSQL splits it, and what it
does not understand it keeps as it is, literals excepted. Statements are described once and remembered by the callers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.engine.redaction import Sanitised

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_TEXT", "Statement", "describe"]

MAX_TEXT = 8192
"""Characters of a statement that are looked at and recorded."""
_MAX_SUMMARY = 255  # semantic conventions: db.query.summary

# As PostgreSQL's lexer has it (src/backend/parser/scan.l): white space is ASCII, every sign beyond ASCII belongs to an
# identifier, so does "$" but at its beginning, and a literal goes on after white space with a line's end in it.
# Possessive (*+): nothing is read twice, and what is left open reaches to the end.
_LETTER = r"A-Za-z_\u0080-\U0010ffff"
_IDENTIFIER = rf"[{_LETTER}][{_LETTER}0-9$]*+"
_AND_ON = r"'(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+'"
_STRING = r"(?:[^']|'')*+"
_ESCAPED = r"(?:[^'\\]|\\.?|'')*+"
_TOKEN = re.compile(
    rf"""
      (?P<comment> --[^\n\r]*+ )
    | (?P<block>   /\* )
    | (?P<literal> [eE]'{_ESCAPED}(?:{_AND_ON}{_ESCAPED})*+(?:'|\Z)
                 | (?:[bBxXnN]|[uU]&)?'{_STRING}(?:{_AND_ON}{_STRING})*+(?:'|\Z)
                 | \$(?P<tag>[{_LETTER}][{_LETTER}0-9]*+|)\$.*?(?:\$(?P=tag)\$|\Z)
                 | (?:[0-9][0-9_]*+\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?(?:{_IDENTIFIER})? )
    | (?P<name>    "(?:[^"]|"")*+(?:"|\Z) | {_IDENTIFIER} )
    | (?P<parameter> \$[0-9]++ )
    | (?P<space>   [ \t\n\r\f\v]++ )
    | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
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


class Statement(NamedTuple):
    """What may be said of a statement."""

    text: Sanitised
    """The statement with every literal as ``?``, lists of them as ``(?)``, and no comments."""
    summary: str
    """Operations and the tables they are on, ``INSERT orders SELECT carts``: keywords in capitals, names as written."""


def describe(query: str) -> Statement:
    """Take the literals out of ``query`` and say what it does, looking at its first ``MAX_TEXT`` characters."""
    text: list[str] = []
    summary = _Summary()
    for kind, found in _tokens(query):
        if kind in ("comment", "space"):
            summary.space()
            if text and text[-1] != " ":
                text.append(" ")
        elif kind == "literal":
            text.append("?")
        else:
            text.append(found)
        if kind == "name":
            summary.name(found)
        elif kind == "other":
            summary.punctuation(found)
    return Statement(Sanitised(_LIST.sub("(?)", "".join(text).strip())), summary.text())


def _tokens(query: str) -> Iterator[tuple[str, str]]:
    """What kind each token is of, and its text."""
    at, end = 0, min(len(query), MAX_TEXT)
    while at < end:
        token = _TOKEN.match(query, at, end)
        assert token is not None  # `other` is any sign
        at = token.end()
        if token.lastgroup == "block":
            at = _end_of_comment(query, at, end)
            yield "comment", ""
        else:
            yield token.lastgroup or "", token.group()


def _end_of_comment(query: str, at: int, end: int) -> int:
    """Where the block comment ends that has begun before ``at``: block comments may stand inside each other."""
    depth = 1
    for mark in _COMMENT_MARK.finditer(query, at, end):
        depth += 1 if mark.group() == "/*" else -1
        if not depth:
            return mark.end()
    return end


class _Summary:
    """Listens to a statement's names, and picks the operations and their targets."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._ctes = False  # after WITH: what comes before the first query only names common table expressions
        self._expects = False  # the next name is a target
        self._target = ""  # how far a name that may go on, schema.table, has got: "", "name" or "dot"
        self._definition = False  # CREATE and the like: the kind of object is part of the operation
        self._queries = [False]  # for each open parenthesis: whether a query began in it

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
        elif self._definition and word in _OBJECTS:
            self._parts.append(word)
            self._expects = True
        elif word in _FILLERS:
            pass
        elif self._expects:
            self._parts.append(name)
            self._target = "name"
            self._expects = self._definition = False
        elif word in _BEFORE_TARGET and self._queries[-1]:
            self._expects = True  # not so in EXTRACT(year FROM t), where no query began in the parenthesis

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
        if len(summary) <= _MAX_SUMMARY:
            return summary
        return summary[: _MAX_SUMMARY + 1].rpartition(" ")[0]
