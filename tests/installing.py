"""What the tests of install() share: programs of their own, and what patches replace."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.registry import BUILT_IN
from tests.faults.programs import run

__all__ = ["patched", "run_strictly"]


def run_strictly(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, in which warnings are errors: the global provider can be set only once in a process."""
    return run(code, seconds=60.0, options=("-W", "error"), **environ)


def patched() -> dict[str, Any]:
    """Every attribute that any patch may replace, of the modules that are imported."""
    found = {}
    for name in BUILT_IN:
        for target in BUILT_IN[name].load().targets:
            module = sys.modules.get(target.module)
            if isinstance(target, Wrap) and module is not None:
                owner, _, attribute = target.attribute.rpartition(".")
                holder = module
                for part in filter(None, owner.split(".")):
                    holder = getattr(holder, part, None)  # type: ignore[assignment]
                found[f"{target.module}.{target.attribute}"] = vars(holder).get(attribute) if holder else None
    return found
