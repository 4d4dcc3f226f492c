"""Which asyncio task runs, asked for in two calls of C and without an exception where none does.

``asyncio.current_task()`` raises outside of a loop, and before Python 3.12 it is five times slower.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import tasks
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["current_task", "running_loop", "tasks_by_loop"]

running_loop = asyncio._get_running_loop
"""The event loop that runs in this thread; None: none does."""


class _Asked:
    """As asyncio's dict, for Python 3.14 and newer: the dict is there, but it is empty."""

    def get(self, loop: Any) -> Any:
        return None if loop is None else asyncio.current_task(loop)


tasks_by_loop: Mapping[Any, asyncio.Task[Any]] | _Asked = (
    tasks._current_tasks if sys.version_info < (3, 14) else _Asked()  # type: ignore[attr-defined]
)
"""The task that runs on each loop."""


def current_task() -> asyncio.Task[Any] | None:
    """The asyncio task that runs in this thread, if any."""
    return tasks_by_loop.get(running_loop())
