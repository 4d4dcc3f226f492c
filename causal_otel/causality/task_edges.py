"""Which asyncio task a span ran in, and which task waited for that one.

Both are asked at a span's end, of asyncio itself: who waits for a task has left a callback with it. So no task is
created in another way, nothing of asyncio is replaced, and whoever has a task factory keeps it.

The callbacks are private to asyncio, and each of its primitives leaves another kind: what is not known here is no
waiter. A task that is awaited only after its last span has ended is not known to be awaited. A result that is handed
over by a queue is not waited for in this sense.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from asyncio import Future, Task
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TaskNumbers", "waiting_task"]

_MOST = 16
"""Futures that are looked at for one task: ``gather`` within ``shield`` within ``wait_for`` are six."""


_NO_TASK = id(None)


class TaskNumbers:
    """Small numbers of the tasks in one process's part of a trace: 1 is that in which the local root began.

    Where it began in none, its task is that which it has run a loop for, as by ``asyncio.run()``.

    Args:
        root: the ``id()`` of that one, or of None. It is recognised as long as it is alive, also when its root has
            ended, once it has been asked for.
    """

    __slots__ = ("_known", "_next", "_root")

    def __init__(self, root: int) -> None:
        self._root = root
        self._known: dict[int, tuple[weakref.ref[Task[Any]], int]] = {}  # by id(), which another task may get later
        self._next = itertools.count(2)

    def of(self, task: Task[Any]) -> int:
        """The number of a task, which it gets when it is first asked for."""
        key = id(task)
        known = self._known.get(key)
        if known is not None and known[0]() is task:
            return known[1]
        if key == self._root:
            self._root, number = 0, 1
        elif self._root == _NO_TASK and _is_run(task):
            number = 1
        else:
            number = next(self._next)
        self._known[key] = weakref.ref(task), number
        return number


def _is_run(task: Task[Any]) -> bool:
    """Whether a call of the loop's ``run_until_complete()`` waits for it."""
    callbacks = getattr(task, "_callbacks", None) or ()
    return any("run_until_complete" in getattr(callback, "__qualname__", "") for callback, _ in callbacks)


def waiting_task(task: Task[Any]) -> Task[Any] | None:
    """The task that waits for ``task`` now, as far as asyncio tells; None: none does.

    It knows ``await``, ``gather``, ``TaskGroup``, ``wait``, ``wait_for``, ``as_completed`` and ``shield``, one within
    another, and anyio's task groups.
    """
    futures: list[Any] = [task]
    for future in futures:  # grows meanwhile
        if len(futures) > _MOST:
            break
        for callback, _ in getattr(future, "_callbacks", None) or ():
            for found in _behind(callback):
                if isinstance(found, Task):
                    return found
                if isinstance(found, Future) and all(found is not known for known in futures):
                    futures.append(found)
    return None


def _behind(callback: Any) -> Iterator[Any]:
    """The task that ``callback`` is to wake up, and the futures that it completes."""
    while isinstance(callback, functools.partial):
        yield from filter(_is_plain, callback.args)  # wait_for before Python 3.12
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, Task):  # await: the task's own wake-up
        yield owner
    elif owner is not None:
        yield getattr(owner, "_on_completed_fut", None)  # asyncio.TaskGroup, whose host waits for its tasks by now
        yield from _getters(getattr(owner, "_done", None))  # as_completed since Python 3.13
    for cell in getattr(callback, "__closure__", None) or ():
        try:
            held = cell.cell_contents
        except ValueError:  # it is empty
            continue
        if _is_plain(held):  # gather, wait, shield
            yield held
        else:
            yield getattr(held, "_on_completed_fut", None)  # likewise a task group of anyio's
            yield from _getters(held)  # as_completed before Python 3.13


def _is_plain(held: Any) -> bool:
    """Whether it is a future that is no task: a task that a callback holds may be there for any reason."""
    return isinstance(held, Future) and not isinstance(held, Task)


def _getters(queue: Any) -> Any:
    """The futures of those that wait for an item of an ``asyncio.Queue``."""
    return getattr(queue, "_getters", None) or ()
