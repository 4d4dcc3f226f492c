"""A look at the bytes of a chunk, before its spans are made out of them: many a chunk need not be.

A string is in a chunk as it is. So a chunk has no span with a tag whose text can only be a string's (or the Base64 of
bytes) if neither is among its bytes.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from causal_otel.collector.store.chunks import Group

__all__ = ["Literals"]

_ELSEWHERE = frozenset({"error", "otel.scope.name", "otel.scope.version", "otel.status_code", "span.kind"})
"""Tags that are made of something else than a string in the span."""
_OTHER_TEXTS = frozenset({"", "true", "false"})


class Literals:
    """What must be among the bytes of a chunk that satisfies all of some tags.

    Args:
        tags: keys and texts.
    """

    def __init__(self, tags: Iterable[tuple[str, str]]) -> None:
        self._wanted = [(tag, forms) for tag in tags if (forms := _forms(*tag))]

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def may_match(self, groups: Iterable[Group], resource_tags: Mapping[int, frozenset[tuple[str, str]]]) -> bool:
        """Whether a span of the chunk may have all the tags.

        Args:
            groups: the chunk's.
            resource_tags: what the day's resources have, by their ids.
        """
        return any(
            all(
                any(form in spans for form in forms) or tag in resource_tags.get(resource, ())
                for tag, forms in self._wanted
            )
            for resource, _, spans in groups
        )


def _forms(key: str, text: str) -> list[bytes]:
    """The bytes of which a chunk has some if a span of it has the tag; none if that cannot be told."""
    if key in _ELSEWHERE or text in _OTHER_TEXTS or text[0] in "[{" or _is_number(text):
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
