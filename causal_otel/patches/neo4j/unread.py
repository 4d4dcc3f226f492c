"""Results that nobody reads: their spans end shortly after the call, not when the session is closed.

Whether a result will be read cannot be known, so each is given a moment. With the asynchronous driver a timer of the
event loop ends those that are left, one timer for all of them, which keeps no loop from ending. With the synchronous
one, the next query of any thread does.
"""

from __future__ import annotations

import asyncio
import threading
from contextvars import Context
from time import perf_counter
from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from causal_otel.patches.neo4j.results import Query

__all__ = ["PATIENCE", "expect"]

PATIENCE = 1.0
"""For how many seconds a result may be left before it counts as one that nobody reads."""

_expected: dict[int, ref[Query]] = {}
"""Those that are neither read nor over, by their ids, in the order of their calls."""


class _Timer(threading.local):
    loop: asyncio.AbstractEventLoop | None = None  # the one that has a timer now


_timer = _Timer()


def expect(query: Query, loop: asyncio.AbstractEventLoop | None) -> None:
    """Expect that ``query`` is read, which has just been sent.

    Args:
        query: the query.
        loop: the event loop that runs it; None: it is synchronous.
    """
    if loop is None:
        _look(query.returned, 2)  # so that there are never many
    _expected[id(query)] = ref(query)
    if loop is not None and _timer.loop is not loop:
        _set_timer(loop)


def expect_no_more(query: Query) -> None:
    """It is over."""
    _expected.pop(id(query), None)


def _set_timer(loop: asyncio.AbstractEventLoop) -> None:
    _timer.loop = loop
    loop.call_later(PATIENCE, _due, context=Context())


def _due() -> None:
    loop, _timer.loop = _timer.loop, None
    _look(perf_counter(), len(_expected))
    if _expected and loop is not None:
        _set_timer(loop)


def _look(now: float, at_most: int) -> None:
    """End the oldest ones that nobody has begun to read in time, and forget those that are read."""
    for _ in range(at_most):
        try:
            key, found = next(iter(_expected.items()))
        except (StopIteration, RuntimeError):  # there is none, or another thread has changed the dict
            return
        query = found()
        if query is not None and not query.is_read():
            if query.returned > now - PATIENCE:
                return
            query.finish(unread=True)
        _expected.pop(key, None)
