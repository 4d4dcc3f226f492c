"""Waiting for what others are about to do, for a minute at the most."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["eventually"]


def eventually(condition: Callable[[], Any]) -> Any:
    """What ``condition`` returns, once that is true."""
    deadline = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.01)
    return value
