"""What the driver does by functions of other modules: a cluster's pauses between its attempts, and looking up names.

How often a node has said ``TRYAGAIN`` is no number of attempts: the driver asks it eight times without a pause.
"""

from __future__ import annotations

import inspect
from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel.instrument import parts
from causal_otel.instrument.module_names import replacing
from causal_otel.names import CAUSAL_CONNECT_DNS, CAUSAL_RETRY_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from causal_otel.instrument.declaration import Connect

__all__ = ["targets"]


def _timing(function: str, key: str) -> Callable[[ModuleType], Callable[..., Any]]:
    """Makes what stands for a function: it leaves a note of its time."""

    def make(original: ModuleType) -> Callable[..., Any]:
        async def async_call(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return await getattr(original, function)(*args, **kwargs)
            finally:
                parts.note(key, perf_counter() - began)

        def call(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return getattr(original, function)(*args, **kwargs)
            finally:
                parts.note(key, perf_counter() - began)

        return async_call if inspect.iscoroutinefunction(getattr(original, function)) else call

    return make


def _replacing(module: str, name: str, function: str, key: str) -> Connect:
    return replacing(module, name, function, _timing(function, key))


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
