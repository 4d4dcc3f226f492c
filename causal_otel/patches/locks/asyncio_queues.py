"""``asyncio.Queue``: waiting for an item, and for room.

Where nobody has to wait, what stands here does what asyncio's own methods do then, and nothing else.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from causal_otel.patches.locks.asyncio_locks import reads_only
from causal_otel.patches.locks.waiting import Waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.tracing import Tracing

__all__ = ["queue_get", "queue_put"]

_WAITING = ("_get_loop", "create_future", "append", "cancel", "remove", "ValueError", "cancelled", "_wakeup_next")
_SHUT_DOWN = ("_is_shutdown", "QueueShutDown")
_GET = frozenset(("empty", "get_nowait", "_getters", *_WAITING, *_SHUT_DOWN))
_PUT = frozenset(("full", "put_nowait", "_putters", *_WAITING, *_SHUT_DOWN))


def queue_get(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``asyncio.Queue.get``."""
    waits = Waits(tracing, "asyncio.Queue.get", lambda queue: (len(queue._getters), None))
    if not reads_only(original, _GET):
        return waits.around(original, lambda queue: queue.empty())

    @functools.wraps(original)
    async def get(self: Any) -> Any:
        if not self.empty():
            return self.get_nowait()
        return await waits.during(original, self)

    return get


def queue_put(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``asyncio.Queue.put``."""
    waits = Waits(tracing, "asyncio.Queue.put", lambda queue: (len(queue._putters), None), lambda queue: queue.maxsize)
    if not reads_only(original, _PUT):
        return waits.around(original, lambda queue: queue.full())

    @functools.wraps(original)
    async def put(self: Any, item: Any) -> Any:
        if not self.full():
            return self.put_nowait(item)
        return await waits.during(original, self, item)

    return put
