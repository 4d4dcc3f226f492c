"""What a library does through a driver on its own account, such as Celery's broker and its result backend.

Its commands look like anybody's, so the driver's patch marks the clients that the library makes for itself with their
owner. They begin no trace. The library's patch may want nothing recorded of them inside a trace either: it says so
here, and the driver's patch asks once a call.

No context says that: what a callback of the user's does in the middle of such a call, or a receiver of a signal, is the
user's, and it is traced.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["BROKER", "RESULT_BACKEND", "Role", "role_of", "silent"]

BROKER = "celery broker"
RESULT_BACKEND = "celery result backend"

Role = Literal["background", "silent"] | None
"""What is recorded of a client: inside a trace only (``background``), nothing (``silent``), or everything (None)."""

silent: set[str] = set()
"""The owners of whose clients nothing is recorded."""


def role_of(owner: str) -> Role:
    """What is recorded of a client whose owner is a library."""
    return "silent" if owner in silent else "background"
