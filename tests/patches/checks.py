"""What holds for every patch alike."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import wrapt

from causal_otel.instrument.declaration import Wrap

if TYPE_CHECKING:
    from causal_otel.instrument.declaration import Patch

__all__ = ["originals", "placed"]


def originals(patch: Patch) -> dict[str, Any]:
    """What stands in the class's ``__dict__`` at every attribute that ``patch`` replaces (None: inherited)."""
    found = {}
    for target in patch.targets:
        if isinstance(target, Wrap):
            try:
                owner, attribute, _ = wrapt.resolve_path(importlib.import_module(target.module), target.attribute)
            except (AttributeError, ImportError):
                continue
            found[f"{target.module}.{target.attribute}"] = vars(owner).get(attribute)
    return found


def placed(patch: Patch, before: dict[str, Any]) -> bool:
    """Whether every one of ``before`` has been replaced."""
    now = originals(patch)
    return bool(before) and all(now[name] is not original for name, original in before.items())
