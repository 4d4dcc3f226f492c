"""Whose wait it is: one inside a driver's call is told by the driver's own patch, as a part of that call.

asyncpg's pool waits in an ``asyncio.Queue``, redis-py's in an ``asyncio.Condition``, anyio's threads behind a
``CapacityLimiter``. Who has waited is read from the frames: when a coroutine goes on, all that await it are on the
stack. That is looked at for waits alone that took a while.
"""

from __future__ import annotations

import sys

from causal_otel.instrument.applying import at_work

__all__ = ["is_told_elsewhere"]

_AWAITABLE = 0x20 | 0x80 | 0x100 | 0x200  # generators, coroutines, those of types.coroutine, asynchronous generators
_MOST_FRAMES = 16

_PATCHES = {
    **{name: name for name in ("aiohttp", "aiokafka", "asyncpg", "celery", "neo4j", "redis", "sqlalchemy")},
    **{name: name for name in ("strawberry", "taskiq", "valkey")},
    **dict.fromkeys(("daphne", "granian", "hypercorn", "uvicorn"), "asgi"),
    **dict.fromkeys(("httpcore", "httpcore2", "httpx", "httpx2"), "httpx"),
    "kombu": "celery",
}
"""By package, the patch that tells what its calls wait for."""

_BETWEEN = (
    *("asyncio.locks", "asyncio.queues", "asyncio.tasks", "asyncio.timeouts", "contextlib"),
    *("anyio._core._synchronization", "anyio._core._tasks"),
)
"""Modules between a lock and who waits for it."""

_DEMO = "causal_otel.cli.demo."
"""Of what is ours this alone is an application."""

_BACKENDS = "anyio._backends."
_OF_LOCKS = ("acquire", "acquire_on_behalf_of", "__aenter__")
"""Functions of anyio's back ends that wait for whoever has called them; the others wait for a thread or a socket."""


def is_told_elsewhere() -> bool:
    """Whether the wait that is over now was a part of a call that something else tells of."""
    frame = sys._getframe(1)
    for _ in range(_MOST_FRAMES):
        module = frame.f_globals.get("__name__", "")
        if module in _BETWEEN:
            if frame.f_code.co_qualname == "Condition.wait":
                return True  # it gets its lock back, which is the end of that wait
        elif module.startswith(_BACKENDS):
            if frame.f_code.co_name not in _OF_LOCKS:
                return True
        elif not module.startswith(__package__):
            package = module.partition(".")[0]
            ours = package == "causal_otel" and not module.startswith(_DEMO)
            return ours or package in ("anyio", "trio") or _PATCHES.get(package) in at_work
        if frame.f_back is None or not frame.f_back.f_code.co_flags & _AWAITABLE:
            return False  # the beginning of a task
        frame = frame.f_back
    return False
