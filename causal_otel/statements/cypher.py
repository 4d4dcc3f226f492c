"""Cypher text in, sanitised text and a summary of low cardinality out.

This is no parser. One regular expression splits the text into tokens in linear time. Strings and numbers become ``?``,
lists of values are shown by their first one, comments go, everything else stays as it is written. Nothing is cached
here: callers describe a statement once and cache the result.
"""

from __future__ import annotations

import re

from causal_otel.engine.redaction import Sanitised
from causal_otel.statements._statement import MAX_TEXT, Statement, summary_of, words

__all__ = ["MAX_TEXT", "Statement", "describe"]

# All quantifiers are possessive (*+), so no character is read twice. An open string reaches to the end of the text.
# So does an open quoted name: it is hidden like a literal, because what follows the missing backtick may hold literals.
_NAME = r"(?: [^\W\d]\w*+ | `(?:[^`]|``)*+` )"
_SPACE = r"(?: \s | //[^\n\r]*+ | /\*.*?(?:\*/|\Z) )"
_LITERAL = r"""(?:
      '(?:[^'\\]|\\.?)*+(?:'|\Z)
    | "(?:[^"\\]|\\.?)*+(?:"|\Z)
    | (?: \d\w*+(?:\.\d\w*+)? | \.\d\w*+ ) (?:(?<=[eE])[+-]\d++)?
)"""
_PARAMETER = rf"\$(?:{_NAME}|\d++)"
_VALUE = rf"(?: (?:[+-]\s*+)?+ {_LITERAL} | {_PARAMETER} | (?i: null | true | false | NaN | Infinity )\b )"
_SCHEMA = (
    r"(?: INDEX(?:ES)? | CONSTRAINTS? | DATABASES? | ALIAS(?:ES)? | SERVERS? | USERS? | ROLES? | PRIVILEGES?"
    r" | SETTINGS? | TRANSACTIONS? | PROCEDURES? | FUNCTIONS? )"
)


def _label(depth: int) -> str:
    """A label or type, or an expression of several in parentheses that are so deep at most."""
    if not depth:
        return rf"!*+ {_NAME}"
    return rf"!*+ (?: {_NAME} | \(\s*+ (?: {_label(depth - 1)} \s*+[|&]?+\s*+ )++ \) )"


_LABEL = _label(3)
_NO_LABEL = r"(?i: NULL | NOT | TYPED | NORMALIZED | NFK?[CD] | UNIQUE | KEY | NODE | REL(?:ATIONSHIP)? )\b"
_ENTRY = rf"{_NAME}\s*+:\s*+{_VALUE}"
_ITEM = rf"""(?:
      {_VALUE}
    | \[\s*+ {_VALUE} (?:\s*+,\s*+{_VALUE})*+ \s*+\]
    | \{{\s*+ {_ENTRY} (?:\s*+,\s*+{_ENTRY})*+ \s*+\}}
)"""
# Where the statement is cut, the last item may be a part of one.
_CUT = rf"""(?:
    \s*+,?\s*+ (?: \[\s*+(?:{_VALUE}\s*+,?\s*+)*+ | \{{\s*+(?:{_ENTRY}\s*+,?\s*+)*+ (?:\w++\s*+:?\s*+)? )?+ [-+$.]?+ \Z
)"""
_TOKEN = re.compile(
    rf"""
    {_SPACE}*+ (?:
      (?P<is>        (?i:IS)\s++(?!{_NO_LABEL}){_LABEL}(?:\s*+[|&]\s*+{_LABEL})*+ (?=\s*+(?:[)\]{{*]|(?i:WHERE)\b)) )
    | (?P<name>      {_NAME}(?:\.{_NAME})*+ )
    | (?P<list>      \[\s*+ (?P<first>{_ITEM}) (?:\s*+,\s*+{_ITEM})*+ (?:\s*+\]|{_CUT}) )
    | (?P<literal>   {_LITERAL} | `(?:[^`]|``)*+\Z )
    | (?P<parameter> {_PARAMETER} )
    | (?P<label>     :\s*+{_LABEL}(?:[|&:]:?+{_LABEL})*+ )
    | (?P<other>     \.\.|::|\.{_NAME}|. )
    | (?P<end>       \Z )
    )""",
    re.VERBOSE | re.DOTALL,
)
# What begins with one of these words may be more than a name.
_FIRST_WORDS = words(
    "ALTER CALL COLLECT COUNT CREATE DELETE DENY DETACH DROP ELSE EXISTS EXPLAIN FOREACH GRANT INSERT LOAD MATCH MERGE "
    "NODETACH ON OPTIONAL PROFILE REMOVE REVOKE SET SHOW TERMINATE THEN UNWIND"
)
_PHRASE = re.compile(
    rf"""
      (?P<skipped>   (?i: ON\s++(?:CREATE|MATCH) )\b )
    | (?P<subquery>  (?i: CALL | EXISTS | COUNT | COLLECT )\s*+(?: \([^(){{}}'"`]*+\)\s*+ )?+ \{{ )
    | (?P<branch>    (?i: THEN | ELSE )\s*+ \{{ (?=\s*+{_NAME}\s*+[^\s:]) )
    | (?P<procedure> (?i: CALL )\s++{_NAME}(?:\.{_NAME})*+ )
    | (?P<plan>      (?i: EXPLAIN | PROFILE )\b )
    | (?P<schema>    (?i: (?:SHOW|CREATE|DROP|ALTER|TERMINATE)\s++(?:\w++\s++){{0,3}}?{_SCHEMA} )\b (?!\s*+[:.]) )
    | (?P<operation> (?i: OPTIONAL\s++MATCH | (?:NO)?DETACH\s++DELETE | LOAD\s++CSV
                        | MATCH | CREATE | INSERT | MERGE | SET | REMOVE | DELETE | UNWIND | FOREACH
                        | GRANT | DENY | REVOKE )\b (?!\s*+[:.,=)\]}}]) )
    """,
    re.VERBOSE | re.DOTALL,
)
_LITERALS = re.compile(r"\[\s*+\?(?:\s*+,\s*+\?)++\s*+\]")
_KEPT_OR_LITERAL = re.compile(rf"(?P<kept>{_NAME}|{_PARAMETER})|(?:[+-]\s*+)?+{_LITERAL}", re.VERBOSE | re.DOTALL)

# After these words and marks comes an expression, in which a name may be any word.
_BEFORE_EXPRESSION = words("AND AS BY CASE CONTAINS ELSE IN NOT OR RETURN THEN WHEN WHERE WITH XOR YIELD") | {
    *",=<>+-/^.:"
}
_STATEMENTS = ("", "subquery", "FOREACH")  # what clauses may stand in

# Cypher 5 replaces \u0027 by the quote that it stands for before it looks for strings; Cypher 25 does so inside strings
# only. Nobody writes ASCII that way without need, so such a statement is not described at all.
_ESCAPED_ASCII = re.compile(r"\\u+00[0-7]")


def describe(query: str) -> Statement:
    r"""Replace the strings and numbers of a statement by ``?`` and summarise it, ``MATCH Person KNOWS SET``.

    ``true``, ``false`` and ``null`` stay. Both texts are empty if the statement contains ASCII as ``\u`` escapes.

    Args:
        query: the statement; its first :data:`MAX_TEXT` characters are read.
    """
    truncated = len(query) > MAX_TEXT
    if _ESCAPED_ASCII.search(query, 0, MAX_TEXT):
        return Statement(Sanitised(), "", truncated)
    text: list[str] = []
    summary = _Summary()
    at, end = 0, min(len(query), MAX_TEXT)
    match = _TOKEN.match
    while at < end:
        token = match(query, at, end)
        assert token is not None  # `other` matches any character, `end` the end
        kind = token.lastgroup or ""
        start = token.start(kind)
        if start > at:
            text.append(" ")
        at = token.end()
        found = token[kind]
        if kind == "name":
            word = found.upper()
            phrase = _PHRASE.match(query, start, end) if word in _FIRST_WORDS else None
            if phrase is None:
                text.append(found)
                if at < end or not truncated:  # a word that is cut is none
                    summary.name(found, word)
            else:
                at = phrase.end()
                text.append(phrase.group())
                if at < end or not truncated:
                    summary.phrase(phrase.lastgroup or "", phrase.group())
        elif kind == "other":
            text.append(found)
            summary.mark(found)
        elif kind == "label":
            text.append(found)
            if at < end or not truncated:
                summary.label(found[1:].strip())
        elif kind == "is":
            text.append(found)
            if at < end or not truncated:
                summary.is_label(found[2:].strip())
        else:
            if kind == "list":
                found = f"[{_KEPT_OR_LITERAL.sub(_shown, token['first'])}]"
            text.append("?" if kind == "literal" else found)
            summary.value()
    return Statement(Sanitised(_LITERALS.sub("[?]", "".join(text).strip())), summary.text(), truncated)


def _shown(found: re.Match[str]) -> str:
    return found["kept"] or "?"


class _Summary:
    """Collects the clauses of a statement with the labels, relationship types and procedures in them."""

    def __init__(self) -> None:
        self._clauses: list[list[str]] = []  # each is an operation, then what it works on
        self._open: list[str] = [""]  # the brackets that are open, by their mark or what they enclose
        self._before = ""  # the last token but spaces: a word in capitals or a mark; empty: a value
        self._leads = False  # whether the last token is the first name in a bracket
        self._administers = False  # the rest of the statement names rights, users and properties
        self._returns = False

    def phrase(self, kind: str, phrase: str) -> None:
        """Keywords, and what belongs to them."""
        keywords = " ".join(phrase.upper().split())
        if kind == "operation":
            self._operation(keywords)
        elif kind == "procedure":
            self._operation("CALL", phrase.split(None, 1)[1])
        elif kind in ("subquery", "branch"):
            self._open.append("subquery")
            self._before = ""
        elif kind == "schema":  # about indexes, users and the like
            self._administers = False
            self._operation(keywords.replace("OR REPLACE ", ""))
            self._administers = True
        elif kind == "plan" and not self._clauses:
            self._operation(keywords)

    def _operation(self, operation: str, *targets: str) -> None:
        """A clause, unless its word can be but a name here."""
        if self._open[-1] in _STATEMENTS and not self._administers and self._before not in _BEFORE_EXPRESSION:
            self._clauses.append([operation, *targets])
            self._administers = operation in ("DENY", "GRANT", "REVOKE")
        self._before = operation

    def label(self, label: str) -> None:
        """A label or a type, or an expression of several."""
        self._before = "label"
        if self._clauses and self._open[-1] != "{":  # in braces it is the value of a map
            self._clauses[-1].append(label)

    def is_label(self, label: str) -> None:
        """The same after IS, where that is how a pattern names it: ``(n IS Person)``."""
        if self._open[-1] in ("(", "-[") and (self._leads or self._before in ("(", "[")):
            self.label(label)
        else:
            self._before = "IS"

    def name(self, name: str, word: str) -> None:
        """A keyword that is no operation, or a name; ``word`` is the same in capitals."""
        self._leads = self._before in ("(", "[")
        if self._before in ("label|", "label&"):  # (n:A | B)
            self._clauses[-1][-1] += f"{self._before[-1]}{name}"
            self._before = "label"
            return
        self._before = word
        self._returns = self._returns or word == "RETURN"

    def value(self) -> None:
        """A literal, a parameter or a list of them."""
        self._before = ""
        self._leads = False

    def mark(self, mark: str) -> None:
        """A character of punctuation."""
        before, self._before = self._before, mark
        self._leads = False
        if mark == "(":
            self._open.append("FOREACH" if before == "FOREACH" else mark)
        elif mark == "[":
            self._open.append("-[" if before == "-" else mark)
        elif mark == "{":
            self._open.append(mark)
        elif mark in ")]}":
            if len(self._open) > 1:
                self._open.pop()
        elif mark == ";":
            self._administers = False
        elif mark in "|&" and before == "label" and self._clauses and self._open[-1] in ("(", "-["):
            self._before = f"label{mark}"

    def text(self) -> str:
        """As many clauses as fit; ``RETURN`` if there is no other."""
        return summary_of(self._clauses) or ("RETURN" if self._returns else "")
