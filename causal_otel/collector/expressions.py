"""What a search asks of a span, as a tree: comparisons, joined by ``And``, ``Or`` and ``Not``.

All of a tree is about one and the same span. :mod:`.query_line` reads trees from text, :mod:`.matching` decides whether
a span satisfies one, and the store takes out of it what its tables and indexes can tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

from causal_otel.collector.systems import OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.collector.query import Query

__all__ = [
    "ERROR",
    "FIELDS",
    "And",
    "Compare",
    "Expression",
    "Field",
    "Has",
    "Not",
    "Or",
    "all_of",
    "conjuncts",
    "folded",
    "leaves",
    "normalised",
    "only_service",
    "quoted",
    "tags",
    "whole",
    "written",
    "written_key",
    "written_value",
]

FIELDS = ("service", "operation", "kind", "system", "status", "duration", "root")
"""What every span has exactly one value of, beside its tags."""


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison of the values of a tag; ``!=`` holds if there is one, and none that ``=`` would find.

    Attributes:
        key: the tag's.
        operator: ``=``, ``!=``, ``>``, ``>=``, ``<``, ``<=`` or ``~``.
        value: what to compare with.
        wild: whether each ``*`` in the value stands for any text.
    """

    key: str
    operator: str
    value: str
    wild: bool = False


@dataclass(frozen=True, slots=True)
class Has:
    """The span has the tag with another value than ``false``."""

    key: str


@dataclass(frozen=True, slots=True)
class Field:
    """A comparison of one of :data:`FIELDS`.

    Attributes:
        name: which one.
        operator: as of :class:`Compare`; besides ``like``, see :func:`.conditions.is_like`.
        value: what to compare with; of ``duration`` one with a unit.
        wild: as of :class:`Compare`.
    """

    name: str
    operator: str
    value: str
    wild: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    """The span does not satisfy the part."""

    part: Expression


@dataclass(frozen=True, slots=True)
class And:
    """The span satisfies all parts."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """The span satisfies one of the parts, or several."""

    parts: tuple[Expression, ...]


Expression = Compare | Has | Field | Not | And | Or

ERROR = Compare("error", "=", "true")
"""What ``error`` alone stands for."""

_LONGEST = 2**63 - 1
"""The longest duration that there is, in nanoseconds."""

_OPPOSITES = {"=": "!=", "!=": "=", ">": "<=", "<=": ">", "<": ">=", ">=": "<"}
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_PLAIN_VALUE = re.compile(r"[\w./:@+-]+", re.ASCII)
_NAMED_OTHERWISE = frozenset((*FIELDS, "name", "error", "log", "and", "or", "not", "in", "like", "ilike", "is"))
_MORE_WORDS = frozenset(("contains", "matches", "regexp", "exists", "between"))


def all_of(*several: Expression | None) -> Expression | None:
    """All of them together; None: nothing is asked."""
    parts = tuple(each for each in several if each is not None)
    return None if not parts else parts[0] if len(parts) == 1 else And(parts)


def tags(pairs: Iterable[tuple[str, str]]) -> Expression | None:
    """All of these tags, by keys and values."""
    return all_of(*(Compare(key, "=", value) for key, value in pairs))


def whole(query: Query) -> Expression | None:
    """All that a query asks of a span besides its time, in the form of :func:`normalised`."""
    asked: list[Expression | None] = [query.where]
    for name in ("service", "operation", "kind", "system"):
        value = getattr(query, name)
        # Any span may be of the system that stands for all others.
        if value is not None and not (name == "system" and value == OTHERS):
            asked.append(Field(name, "=", value))
    if query.operation_like is not None:
        asked.append(Field("operation", "like", query.operation_like))
    if query.errors:
        asked.append(Field("status", "=", "error"))
    if query.shortest is not None and query.shortest > 0:
        asked.append(Field("duration", ">=", f"{min(query.shortest, _LONGEST)}ns"))
    if query.longest is not None and query.longest < _LONGEST:
        # No span is shorter than 0.
        asked.append(Field("duration", "<=" if query.longest >= 0 else "<", f"{max(0, query.longest)}ns"))
    together = all_of(*asked)
    return None if together is None else normalised(together)


def folded(query: Query) -> tuple[Query, dict[str, str], bool]:
    """A query for a back end that knows fields and exact tags only.

    Returns:
        The query, with the fields that its expression asks for in any case; the tags that it asks for in any case; and
        whether these are all that the expression says.
    """
    asked: dict[str, str] = {}
    all_said = True
    for part in conjuncts(None if query.where is None else normalised(query.where)):
        if isinstance(part, Compare) and part.operator == "=" and not part.wild and part.key not in asked:
            asked[part.key] = part.value
        elif (
            isinstance(part, Field)
            and part.name in ("service", "operation")
            and (part.operator, part.wild) == ("=", False)
            and getattr(query, part.name) is None
        ):
            query = replace(query, **{part.name: part.value})  # type: ignore[arg-type]
        elif part == Field("status", "=", "error"):
            query = replace(query, errors=True)
        else:
            all_said = False
    return query, asked, all_said


def normalised(expression: Expression, *, negated: bool = False) -> Expression:
    """The same without ``Not`` but before a tag or a pattern, and with no ``And`` directly in one, nor ``Or``.

    Args:
        expression: which one.
        negated: give its opposite.
    """
    if isinstance(expression, Not):
        return normalised(expression.part, negated=not negated)
    if isinstance(expression, And | Or):
        kind = And if isinstance(expression, And) is not negated else Or
        parts: list[Expression] = []
        for each in expression.parts:
            part = normalised(each, negated=negated)
            parts += part.parts if isinstance(part, kind) else [part]
        return parts[0] if len(parts) == 1 else kind(tuple(parts))
    if negated and isinstance(expression, Field) and (opposite := _OPPOSITES.get(expression.operator)):
        return replace(expression, operator=opposite)
    return Not(expression) if negated else expression


def conjuncts(expression: Expression | None) -> tuple[Expression, ...]:
    """What all has to hold for a normalised expression to hold."""
    return () if expression is None else expression.parts if isinstance(expression, And) else (expression,)


def only_service(expression: Expression | None) -> str | None:
    """The service whose spans alone can satisfy a normalised expression; None: of any."""
    for part in conjuncts(expression):
        if isinstance(part, Field) and (part.name, part.operator, part.wild) == ("service", "=", False):
            return part.value
    return None


def leaves(expression: Expression | None) -> list[Compare | Has | Field]:
    """The comparisons in an expression."""
    if expression is None:
        return []
    if isinstance(expression, Not):
        return leaves(expression.part)
    if isinstance(expression, And | Or):
        return reduce(lambda found, part: found + leaves(part), expression.parts, [])
    return [expression]


def written(expression: Expression) -> str:
    """The text that :mod:`.query_line` reads as this.

    Raises:
        ValueError: There is none, since ``like`` is in it.
    """
    if isinstance(expression, And):
        return " ".join(_grouped(each, And | Or) for each in expression.parts)
    if isinstance(expression, Or):
        return " OR ".join(_grouped(each, Or) for each in expression.parts)
    if isinstance(expression, Not):
        return f"!{_grouped(expression.part, And | Or | Not)}"
    if expression == ERROR:
        return "error"
    if isinstance(expression, Has):
        return written_key(expression.key)
    if isinstance(expression, Field):
        if expression.operator == "like":
            raise ValueError("a part of a name cannot be written as a condition")
        return f"{expression.name}{expression.operator}{written_value(expression.value, expression.wild)}"
    return f"{written_key(expression.key)}{expression.operator}{written_value(expression.value, expression.wild)}"


def quoted(text: str) -> str:
    """A text as it is written to be taken exactly."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _grouped(expression: Expression, kinds: object) -> str:
    text = written(expression)
    return f"({text})" if isinstance(expression, kinds) else text  # type: ignore[arg-type]


def written_key(key: str) -> str:
    """The key of a tag as a line has it: in quotes where it would be read as something else."""
    plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _NAMED_OTHERWISE | _MORE_WORDS
    return key if plain else quoted(key)


def written_value(value: str, wild: bool = False) -> str:
    """A value as a line has it; ``wild``: each ``*`` in it stands for any text."""
    if wild:
        return "*".join(written_value(part, False) if part else "" for part in value.split("*"))
    return value if _PLAIN_VALUE.fullmatch(value) else quoted(value)
