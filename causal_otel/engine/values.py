"""Attribute values, copied if the caller could change them later."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from causal_otel.engine.redaction import Sanitised

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCALARS", "frozen", "frozen_dict"]

SCALARS = frozenset({str, Sanitised, bool, int, float, bytes, type(None)})
"""Types whose values nobody can change."""


def frozen(value: Any) -> Any:
    """``value``, or a copy of it that the caller cannot change."""
    if type(value) in SCALARS:
        return value
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    return copy.deepcopy(value)


def frozen_dict(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``attributes`` that the caller cannot change, nor what is in it."""
    try:
        hash((*attributes.values(),))  # what can be hashed cannot be changed; faster than looking at each type
        return attributes.copy()  # type: ignore[attr-defined, no-any-return]  # nearly always a dict
    except (TypeError, AttributeError):
        return {key: frozen(value) for key, value in attributes.items()}
