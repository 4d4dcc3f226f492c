r"""How SQL dialects differ in their tokens: what is a literal, a comment, a name.

A dialect is a declaration of patterns. They follow the server's own lexer, because a literal that ends elsewhere for us
than for the server leaks what comes after it. Where a text has two readings, the pattern takes the one that hides more.

All quantifiers are possessive (``*+``), so no character is read twice. An open string reaches to the end of the text.
So does an open quoted name: it is hidden like a literal, because what follows the missing quote may hold literals.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

__all__ = ["GENERIC", "MYSQL", "POSTGRESQL", "Dialect", "mysql"]

# Placeholders of drivers and of other servers: %s, %(name)s, :name, @name and ?. Here some of them are operators, but a
# name after an operator would not be told from a placeholder in a summary.
_PLACEHOLDERS = r"%s\b | %\([^\W\d]\w*+\)s | (?<!:):[^\W\d]\w*+ | @[^\W\d]\w*+ | \?"
_CONSTANTS = r"(?i: NULL | TRUE | FALSE | DEFAULT )\b"
_BEFORE_STRING = r"(?i: DATE | TIME(?:STAMP(?:TZ)?)? | INTERVAL )"
_TYPE = r"""
    [\w."]++ (?:\s++(?i:PRECISION|VARYING))?+ (?:\s*+\([\d,\s]*+\))?+ (?:\s++(?i:WITH(?:OUT)?\s++TIME\s++ZONE))?+
    (?:\s*+\[\d*+\])*+
"""

_SINGLE, _DOUBLE, _BACKTICK = "'", '"', "`"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The tokens of a dialect, as regular expressions in ``re.VERBOSE`` and ``re.DOTALL`` syntax.

    Args:
        comment: a whole comment.
        nested_comment: the mark that opens a comment which may contain others, each closed by ``*/``; empty: none.
        executable_comment: the mark that opens a comment which some servers execute; empty: none.
        literal: a value, with its quotes and prefixes.
        name: a name, quoted or not.
        open_name: a quoted name that is never closed, to the end of the text; it is hidden.
        parameter: a placeholder for a value that is sent separately.
        numbered: whether placeholders are numbers after a dollar sign.
        modifiers: keywords that may stand between an operation and its table, in capitals.
    """

    comment: str
    nested_comment: str = ""
    executable_comment: str = ""
    literal: str
    name: str
    open_name: str
    parameter: str
    numbered: bool = False
    modifiers: frozenset[str] = frozenset()

    @functools.cached_property
    def token(self) -> re.Pattern[str]:
        """Matches white space and one token, anywhere; ``lastgroup`` is the token's kind.

        Compiled for the first statement: that takes long.
        """
        kinds = {
            "comment": self.comment,
            "nested": self.nested_comment,
            "executable": self.executable_comment,
            "literal": self.literal,
            "name": self.name,
            "open": self.open_name,
            "parameter": f"{self.parameter} | {_PLACEHOLDERS}",
            "other": ".",
            "end": r"\Z",
        }
        pattern = "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items() if pattern)
        return re.compile(rf"[ \t\n\r\f\v]*+(?:{pattern})", re.VERBOSE | re.DOTALL)

    @functools.cached_property
    def values(self) -> re.Pattern[str]:
        """Matches further values of a list, from a comma on, to the last or to where the text is cut."""
        return self._more(rf"{self._value(1)} (?=\s*+(?:[,)\]]|\Z)) | \$?\Z")

    @functools.cached_property
    def rows(self) -> re.Pattern[str]:
        """Matches further rows of nothing but values, from a comma on, to the last or to where the text is cut."""
        return self._more(rf"[(\[]\s*+ {self._value(1)} (?:\s*+,\s*+ {self._value(2)})*+ \s*+[)\]] | \Z")

    def _value(self, number: int) -> str:
        """A value in a list. A pattern may have it several times, with a number each, because groups have names."""
        literal = self.literal.replace("?P<tag>", f"?P<tag{number}>").replace("?P=tag", f"?P=tag{number}")
        return rf"""(?:
            (?:[+-]\s*+)?+ (?:{_BEFORE_STRING}\s++)?+
            (?: {literal} | {self.parameter} | {_PLACEHOLDERS} | {_CONSTANTS} )
            (?:\s*+ ::\s*+ {_TYPE} )*+
        )"""

    def _more(self, element: str) -> re.Pattern[str]:
        return re.compile(rf"(?:\s*+,\s*+ (?:{element}))++", re.VERBOSE | re.DOTALL)


def _inside(quote: str, *, escapes: bool = False) -> str:
    """What may stand between two quotes: doubled quotes, and after a backslash any character if there are escapes."""
    return rf"(?:[^{quote}\\]|\\.?|{quote}{quote})*+" if escapes else f"(?:[^{quote}]|{quote}{quote})*+"


def _class(more: str) -> str:
    """ASCII letters, the characters of ``more``, and all beyond ASCII.

    Written as what is excluded: for a range that goes beyond ASCII Python's compiler takes over a millisecond.
    """
    ascii_characters = map(chr, range(128))
    excluded = "".join(rf"\x{ord(each):02x}" for each in ascii_characters if not each.isalpha() and each not in more)
    return f"[^{excluded}]"


def _string(quote: str, *, escapes: bool) -> str:
    return rf"{quote}{_inside(quote, escapes=escapes)}(?:{quote}|\Z)"


def _number(identifier: str) -> str:
    # What begins with a digit is hidden to its end, also 0xFF, 1_000 and names that MySQL allows, such as 2fa_codes.
    return rf"(?: [0-9][0-9_]*+\.?[0-9]*+ | \.[0-9]++ )(?: [eE][+-]?[0-9]++ )?(?: {identifier} )?"


# PostgreSQL's lexer (src/backend/parser/scan.l): every character beyond ASCII belongs to an identifier, "$" does so too
# except at the start. White space is ASCII. A string continues after white space that includes a line end.
_DIGITS = "0123456789"
_PG_IDENTIFIER = rf"{_class('_')}{_class('_$' + _DIGITS)}*+"
_PG_CONTINUATION = r"'(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+'"
_PG_STRING, _PG_ESCAPED = _inside(_SINGLE), _inside(_SINGLE, escapes=True)

POSTGRESQL = Dialect(
    comment=r"--[^\n\r]*+",
    nested_comment=r"/\*",
    literal=rf"""
          [eE]'{_PG_ESCAPED}(?:{_PG_CONTINUATION}{_PG_ESCAPED})*+(?:'|\Z)
        | (?:[bBxXnN]|[uU]&)?'{_PG_STRING}(?:{_PG_CONTINUATION}{_PG_STRING})*+(?:'|\Z)
        | \$(?P<tag>{_class("_")}{_class("_" + _DIGITS)}*+|)\$.*?(?:\$(?P=tag)\$|\Z)
        | {_number(_PG_IDENTIFIER)}
    """,
    name=rf'{_PG_IDENTIFIER} | "{_inside(_DOUBLE)}"',
    open_name=rf'"{_inside(_DOUBLE)}\Z',
    parameter=r"\$[0-9]++",
    numbered=True,
)
"""PostgreSQL, with ``standard_conforming_strings`` on, which is the default since 9.1."""


@functools.cache
def mysql(*, no_backslash_escapes: bool = False, ansi_quotes: bool = False) -> Dialect:
    r"""MySQL and MariaDB, whose tokens depend on the session's ``sql_mode``.

    Strings stand in single or double quotes, and ``\'`` does not end one. Names stand in backticks. ``#`` begins a
    comment; ``--`` does so only before white space, a control character or the end. Comments do not nest. MariaDB's
    mode ``ORACLE``, in which every ``--`` begins a comment, is not covered.

    Args:
        no_backslash_escapes: whether the mode has ``NO_BACKSLASH_ESCAPES``: a backslash is a character like any other.
            The server tells so in the status flags of every answer (``SERVER_STATUS_NO_BACKSLASH_ESCAPES``, 512).
        ansi_quotes: whether the mode has ``ANSI_QUOTES`` or ``ANSI``: double quotes enclose names.
    """
    escapes = not no_backslash_escapes
    letter = _class("_$" + _DIGITS)
    identifier = rf"(?![0-9]){letter}++"
    character_set = "_[A-Za-z0-9]++"
    strings = [rf"(?:[bBnNxX]|{character_set})?{_string(_SINGLE, escapes=escapes)}"]
    name_quotes = [_BACKTICK]
    if ansi_quotes:
        name_quotes.append(_DOUBLE)
    else:
        strings.append(rf"(?:{character_set})?{_string(_DOUBLE, escapes=escapes)}")
    return Dialect(
        # sql_lex.cc: a NUL ends a comment as a line feed does; a carriage return does not.
        comment=r"(?: \# | --(?=[\x00-\x20\x7f]|\Z) )[^\n\x00]*+ | /\*(?!M?!).*?(?:\*/|\Z)",
        executable_comment=r"/\*M?!(?:[0-9]{5,6})?",  # a version of five or six digits belongs to the mark
        literal=" | ".join(
            [
                *strings,
                _number(identifier),
                # $$ begins a string in MySQL 9 and a name in older versions. As a name it would show what follows, so
                # all the rest is hidden.
                rf"\$(?:(?!\$){letter})*+\$.*+",
            ]
        ),
        name=" | ".join([identifier, *(f"{quote}{_inside(quote)}{quote}" for quote in name_quotes)]),
        open_name=" | ".join(rf"{quote}{_inside(quote)}\Z" for quote in name_quotes),
        parameter=r"\?",
        modifiers=frozenset({"DELAYED", "HIGH_PRIORITY", "IGNORE", "LOW_PRIORITY", "QUICK"}),
    )


MYSQL = mysql()
"""MySQL and MariaDB with the default ``sql_mode``, in which backslashes escape and double quotes enclose strings."""


# A backslash escapes in some databases and not in others, and `'a\\', 'b'` is one string or two. Oracle has q'[it's]',
# BigQuery """strings""", and `$$` begins a string here and there. All of them hide whatever follows.
_GENERIC_INSIDE = r"(?:[^{0}\\]|{0}{0})*+(?:{0}|\Z|\\.*+)"

GENERIC = Dialect(
    comment=r"(?: -- | \# )[^\n\r]*+",
    nested_comment=r"/\*",
    literal=rf"""
          [A-Za-z]{{0,2}}(?:'''|\"\"\").*+
        | [nN]?[qQ]'.*+
        | [A-Za-z&]{{0,2}}'{_GENERIC_INSIDE.format(_SINGLE)}
        | "{_GENERIC_INSIDE.format(_DOUBLE)}
        | \$[A-Za-z0-9_]*+\$.*+
        | {_number(_PG_IDENTIFIER)}
    """,
    name=rf"{_PG_IDENTIFIER} | `{_inside(_BACKTICK)}`",
    open_name=rf"`{_inside(_BACKTICK)}\Z",
    parameter=r"\?|(?<!:):[A-Za-z_][A-Za-z0-9_]*+|@[A-Za-z_][A-Za-z0-9_]*+",
)
"""Any other database, of which it is not known what ends a string. It hides quoted names too: SQLite reads a name that
it does not know as a string."""
