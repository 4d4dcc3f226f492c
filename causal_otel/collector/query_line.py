r"""The language of searches, as the page, the command line and our API take it.

==========================  ====================================================================================
``key=value``               a value of the tag is exactly this; a number also if it is written another way
``key=GET*``, ``key="a b"*``  a value is like this: ``*`` outside of quotes stands for any text
``key!=value``              the span has the tag, and no value that ``=`` would find
``key>500``                 a value is a number and above; also ``>=``, ``<``, ``<=``
``key>20ms``                the same in seconds, as measured durations are recorded
``key~GET|POST``            a regular expression is found in a value, see :mod:`.patterns`
``key``                     the span has the tag with another value than ``false``
``service=shop``            a field of the span: ``service``, ``operation`` (or ``name``), ``kind``, ``system``,
                            ``status`` (``error``, ``ok``, ``unset``)
``duration>20ms``           how long the span took
``error``                   the span has failed
``log:"card declined"``     the trace has a log record with all of these words; not in ``OR`` or ``NOT``
``a b``, ``a AND b``        both
``a OR b``                  one of them, or both; ``AND`` binds closer
``NOT a``, ``!a``, ``-a``   not ``a``
``( )``                     what is in it comes first
==========================  ====================================================================================

A span has the tags of its resource and its events, too (see :func:`.attributes.tags`). In quotes, a backslash takes the
meaning from a quote or a backslash. A key in quotes is a tag's, whatever it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.expressions import Expression, Not, Or, all_of
from causal_otel.collector.log_words import read_words
from causal_otel.collector.query_terms import (
    HOW,
    OPERATORS,
    SIGN,
    WORDS,
    Mistake,
    Value,
    alone,
    compared,
    other_operator,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Line", "Mistake", "merged", "operation", "parse"]

_LONGEST = 4000
_DEEPEST = 50
_MOST = 100
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE_KEY = re.compile(r'[^\s"=!<>~()]+')
_OPERATOR = re.compile(r"(\s*)([=!<>~]+)(\s*)")
_STARS = re.compile(r"\*+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LOG = "log:"


@dataclass(frozen=True, slots=True)
class Line:
    """What was read.

    Attributes:
        where: what is asked of a span; None: nothing.
        logs: words that one log record of the trace has, see :func:`.log_words.read_words`.
    """

    where: Expression | None = None
    logs: tuple[str, ...] = ()


def parse(text: str) -> Line:
    """Read a line of the language.

    Raises:
        Mistake: It cannot be understood, or what it asks for is not supported. The message says where, and what to do.
    """
    if len(text) > _LONGEST:
        raise Mistake(_LONGEST + 1, f"a search is at most {_LONGEST} characters; this one has {len(text)}")
    return _Parser(text).parse()


def merged(*several: Line | None) -> Line:
    """All of them together."""
    lines = [each for each in several if each is not None]
    words = sorted({word for each in lines for word in each.logs})
    return Line(all_of(*(each.where for each in lines)), tuple(words))


def operation(text: str) -> tuple[str | None, str | None]:
    """Read what a span's name is asked to be: exactly this if it is in quotes, else something like it.

    Returns:
        The name, and what it is to be like, for :func:`.conditions.is_like`; None for what was not asked.

    Raises:
        ValueError: A quote is not closed.
    """
    if not text.strip():
        return None, None
    if not text.startswith('"'):
        return None, text.strip()
    match = _QUOTED.fullmatch(text.strip())
    if match is None:
        raise ValueError('write a name in quotes, as in "GET /orders", or a part of it without')
    return _unescaped(match[1]), None


class _Parser:
    """Reads a text from its beginning to its end. Each method begins and leaves off before something or at the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._count = 0
        self._logs: set[str] = set()
        self._log_at = 0

    def parse(self) -> Line:
        self._skip()
        where = None if self._at == len(self._text) else self._either()
        if self._at < len(self._text):
            raise Mistake(self._at + 1, "this ) has no ( before it: leave it out, or quote it")
        return Line(where, tuple(sorted(self._logs)))

    def _wrong(self, message: str, at: int | None = None) -> Mistake:
        return Mistake((self._at if at is None else at) + 1, message)

    def _char(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        while self._char().isspace():
            self._at += 1

    def _is_word(self, *words: str) -> int:
        """Where a word ends that is next and not compared with anything, in capitals or not; 0: there is none."""
        match = _BARE_KEY.match(self._text, self._at)
        if match is None or match[0].lower() not in words:
            return 0
        operator = _OPERATOR.match(self._text, match.end())
        is_key = operator is not None and not (operator[1] and (operator[2] == "=" or not operator[2].strip("!")))
        return 0 if is_key else match.end()

    def _word(self, *words: str) -> bool:
        end = self._is_word(*words)
        if end:
            self._at = end
            self._skip()
        return bool(end)

    def _either(self) -> Expression | None:
        parts = [self._both()]
        while self._word("or"):
            parts.append(self._both())
        if len(parts) == 1:
            return parts[0]
        if self._logs and not self._depth:
            raise self._wrong("log: is about the trace, not a span: it cannot stand beside OR", self._log_at)
        return Or(tuple(each for each in parts if each is not None))

    def _both(self) -> Expression | None:
        parts = [self._term()]
        while self._word("and") or not self._ends():
            parts.append(self._term())
        return all_of(*parts)

    def _ends(self) -> bool:
        return self._char() in ("", ")") or bool(self._is_word("or"))

    def _term(self) -> Expression | None:
        """One condition; None: it is about the trace's log records."""
        begin, char = self._at, self._char()
        if char in ("", ")"):
            raise self._wrong("a condition is missing here" if self._text.strip(" ()") else "there is nothing in ( )")
        if self._is_word("or", "and"):
            raise self._wrong("a condition is missing before this word; a key of that name is quoted")
        if char == "(":
            self._at += 1
            self._skip()
            found = self._inside(self._either)
            if self._char() != ")":
                raise self._wrong("this ( has no ) after it", begin)
            self._at += 1
            self._skip()
            return found
        if char in ("!", "-"):
            self._at += 1
            if self._char().isspace():
                raise self._wrong(f"write {char} directly before a condition", begin)
            return self._opposite()
        if self._word("not"):
            return self._opposite()
        if self._text.startswith(_LOG, begin):
            self._log()
            return None
        return self._condition()

    def _opposite(self) -> Expression:
        part = self._inside(self._term)
        assert part is not None  # what is inside has no log:
        return Not(part)

    def _inside(self, read: Callable[[], Expression | None]) -> Expression | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"conditions are nested more than {_DEEPEST} deep")
        found = read()
        self._depth -= 1
        return found

    def _log(self) -> None:
        begin = self._at
        if self._depth:
            raise self._wrong("log: is about the trace, not a span: it cannot stand in ( ) or after NOT")
        self._at += len(_LOG)
        try:
            self._logs.update(read_words(self._value().text))
        except Mistake:
            raise
        except ValueError as error:
            raise self._wrong(str(error), begin) from None
        self._log_at = begin
        self._skip()

    def _condition(self) -> Expression:
        begin = self._at
        self._count += 1
        if self._count > _MOST:
            raise self._wrong(f"a search has at most {_MOST} conditions; for values of one key write key~one|other")
        key, in_quotes = self._key()
        match = _OPERATOR.match(self._text, self._at)
        if match is None or (match[1] and not match[2].strip("!")):
            if self._char() == "(" and not in_quotes:
                raise self._wrong(f"there is no function {key[:40]}(: write conditions on single spans", begin)
            if not self._char().isspace() and self._char() not in ("", ")"):
                raise self._wrong(f"{HOW}; not understood: {self._text[self._at :][:40]}")
            self._skip()
            return alone(key, begin, in_quotes=in_quotes)
        spaces, operator, _ = match.groups()
        place = match.start(2)
        if operator not in OPERATORS:
            raise self._wrong(other_operator(operator), place)
        if operator == "=" and spaces:
            raise self._wrong("write no spaces around =", place)
        # An empty value is nothing: what follows the space is the next condition.
        self._at = match.end() if operator != "=" else match.start(3)
        value = self._value()
        if not value.text and value.at == self._at and operator != "=":
            raise self._wrong(f'nothing follows {key}{operator}; write {key}{operator}"" for an empty value', place)
        if value.wild and operator not in ("=", "!="):
            value = value._replace(wild=False)
        self._skip()
        return compared(key, operator, value, begin, in_quotes=in_quotes)

    def _key(self) -> tuple[str, bool]:
        """A key, and whether it is in quotes."""
        if self._char() == '"':
            return self._in_quotes(), True
        match = _BARE_KEY.match(self._text, self._at)
        if match is None:
            raise self._wrong(f"{HOW}; not understood: {self._text[self._at :][:40]}")
        key = match[0]
        if hint := WORDS.get(key.lower()) if self._is_word(key.lower()) else "":
            raise self._wrong(hint.format(key))
        if sign := SIGN.search(key):
            raise self._wrong(f"{key[:40]} is no key, because of {sign[0]}; if it is one, quote it; else {HOW}")
        self._at = match.end()
        return key, False

    def _in_quotes(self) -> str:
        match = _QUOTED.match(self._text, self._at)
        if match is None:
            raise self._wrong("this quote has no other after it")
        self._at = match.end()
        return _unescaped(match[1])

    def _value(self) -> Value:
        begin, stars = self._at, _STARS.match(self._text, self._at)
        if self._text[stars.end() if stars else begin :][:1] != '"':
            return self._bare_value()
        parts = []
        wild = False
        while self._char() in ("*", '"'):
            if self._char() == "*":
                wild = True
                self._at += 1
                parts.append("*")
            else:
                parts.append(self._in_quotes())
                if self._char() == '"':
                    raise self._wrong("a value is in quotes as a whole")
        if not self._char().isspace() and self._char() not in ("", ")"):
            raise self._wrong("after the quote of a value there is a space, a ) or a *")
        if wild and any("*" in each for each in parts if each != "*"):
            raise self._wrong("a * that is meant and one that stands for any text cannot be in one value: use ~", begin)
        return Value("".join(parts), begin, wild)

    def _bare_value(self) -> Value:
        """A value up to a space, or to a ``)`` whose ``(`` is not in it."""
        begin, depth = self._at, 0
        while (char := self._char()) and not char.isspace():
            depth += (char == "(") - (char == ")")
            if depth < 0:
                break
            if char == '"':
                raise self._wrong('a value with a quote in it is in quotes as a whole, as in key="a \\" b"', begin)
            self._at += 1
        text = self._text[begin : self._at]
        if text.startswith("'"):
            raise self._wrong(f'{text[:40]}: quotes are double, as in key="some value"', begin)
        if text[-1:] in (",", ";") and self._at < len(self._text):
            raise self._wrong(f"{WORDS[','].format(text[-1])}; or quote the value", self._at - 1)
        return Value(text, begin, "*" in text)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(r"\1", text)
