"""Which asyncio task runs, asked for in two calls of C and without an exception where none does.

``asyncio.current_task()`` raises outside of a loop, and before Python 3.12 it is five times slower.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import tasks
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["current_task", "running_loop", "task_of"]

running_loop = asyncio._get_running_loop
"""The event loop that runs in this thread; None: none does."""


def _task_of(loop: Any) -> asyncio.Task[Any] | None:
    """The same since Python 3.14, where asyncio's dict is there but empty."""
    return None if loop is None else asyncio.current_task(loop)


task_of: Callable[[Any], asyncio.Task[Any] | None] = (
    tasks._current_tasks.get if sys.version_info < (3, 14) else _task_of  # type: ignore[attr-defined]
)
"""The task that runs on a loop, if any."""


def current_task() -> asyncio.Task[Any] | None:
    """The asyncio task that runs in this thread, if any."""
    return task_of(running_loop())
