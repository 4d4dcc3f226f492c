"""What holds for every patch alike."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import wrapt

from causal_otel.instrument.declaration import Wrap
from tests.recording import recording

if TYPE_CHECKING:
    from causal_otel.instrument.declaration import Patch

__all__ = ["assert_undone", "originals"]


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


def assert_undone(patch: Patch) -> None:
    """Assert that installing replaces every one of them, and that afterwards each is the very object again.

    A target that is optional may be left alone, such as one that is there for the metrics of pools.
    """
    optional = {f"{each.module}.{each.attribute}" for each in patch.targets if isinstance(each, Wrap) and each.optional}
    before = originals(patch)
    assert before
    with recording([patch.name]):
        now = originals(patch)
        assert all(now[name] is not original for name, original in before.items() if name not in optional)
    after = originals(patch)
    assert after.keys() == before.keys()
    assert all(after[name] is original for name, original in before.items())
