"""Which process this is, and what has to happen when it forks.

This is the only place that registers with ``os.register_at_fork``, which cannot be undone: everything else calls
:func:`at_fork`. Forks in C, such as uWSGI's, run no hooks of Python's.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from itertools import count
from types import MethodType
from typing import TYPE_CHECKING

from causal_otel._internal import faults

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["at_fork", "started", "token"]

token: object = object()
"""Stands for this process; a forked child has another one. Comparing it by identity is cheaper than asking for a pid. A
span keeps the token of the process that started it, and ends only there."""


Callback = Callable[[], object]
Resolve = Callable[[], "Callback | None"]
"""Gives a callback; None: its instance is gone."""


class _Callbacks:
    """The callbacks for one of a fork's three moments, in the order in which they were registered.

    There is no lock, which a fork could copy while it is held. Adding and removing are single operations on a dict.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._known: dict[int, Resolve] = {}

    def add(self, callback: Callback) -> None:
        number, known = next(self._numbers), self._known
        if isinstance(callback, MethodType):
            known[number] = _weakly(callback, lambda: known.pop(number, None))
        else:
            known[number] = lambda: callback

    def oldest_first(self) -> list[Resolve]:
        return list(self._known.copy().values())


def _weakly(method: MethodType, gone: Callback) -> Resolve:
    """Hold ``method`` by its instance. WeakMethod prints an AttributeError if both go in one garbage collection."""
    reference = weakref.ref(method.__self__, lambda _: gone())
    function = method.__func__

    def resolve() -> Callback | None:
        instance = reference()
        return None if instance is None else MethodType(function, instance)

    return resolve


_before, _in_parent, _in_child = _Callbacks(), _Callbacks(), _Callbacks()


def at_fork(
    *, before: Callback | None = None, in_parent: Callback | None = None, in_child: Callback | None = None
) -> None:
    """Have callbacks called whenever this process forks. What one of them raises is reported, and the next is called.

    A bound method is held weakly: when its instance is gone, it is called no more. A function is held for good.

    The order is that of ``os.register_at_fork``: the last one registered is the first one called before a fork and the
    last one called after it. So what an object depends on, which was made first, is ready in the child.

    Args:
        before: called in the parent before the fork.
        in_parent: called in the parent after the fork.
        in_child: called in the child, where :data:`token` is another object already.
    """
    for callbacks, callback in ((_before, before), (_in_parent, in_parent), (_in_child, in_child)):
        if callback is not None:
            callbacks.add(callback)


def _run_before() -> None:
    _call(reversed(_before.oldest_first()))


def _run_in_parent() -> None:
    _call(_in_parent.oldest_first())


def _run_in_child() -> None:
    global token
    token = object()
    _call(_in_child.oldest_first())


def _call(resolving: Iterable[Resolve]) -> None:
    for resolve in resolving:
        callback = resolve()
        if callback is not None:
            try:
                callback()
            except Exception:
                faults.report(f"fork: {getattr(callback, '__qualname__', callback)}")


def started() -> int:
    """When this process began, in Unix nanoseconds, up to 10 ms too early; 0 where only the kernel knows."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return time.time_ns() - int(age * 1e9)
    except (OSError, AttributeError):
        return 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_run_before, after_in_parent=_run_in_parent, after_in_child=_run_in_child)
