"""How much a thread computes between two moments: for work that stays in one, as WSGI requests and Celery's tasks."""

from __future__ import annotations

import sys
from threading import get_ident
from time import thread_time_ns

__all__ = ["ThreadCpu"]


class ThreadCpu:
    """What the thread that makes it computes from then on."""

    __slots__ = ("_began", "_ident")

    def __init__(self) -> None:
        self._ident = 0 if _shares_its_thread() else get_ident()
        self._began = thread_time_ns()

    def computed(self) -> int:
        """Nanoseconds until now; 0 where that cannot be known: in another thread, or where greenlets share this one."""
        return thread_time_ns() - self._began if self._ident == get_ident() and not _shares_its_thread() else 0


def _shares_its_thread() -> bool:
    """Whether this is one of several greenlets, as under gevent: what the others compute cannot be told apart."""
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and greenlet.getcurrent().parent is not None
