"""Looks for the strings of a query in the bytes of serialized spans, so that most spans need not be parsed.

Protobuf stores a string as its bytes. A span without the bytes of a name does not have this name, and a span without
the bytes of a key has no tag with this key. The same holds for the value of a tag if only a string, or bytes in Base64,
can have this text. Where numbers can have it, and for conditions, the values of the key are compared, see
:mod:`.raw_values`. Conditions that ask for spans without a key cannot be tested this way.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from functools import partial
from operator import eq
from typing import TYPE_CHECKING

from causal_otel.collector.conditions import holds
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
    from collections.abc import Callable, Collection, Iterable, Mapping

    from causal_otel.collector.conditions import Condition
    from causal_otel.collector.query import Query
    from causal_otel.collector.store.chunks import Group

__all__ = ["Literals"]

_FIELDS = frozenset({"error", OTEL_SCOPE_NAME, OTEL_SCOPE_VERSION, OTEL_STATUS_CODE, SPAN_KIND})
"""Tags whose value is not a string in the span."""
_UNNAMED = _FIELDS | {"event", OTEL_STATUS_DESCRIPTION, W3C_TRACESTATE}
"""Tags whose key is not a string in the span."""
_OTHER_TEXTS = frozenset({"", "true", "false"})


class Literals:
    """What must be among the bytes of a span that satisfies a query.

    Args:
        query: the query.
        resource_tags: what the resources of the day in question have, by their ids.
        resources: the ids of those whose spans are wanted; None: of all.
    """

    def __init__(
        self,
        query: Query,
        resource_tags: Mapping[int, frozenset[tuple[str, str]]],
        resources: Collection[int] | None = None,
    ) -> None:
        self._resources = resources
        # The resources whose spans need not have it, and what tells whether all others may by their bytes.
        self._wanted: list[tuple[frozenset[int], Callable[[bytes], bool]]] = []
        if query.operation is not None:
            self._wanted.append((frozenset(), partial(_has_one, [query.operation.encode()])))
        for tag in query.tags:
            having = frozenset(resource for resource, tags in resource_tags.items() if tag in tags)
            self._wanted += [(having, test) for test in _tests_of_tag(*tag)]
        for condition in query.conditions:
            if condition.key not in _UNNAMED and condition.operator != "lacks":
                having = frozenset(
                    each for each, tags in resource_tags.items() if any(key == condition.key for key, _ in tags)
                )
                self._wanted.append((having, RawValues(condition.key, partial(_holds_for, condition)).may_be_in))
        # What no resource has instead.
        self._always = [test for having, test in self._wanted if not having]

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def may_be_in(self, content: bytes) -> bool:
        """Whether there may be such a span in a chunk, by its content."""
        return _passes(content, self._always)

    def narrowed(self, groups: Iterable[Group]) -> list[Group]:
        """The groups of a chunk with those spans only that may satisfy the query."""
        narrowed = []
        for resource, scope, spans in groups:
            if self._resources is not None and resource not in self._resources:
                continue
            wanted = [test for having, test in self._wanted if resource not in having]
            if _passes(spans, wanted):
                some = [raw for raw in raw_spans(spans) if _passes(raw, wanted)]
                if some:
                    narrowed.append((resource, scope, spans_field(some)))
        return narrowed


def _passes(content: bytes, tests: Iterable[Callable[[bytes], bool]]) -> bool:
    for test in tests:  # noqa: SIM110 - a generator would take half as long as a test
        if not test(content):
            return False
    return True


def _has_one(forms: Iterable[bytes], content: bytes) -> bool:
    return any(form in content for form in forms)


def _holds_for(condition: Condition, text: str) -> bool:
    """Whether a value satisfies a condition: one of those that do must be there."""
    return holds(condition, (text,))


def _tests_of_tag(key: str, text: str) -> list[Callable[[bytes], bool]]:
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
