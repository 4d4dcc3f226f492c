"""What the driver does by functions of other modules: a cluster's pauses between its attempts, and looking up names.

``time.sleep`` and ``socket.getaddrinfo`` belong to the whole program and cannot be replaced. But each module of the
driver has a name for the module that such a function is of. What it names is replaced by a module that times this one
function, and has all else of the other as it is whenever it is asked for.

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
from causal_otel.names import CAUSAL_CONNECT_DNS, CAUSAL_RETRY_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.tracing import Tracing

__all__ = ["targets"]


def _timing(original: ModuleType, function: str, key: str) -> ModuleType:
    """A module like ``original``, whose ``function`` leaves a note of its time."""
    made = ModuleType(original.__name__, original.__doc__)
    timed: Any
    if inspect.iscoroutinefunction(getattr(original, function)):

        @functools.wraps(getattr(original, function))
        async def async_call(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return await getattr(original, function)(*args, **kwargs)
            finally:
                parts.note(key, perf_counter() - began)

        timed = async_call
    else:

        @functools.wraps(getattr(original, function))
        def call(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return getattr(original, function)(*args, **kwargs)
            finally:
                parts.note(key, perf_counter() - began)

        timed = call
    vars(made).update({function: timed, "__getattr__": lambda name: getattr(original, name)})
    return made


def _replacing(module: str, name: str, function: str, key: str) -> Connect:
    """Replace what ``module`` calls ``name``; where a version has no such name, there is one part less."""

    def connect(tracing: Tracing[Any]) -> Callable[[], None]:
        names = vars(import_module(module))
        original = names.get(name)
        if not (isinstance(original, ModuleType) and hasattr(original, function)):
            return lambda: None
        replacement = names[name] = _timing(original, function, key)

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
    return (
        _replacing(f"{driver}.cluster", "time", "sleep", CAUSAL_RETRY_WAIT),
        _replacing(f"{driver}.asyncio.cluster", "asyncio", "sleep", CAUSAL_RETRY_WAIT),
        _replacing(f"{driver}.connection", "socket", "getaddrinfo", CAUSAL_CONNECT_DNS),
    )
