"""Cypher text made safe and short: literals out, and a summary of low cardinality.

Not a parser: one regular expression splits the text into tokens in linear time, and what it does not understand it
keeps as it is, literals excepted. Statements are described once and remembered by the callers.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from causal_otel.engine.redaction import Sanitised

__all__ = ["MAX_TEXT", "Statement", "describe"]

MAX_TEXT = 8192
"""Characters of a statement that are looked at and recorded."""
_MAX_SUMMARY = 255  # semantic conventions: db.query.summary

# Possessive throughout (*+): nothing is ever read twice, and what is left open reaches to the end.
_NAME = r"(?: [^\W\d]\w*+ | `(?:[^`]|``)*+(?:`|\Z) )"
_SCHEMA = (
    r"(?: INDEX(?:ES)? | CONSTRAINTS? | DATABASES? | ALIAS(?:ES)? | SERVERS? | USERS? | ROLES? | PRIVILEGES?"
    r" | SETTINGS? | TRANSACTIONS? | PROCEDURES? | FUNCTIONS? )"
)
_TOKEN = re.compile(
    rf"""
      (?P<space>     (?: \s | //[^\n\r]*+ | /\*.*?(?:\*/|\Z) )++ )
    | (?P<literal>   '(?:[^'\\]|\\.?)*+(?:'|\Z)
                   | "(?:[^"\\]|\\.?)*+(?:"|\Z)
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

# Neo4j 5 reads \u0027 as the quote it stands for, wherever it stands; Cypher 25 does so in strings only. Whoever writes
# ASCII that way has something to hide.
_DISGUISED = re.compile(r"\\u+00[0-7]")


class Statement(NamedTuple):
    """What may be said of a statement."""

    text: Sanitised
    """The statement with every string and number as ``?``, lists of them as ``[?]``, and no comments."""
    summary: str
    """Clauses and the labels they are on, ``MATCH Person KNOWS SET``: keywords in capitals, names as written."""


def describe(query: str) -> Statement:
    """Take the literals out of ``query`` and say what it does, looking at its first ``MAX_TEXT`` characters.

    ``true``, ``false`` and ``null`` stay. Both fields are empty where nothing can be said safely.
    """
    if _DISGUISED.search(query, 0, MAX_TEXT):
        return Statement(Sanitised(), "")
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
    return Statement(Sanitised(_LIST.sub("[?]", "".join(text).strip())), summary.text())


class _Summary:
    """Listens to a statement's tokens, and picks the clauses and the labels and relationship types in them."""

    def __init__(self) -> None:
        self._clauses: list[list[str]] = []  # each an operation and its targets
        self._open: list[str] = []  # brackets
        self._returns = False

    def operation(self, operation: str) -> None:
        if not self._clauses or self._clauses[-1] != [operation]:
            self._clauses.append([operation])

    def label(self, label: str) -> None:
        if self._clauses and label not in self._clauses[-1] and self._open[-1:] != ["{"]:  # there it is a map's value
            self._clauses[-1].append(label)

    def name(self, name: str) -> None:
        self._returns = self._returns or name.upper() == "RETURN"

    def punctuation(self, mark: str) -> None:
        if mark in "([{":
            self._open.append(mark)
        elif mark in ")]}" and self._open:
            self._open.pop()

    def text(self) -> str:
        """The clauses, as many as fit; ``RETURN`` where there is nothing else."""
        text = ""
        for part in (part for clause in self._clauses for part in clause):
            longer = f"{text} {part}" if text else part
            if len(longer) > _MAX_SUMMARY:
                break
            text = longer
        return text or ("RETURN" if self._returns else "")
