"""SQL text made safe and short: literals out, and a summary of low cardinality.

Not a parser: one regular expression splits the text into tokens in linear time, and what it does not understand it
keeps as it is, literals excepted. Statements are described once and remembered by the callers.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["MAX_TEXT", "Statement", "describe"]

MAX_TEXT = 8192
"""Characters of a statement that are looked at and recorded."""
_MAX_SUMMARY = 255  # semantic conventions: db.query.summary

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<literal> [eE]'(?:[^'\\]|\\.?|'')*+(?:'|\Z)          # an unclosed literal reaches to the end
                 | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*+(?:'|\Z)
                 | \$(?P<tag>[A-Za-z_]\w*|)\$.*?(?:\$(?P=tag)\$|\Z)
                 | (?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[xXoObB]?\w* )
    | (?P<name>    "(?:[^"]|"")*(?:"|\Z) | [^\W\d]\w* )
    | (?P<parameter> \$\d+ )
    | (?P<space>   \s+ )
    | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
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

    text: str
    """The statement with every literal as ``?``, lists of them as ``(?)``, and no comments."""
    summary: str
    """Operations and the tables they are on, ``INSERT orders SELECT carts``: keywords in capitals, names as written."""


def describe(query: str) -> Statement:
    """Take the literals out of ``query`` and say what it does, looking at its first ``MAX_TEXT`` characters."""
    text: list[str] = []
    summary = _Summary()
    for token in _TOKEN.finditer(query, 0, MAX_TEXT):
        kind, found = token.lastgroup, token.group()
        if kind == "tag":
            kind = "literal"
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
    return Statement(_LIST.sub("(?)", "".join(text).strip()), summary.text())


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
