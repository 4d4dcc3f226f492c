"""Tracing by the environment alone: what the files ``causal_otel_auto.pth`` and ``causal_otel_auto.start`` call.

Python reads them at its start, wherever they lie in ``site-packages``: the first one up to 3.14, the second one from
3.15 on (PEP 829). Without ``CAUSAL_OTEL_AUTO`` the first one does not even import this module.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["start", "start_after_site"]


def start() -> None:
    """Trace this process, if ``CAUSAL_OTEL_AUTO`` says so. Raises nothing."""
    if not os.environ.get("CAUSAL_OTEL_AUTO"):
        return
    try:
        from _causal_otel_start import start
    except ImportError as error:
        if sys.stderr is not None:
            print(f"causal_otel: nothing is traced: {error}", file=sys.stderr)
    else:
        start()


class _AfterSite:
    """A finder that finds nothing. Python asks it for ``sitecustomize`` when all ``.pth`` files are read."""

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name == "sitecustomize":
            sys.meta_path.remove(cls)
            start()


def start_after_site() -> None:
    """:func:`start` as soon as ``sys.path`` is complete: a ``.pth`` file is read before it is, in a venv even twice."""
    if _AfterSite not in sys.meta_path:
        sys.meta_path.insert(0, _AfterSite)
