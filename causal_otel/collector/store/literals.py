"""Looks for the strings of a query in the bytes of serialized spans, so that most spans need not be parsed.

Protobuf stores a string as its bytes. A span without the bytes of a name does not have this name, and a span without
the bytes of a key has no tag with this key. The same holds for the value of a tag if only a string, or bytes in Base64,
can have this text. Where numbers can have it, and for other comparisons, the values of the key are compared, see
:mod:`.raw_values`. What satisfies one of several alternatives passes the tests of one. Where spans are asked for that
lack something, nothing can be told.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import eq, ne
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.conditions import holds, is_exact
from causal_otel.collector.expressions import And, Compare, Expression, Field, Has, Not, Or, conjuncts
from causal_otel.collector.store.chunks import raw_spans, spans_field
from causal_otel.collector.store.raw_values import RawValues
from causal_otel.names import (
    OTEL_SCOPE_NAME,
    OTEL_SCOPE_VERSION,
    OTEL_STATUS_CODE,
    OTEL_STATUS_DESCRIPTION,
    SPAN_KIND,
    W3C_TRACESTATE,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from causal_otel.collector.store.chunks import Group

__all__ = ["Literals"]

_FIELDS = frozenset({"error", OTEL_SCOPE_NAME, OTEL_SCOPE_VERSION, OTEL_STATUS_CODE, SPAN_KIND})
"""Tags whose value is not a string in the span."""
_UNNAMED = _FIELDS | {"event", OTEL_STATUS_DESCRIPTION, W3C_TRACESTATE}
"""Tags whose key is not a string in the span."""
_OTHER_TEXTS = frozenset({"", "true", "false"})
_NO_RESOURCE = -1


_Test = Callable[[bytes], bool]


class _Leaf(NamedTuple):
    """A comparison.

    Attributes:
        having: the resources whose spans need not have in their bytes what it asks for.
        tests: what the bytes of all other spans pass that satisfy it; none: nothing can be told.
    """

    having: frozenset[int]
    tests: list[_Test]


class _All(NamedTuple):
    parts: list[_Part]


class _Any(NamedTuple):
    parts: list[_Part]


_Part = _Leaf | _All | _Any


class Literals:
    """What must be among the bytes of a span that satisfies an expression.

    Args:
        expression: which one, as :func:`~causal_otel.collector.expressions.normalised` makes it; None: any span does.
        resource_tags: what the resources of the day in question have, by their ids.
        resources: the ids of those whose spans are wanted; None: of all.
    """

    def __init__(
        self,
        expression: Expression | None,
        resource_tags: Mapping[int, frozenset[tuple[str, str]]],
        resources: Collection[int] | None = None,
    ) -> None:
        self._resources = resources
        self._resource_tags = resource_tags
        self._wanted = _All([self._part(each) for each in conjuncts(expression)])
        self._of_resource: dict[int, list[_Test]] = {}
        # What no resource has instead.
        self._always = _tests(self._wanted, None)
        self._tells = bool(_tests(self._wanted, _NO_RESOURCE))

    def __bool__(self) -> bool:
        return self._tells

    def may_be_in(self, content: bytes) -> bool:
        """Whether there may be such a span in a chunk, by its content."""
        return _passes(content, self._always)

    def narrowed(self, groups: Iterable[Group]) -> list[Group]:
        """The groups of a chunk with those spans only that may satisfy the expression."""
        narrowed = []
        for resource, scope, spans in groups:
            if self._resources is not None and resource not in self._resources:
                continue
            wanted = self._of_resource.get(resource)
            if wanted is None:
                wanted = self._of_resource[resource] = _tests(self._wanted, resource)
            if _passes(spans, wanted):
                some = [raw for raw in raw_spans(spans) if _passes(raw, wanted)]
                if some:
                    narrowed.append((resource, scope, spans_field(some)))
        return narrowed

    def _part(self, expression: Expression) -> _Part:
        if isinstance(expression, And):
            return _All([self._part(each) for each in expression.parts])
        if isinstance(expression, Or):
            return _Any([self._part(each) for each in expression.parts])
        if isinstance(expression, Field):
            return _Leaf(frozenset(), _tests_of_field(expression))
        if isinstance(expression, Compare) and expression.operator == "=" and is_exact(expression):
            tag = expression.key, expression.value
            return _Leaf(self._having(lambda tags: tag in tags), _tests_of_tag(*tag))
        if isinstance(expression, Not) or expression.key in _UNNAMED:
            return _Leaf(frozenset(), [])
        key = expression.key
        satisfies = partial(ne, "false") if isinstance(expression, Has) else partial(_holds_for, expression)
        having = self._having(lambda tags: any(each == key for each, _ in tags))
        return _Leaf(having, [RawValues(key, satisfies).may_be_in])

    def _having(self, has: Callable[[frozenset[tuple[str, str]]], bool]) -> frozenset[int]:
        return frozenset(resource for resource, tags in self._resource_tags.items() if has(tags))


def _tests(part: _Part, resource: int | None) -> list[_Test]:
    """What the bytes of all spans pass that satisfy a part.

    Args:
        part: which one.
        resource: whose spans; None: of any, many of them together.
    """
    if isinstance(part, _Leaf):
        had = bool(part.having) if resource is None else resource in part.having
        return [] if had else part.tests
    if isinstance(part, _All):
        return [test for each in part.parts for test in _tests(each, resource)]
    choices = [_tests(each, resource) for each in part.parts]
    return [partial(_passes_one, choices)] if all(choices) else []


def _passes_one(choices: Iterable[list[_Test]], content: bytes) -> bool:
    return any(_passes(content, tests) for tests in choices)


def _tests_of_field(compared: Field) -> list[_Test]:
    if compared.name != "operation" or compared.operator != "=":
        return []
    parts = compared.value.split("*") if compared.wild else [compared.value]
    return [partial(_has_one, [part.encode("utf-8", "surrogatepass")]) for part in parts if part]


def _passes(content: bytes, tests: Iterable[Callable[[bytes], bool]]) -> bool:
    for test in tests:  # noqa: SIM110 - a generator would take half as long as a test
        if not test(content):
            return False
    return True


def _has_one(forms: Iterable[bytes], content: bytes) -> bool:
    return any(form in content for form in forms)


def _holds_for(compared: Compare, text: str) -> bool:
    """Whether a value satisfies a comparison: one of those that do must be there."""
    return holds(compared, (text,))


def _tests_of_tag(key: str, text: str) -> list[_Test]:
    """What all bytes pass that have the tag."""
    forms = _forms(key, text)
    if not forms:
        return [] if key in _UNNAMED else [RawValues(key, partial(eq, text)).may_be_in]
    named = [] if key in _UNNAMED else [[key.encode("utf-8", "surrogatepass")]]
    return [partial(_has_one, each) for each in (*named, forms)]


def _forms(key: str, text: str) -> list[bytes]:
    """The bytes of which a span has some if it has the tag; none if that cannot be told."""
    if key in _FIELDS or text in _OTHER_TEXTS or text[0] in "[{" or _is_number(text):
        return []
    try:
        forms = [text.encode()]
    except UnicodeEncodeError:
        return []
    with suppress(ValueError):
        forms.append(base64.b64decode(text, validate=True))
    return forms


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
