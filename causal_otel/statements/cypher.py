"""Cypher text in, sanitised text and a summary of low cardinality out.

This is no parser. One regular expression splits the text into tokens in linear time. Strings and numbers become ``?``,
comments go, everything else stays as it is written. Nothing is cached here: callers describe a statement once and cache
the result.
"""

from __future__ import annotations

import re

from causal_otel.engine.redaction import Sanitised
from causal_otel.statements._statement import MAX_SUMMARY, MAX_TEXT, Statement

__all__ = ["MAX_TEXT", "Statement", "describe"]

# All quantifiers are possessive (*+), so no character is read twice. An open string reaches to the end of the text.
# So does an open quoted name: it is hidden like a literal, because what follows the missing backtick may hold literals.
_NAME = r"(?: [^\W\d]\w*+ | `(?:[^`]|``)*+` )"
_SCHEMA = (
    r"(?: INDEX(?:ES)? | CONSTRAINTS? | DATABASES? | ALIAS(?:ES)? | SERVERS? | USERS? | ROLES? | PRIVILEGES?"
    r" | SETTINGS? | TRANSACTIONS? | PROCEDURES? | FUNCTIONS? )"
)
_TOKEN = re.compile(
    rf"""
      (?P<space>     (?: \s | //[^\n\r]*+ | /\*.*?(?:\*/|\Z) )++ )
    | (?P<literal>   '(?:[^'\\]|\\.?)*+(?:'|\Z)
                   | "(?:[^"\\]|\\.?)*+(?:"|\Z)
                   | `(?:[^`]|``)*+\Z
                   | (?: \d\w*+(?:\.\d\w*+)? | \.\d\w*+ ) (?:(?<=[eE])[+-]\d++)? )
    | (?P<parameter> \$(?:{_NAME}|\d++) )
    | (?P<label>     :\s*+!?{_NAME}(?:[|&:]!?{_NAME})*+ )
    | (?P<skipped>   (?i: ON\s++(?:CREATE|MATCH) )\b )
    | (?P<procedure> (?i: CALL )\s++{_NAME}(?:\.{_NAME})*+ )
    | (?P<operation> (?i: (?:SHOW|CREATE|DROP|ALTER|TERMINATE)\s++(?:\w++\s++){{0,3}}?{_SCHEMA}
                        | OPTIONAL\s++MATCH | (?:NO)?DETACH\s++DELETE | LOAD\s++CSV
                        | MATCH | CREATE | INSERT | MERGE | SET | REMOVE | DELETE | UNWIND | FOREACH
                        | GRANT | DENY | REVOKE )\b (?!\s*+[:.]) )
    | (?P<name>      {_NAME}(?:\.{_NAME})*+ )
    | (?P<other>     \.\.|::|\.{_NAME}|. )
    """,
    re.VERBOSE | re.DOTALL,
)
_LIST = re.compile(r"\[\s*+\?(?:\s*+,\s*+\?)++\s*+\]")

# Cypher 5 replaces \u0027 by the quote that it stands for before it looks for strings; Cypher 25 does so inside strings
# only. Nobody writes ASCII that way without need, so such a statement is not described at all.
_ESCAPED_ASCII = re.compile(r"\\u+00[0-7]")


def describe(query: str) -> Statement:
    r"""Replace the strings and numbers of a statement by ``?`` and summarise it, ``MATCH Person KNOWS SET``.

    ``true``, ``false`` and ``null`` stay. Both fields are empty if the text contains ASCII as ``\u`` escapes.

    Args:
        query: the statement; its first :data:`MAX_TEXT` characters are read.
    """
    truncated = len(query) > MAX_TEXT
    if _ESCAPED_ASCII.search(query, 0, MAX_TEXT):
        return Statement(Sanitised(), "", truncated)
    text: list[str] = []
    summary = _Summary()
    for token in _TOKEN.finditer(query, 0, MAX_TEXT):
        kind, found = token.lastgroup, token.group()
        if kind == "space":
            text.append(" ")
            continue
        text.append("?" if kind == "literal" else found)
        if kind == "label":
            summary.label(found[1:].strip())
        elif kind == "operation":
            summary.operation(" ".join(found.upper().split()))
        elif kind == "procedure":
            summary.operation(f"CALL {found.split(None, 1)[1]}")
        elif kind == "name":
            summary.name(found)
        elif kind == "other":
            summary.punctuation(found)
    return Statement(Sanitised(_LIST.sub("[?]", "".join(text).strip())), summary.text(), truncated)


class _Summary:
    """Collects the clauses of a statement with the labels and relationship types in them."""

    def __init__(self) -> None:
        self._clauses: list[list[str]] = []  # each is an operation, then its labels and types
        self._open: list[str] = []  # the brackets that are open
        self._returns = False

    def operation(self, operation: str) -> None:
        if not self._clauses or self._clauses[-1] != [operation]:
            self._clauses.append([operation])

    def label(self, label: str) -> None:
        if (
            self._clauses and label not in self._clauses[-1] and self._open[-1:] != ["{"]
        ):  # in braces it is the value of a map
            self._clauses[-1].append(label)

    def name(self, name: str) -> None:
        self._returns = self._returns or name.upper() == "RETURN"

    def punctuation(self, mark: str) -> None:
        if mark in "([{":
            self._open.append(mark)
        elif mark in ")]}" and self._open:
            self._open.pop()

    def text(self) -> str:
        """As many clauses as fit; ``RETURN`` if there is no other."""
        text = ""
        for part in (part for clause in self._clauses for part in clause):
            longer = f"{text} {part}" if text else part
            if len(longer) > MAX_SUMMARY:
                break
            text = longer
        return text or ("RETURN" if self._returns else "")
