r"""The language of searches: conditions on a span's tags and name, as the page, the command line and our API take them.

========================  ====================================================================
``key=value``             a value is exactly this; a number also if it is written another way
``key=GET*``              a value is like this: ``*`` stands for any text
``key="a b"``             exactly this: quotes for spaces, operators and a ``*`` that is meant
``key!=value``            the span has the key, and no value that ``=`` would find
``key>500``               a value is a number and above; also ``>=``, ``<``, ``<=``
``key>20ms``              the same in seconds, as measured durations are recorded
``duration>20ms``         how long the span took
``key~GET|POST``          a regular expression is found in a value, see :mod:`.patterns`
``key``                   the span has the key with another value than ``false``
``!key``                  it has not
========================  ====================================================================

A span has the tags of its resource and its events, too (see :func:`.attributes.tags`). Several conditions have spaces
between them, and all have to hold for one span.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from causal_otel.collector.patterns import Pattern
from causal_otel.collector.units import parse_duration

__all__ = ["Condition", "Conditions", "holds", "is_like", "merged", "operation", "parse", "parse_one", "quoted"]

_LONGEST = 4000
_LONGEST_NUMBER = 40
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_KEY = re.compile(rf'(!?)(?:{_QUOTED}|([^\s"=!<>~]+))', re.DOTALL)
_OPERATOR = re.compile(r"(\s*)([=!<>~]+)(\s*)")
_VALUE = re.compile(rf'(?:{_QUOTED}|([^\s"]*))(?=\s|$)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_OPERATORS = ("=", "!=", ">", ">=", "<", "<=", "~")
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
}
_INSTEAD = {
    "==": "=",
    "=~": "~",
    "!~": "a regular expression of what is wanted with ~",
    "<>": "!=",
    "=>": ">=",
    "=<": "<=",
}
_ALL_HOLD = "all conditions have to hold anyway: leave {} out"
_ONE_HOLDS = "{} is not supported: for values of one key write key~one|other"
_ALIKE = "{} is not supported: write key=GET* or key~expression"
_THERE = "{} is not supported: write key or !key"
_WORDS = {
    **dict.fromkeys(("and", "&", "&&", ",", ";"), _ALL_HOLD),
    **dict.fromkeys(("or", "|", "||", "in"), _ONE_HOLDS),
    **dict.fromkeys(("like", "ilike", "contains", "matches", "regexp"), _ALIKE),
    **dict.fromkeys(("is", "exists"), _THERE),
    "not": "write !key or key!=value instead of {}",
    "between": "{} is not supported: write key>=1 key<=2",
}
"""What joins or makes conditions in other languages, in lower case; here it would be a key that nobody has."""

_SIGN = re.compile(r"[*?^$&|,;'{}()\[\]≠≤≥≈]")
"""What is in conditions of other languages and in hardly a key: ``key*=x``, ``{key=x}``, ``key≥x``."""

_HOW = 'write key=value, key="some value", key!=value, key>500, key~expression, key or !key'
_DURATION = "duration"

Texts = Iterable[str]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on the values of a key that is more than one exact value.

    Attributes:
        key: the tag's.
        operator: ``=``, ``!=``, ``>``, ``>=``, ``<``, ``<=``, ``~``, ``has`` or ``lacks``.
        value: what to compare with.
        wild: whether ``*`` in the value stands for any text.
    """

    key: str
    operator: str
    value: str = ""
    wild: bool = False


@dataclass(frozen=True, slots=True)
class Conditions:
    """What was read, as :class:`~causal_otel.collector.query.Query` has it."""

    tags: tuple[tuple[str, str], ...] = ()
    conditions: tuple[Condition, ...] = ()
    shortest: int | None = None
    longest: int | None = None

    def within(self, shortest: int | None, longest: int | None) -> tuple[int | None, int | None]:
        """The narrower of these durations and others, in nanoseconds."""
        least = [each for each in (self.shortest, shortest) if each is not None]
        most = [each for each in (self.longest, longest) if each is not None]
        return max(least, default=None), min(most, default=None)


def parse(text: str) -> Conditions:
    """Read conditions with spaces between them.

    Raises:
        ValueError: They cannot be understood, or what they ask for is not supported. The message says what to write.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"tags are at most {_LONGEST} characters; these are {len(text)}")
    found = []
    rest = text.strip()
    while rest:
        condition, rest = _first(rest, to_the_end=False)
        found.append(condition)
    return merged(found)


def parse_one(text: str) -> Conditions:
    """Read one condition whose value, if it is not quoted, goes to the end: it may have spaces.

    Raises:
        ValueError: see :func:`parse`.
    """
    condition, rest = _first(text.strip(), to_the_end=True)
    if rest:
        raise ValueError(f"{_HOW}; not understood: {rest[:40]}")
    return condition


def merged(several: Iterable[Conditions]) -> Conditions:
    """All of them together."""
    whole = Conditions()
    for each in several:
        whole = Conditions(
            whole.tags + each.tags, whole.conditions + each.conditions, *each.within(whole.shortest, whole.longest)
        )
    return whole


def operation(text: str) -> tuple[str | None, str | None]:
    """Read what a span's name is asked to be: exactly this if it is in quotes, else something like it.

    Returns:
        The name, and what it is to be like, for :func:`is_like`; None for what was not asked.

    Raises:
        ValueError: A quote is not closed.
    """
    if not text.strip():
        return None, None
    if not text.startswith('"'):
        return None, text.strip()
    match = re.fullmatch(_QUOTED, text.strip(), re.DOTALL)
    if match is None:
        raise ValueError('write a name in quotes, as in "GET /orders", or a part of it without')
    return _ESCAPE.sub(r"\1", match[1]), None


def quoted(text: str) -> str:
    """A text as it is written to be taken exactly."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def is_like(like: str, name: str) -> bool:
    """Whether a name is like this: has it in it or, where it has ``*``, is it; capitals or not are the same."""
    wanted, found = like.casefold(), name.casefold()
    return _is_wild(wanted, found) if "*" in wanted else wanted in found


def holds(condition: Condition, texts: Texts) -> bool:
    """Whether a condition holds for a span with these values of its key, as :func:`.attributes.text` writes them."""
    return _test(condition)(texts)


def _first(text: str, *, to_the_end: bool) -> tuple[Conditions, str]:
    """The first condition of a text that begins with one, and what follows it."""
    key_match = _KEY.match(text)
    if key_match is None or text.startswith("("):
        raise ValueError(f"{_HOW}; not understood as tags: {text[:40]}")
    absent, quoted, bare = key_match.groups()
    key = bare if quoted is None else _ESCAPE.sub(r"\1", quoted)
    if quoted is None and bare.lower() not in _WORDS and (sign := _SIGN.search(bare)):
        raise ValueError(f"{bare[:40]} is no key, because of {sign[0]}; if it is one, quote it; else {_HOW}")
    at = key_match.end()
    operator_match = _OPERATOR.match(text, at)
    if operator_match is None or (operator_match[1] and operator_match[2] == "!"):
        if at < len(text) and not text[at].isspace():
            raise ValueError(f"{_HOW}; not understood as tags: {text[:40]}")
        return _alone(key, bool(absent), quoted is not None), text[at:].lstrip()
    before, operator, _ = operator_match.groups()
    if operator not in _OPERATORS:
        hint = _INSTEAD.get(operator)
        raise ValueError(
            f"{operator} is not supported: write {hint}" if hint else f"{operator} is none of {' '.join(_OPERATORS)};"
            ' a value that begins with such a sign is quoted, as in key="=value"'
        )  # fmt: skip
    if absent:
        raise ValueError(f"write {key}!=value, or !{key} alone for spans without the key, not !{key}{operator}")
    if operator == "=" and before:
        raise ValueError("write no spaces around =; these are no tags")
    # An empty value is nothing: what follows the space is the next condition.
    at = operator_match.end() if operator != "=" or to_the_end else operator_match.start(3)
    if to_the_end and not text.startswith('"', at):
        value, quoted_value, end = text[at:], None, len(text)
    else:
        value_match = _VALUE.match(text, at)
        if value_match is None:
            raise ValueError(f"{_HOW}; not understood as tags: {text[:40]}")
        quoted_value, value = value_match.groups()
        end = value_match.end()
    if quoted_value is not None:
        value = _ESCAPE.sub(r"\1", quoted_value)
    elif value.startswith("'"):
        raise ValueError(f'{value[:40]}: quotes are double, as in {key}{operator}"some value"')
    elif value[-1:] in (",", ";") and end < len(text):
        raise ValueError(f"{_ALL_HOLD.format(value[-1])}; or quote the value")
    elif not value and operator != "=":
        raise ValueError(f'nothing follows {key}{operator}; write {key}{operator}"" for an empty value')
    return _compared(key, operator, value, quoted is not None, quoted_value is not None), text[end:].lstrip()


def _alone(key: str, absent: bool, quoted: bool) -> Conditions:
    if not quoted and (hint := _WORDS.get(key.lower())):
        raise ValueError(hint.format(key))
    if not quoted and key[0].isdigit():
        raise ValueError(f"{key} is no key: write tags as key={key}, without spaces")
    if not quoted and ":" in key:
        name, _, value = key.partition(":")
        raise ValueError(
            f'{key[:40]}: write {name[:40]}={value[:40] or "value"}, or "{key[:40]}" for a key of that name'
        )
    if key == "error" and not absent:
        return Conditions(tags=(("error", "true"),))
    return Conditions(conditions=(Condition(key, "lacks" if absent else "has"),))


def _compared(key: str, operator: str, value: str, quoted_key: bool, quoted: bool) -> Conditions:
    if key == _DURATION and not quoted_key and (of_span := _of_span(operator, value)):
        return of_span
    if operator in _ORDERS:
        if _number(value) is None and _seconds(value) is None:
            raise ValueError(f"{operator} compares numbers: write one, as in {key}{operator}500 or {key}{operator}20ms")
    elif operator == "~":
        try:
            Pattern(value)
        except ValueError as error:
            raise ValueError(f"{key}~{value[:40]}: {error}") from None
    elif operator == "=" and value == "*" and not quoted:
        return Conditions(conditions=(Condition(key, "~", ""),))
    elif operator == "!=" and value == "*" and not quoted:
        raise ValueError(f"write !{key} for spans without the key")
    wild = operator in ("=", "!=") and not quoted and "*" in value
    if operator == "=" and not wild and not _is_other_number(value):
        return Conditions(tags=((key, value),))
    return Conditions(conditions=(Condition(key, operator, value, wild),))


def _of_span(operator: str, value: str) -> Conditions | None:
    """A condition on how long the span took; None: it is one on a tag of that name."""
    took = _nanoseconds(value)
    if operator == "=" and took is None:
        return None
    if took is None or operator not in (*_ORDERS, "="):
        raise ValueError(
            'duration takes > >= < <= or = and a unit, as in duration>100ms; write "duration" for a tag of that name'
        )
    shortest = {">": took + 1, ">=": took, "=": took}.get(operator)
    longest = {"<": took - 1, "<=": took, "=": took}.get(operator)
    return Conditions(shortest=shortest, longest=longest)


def _is_other_number(text: str) -> bool:
    """Whether there may be numbers that are equal to this one and are written another way."""
    number = _number(text)
    return number is not None and (isinstance(number, float) or str(number) != text)


@lru_cache(maxsize=256)
def _test(condition: Condition) -> Callable[[Texts], bool]:
    operator, value = condition.operator, condition.value
    if operator == "has":
        return lambda texts: any(text != "false" for text in texts)
    if operator == "lacks":
        return lambda texts: all(text == "false" for text in texts)
    if operator == "~":
        found_in = Pattern(value).found_in
        return lambda texts: any(map(found_in, texts))
    if operator in _ORDERS:
        return _ordered(_ORDERS[operator], value)
    equal = (lambda text: _is_wild(value, text)) if condition.wild else _equal(value)
    if operator == "=":
        return lambda texts: any(map(equal, texts))
    return lambda texts: bool(texts) and not any(map(equal, texts))


def _equal(value: str) -> Callable[[str], bool]:
    if not _is_other_number(value):
        return lambda text: text == value
    number = _number(value)
    return lambda text: text == value or _number(text) == number


def _ordered(compare: Callable[[float, float], bool], value: str) -> Callable[[Texts], bool]:
    plain = _number(value)
    wanted = _seconds(value) if plain is None else plain
    assert wanted is not None  # it was read before

    def is_so(text: str) -> bool:
        number = _number(text)
        if number is None and plain is None:
            number = _seconds(text)
        return number is not None and compare(number, wanted)

    return lambda texts: any(map(is_so, texts))


def _number(text: str) -> int | float | None:
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdecimal() else float(text)


def _nanoseconds(text: str) -> int | None:
    try:
        return parse_duration(text) if len(text) <= _LONGEST_NUMBER else None
    except ValueError:
        return None


def _seconds(text: str) -> float | None:
    nanoseconds = _nanoseconds(text)
    return None if nanoseconds is None else nanoseconds / 1e9


def _is_wild(wanted: str, text: str) -> bool:
    """Whether a text is as ``wanted`` says, in which each ``*`` stands for any text, in one pass."""
    begin, *parts, end = wanted.split("*")
    at, until = len(begin), len(text) - len(end)
    if until < at or not (text.startswith(begin) and text.endswith(end)):
        return False
    for part in parts:
        found = text.find(part, at, until)
        if found < 0:
            return False
        at = found + len(part)
    return True
