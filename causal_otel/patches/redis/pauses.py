"""The pauses of a cluster between its attempts, which it makes by ``time.sleep`` and ``asyncio.sleep``.

These belong to the whole program and cannot be replaced. But the driver's modules have a name each for the module that
``sleep`` is of; it is replaced by a module that has a ``sleep`` of its own, and all else of the other as it is then.

How often a node has said ``TRYAGAIN`` is no number of attempts: the driver asks it eight times without a pause.
"""

from __future__ import annotations

import functools
import inspect
from importlib import import_module
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from causal_otel.instrument import parts
from causal_otel.instrument.declaration import Connect
from causal_otel.names import CAUSAL_RETRY_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.tracing import Tracing

__all__ = ["targets"]


def _with_sleep(original: ModuleType) -> ModuleType:
    """A module like ``original``, whose ``sleep`` leaves a note."""
    made = ModuleType(original.__name__, original.__doc__)
    sleep: Any
    if inspect.iscoroutinefunction(original.sleep):

        @functools.wraps(original.sleep)
        async def async_sleep(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return await original.sleep(*args, **kwargs)
            finally:
                parts.note(CAUSAL_RETRY_WAIT, perf_counter() - began)

        sleep = async_sleep
    else:

        @functools.wraps(original.sleep)
        def sync_sleep(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return original.sleep(*args, **kwargs)
            finally:
                parts.note(CAUSAL_RETRY_WAIT, perf_counter() - began)

        sleep = sync_sleep
    vars(made).update(sleep=sleep, __getattr__=lambda name: getattr(original, name))
    return made


def _pausing(module: str, name: str) -> Connect:
    """Replace what ``module`` calls ``name``; where a version has no such name, there is one part less."""

    def connect(tracing: Tracing[Any]) -> Callable[[], None]:
        names = vars(import_module(module))
        original = names.get(name)
        if not (isinstance(original, ModuleType) and hasattr(original, "sleep")):
            return lambda: None
        replacement = names[name] = _with_sleep(original)

        def undo() -> None:
            if names.get(name) is replacement:
                names[name] = original

        return undo

    return Connect(module, connect)


def targets(driver: str) -> tuple[Connect, ...]:
    """Where that is.

    Args:
        driver: the package, ``redis`` or ``valkey``.
    """
    return _pausing(f"{driver}.cluster", "time"), _pausing(f"{driver}.asyncio.cluster", "asyncio")
