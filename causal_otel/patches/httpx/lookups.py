"""Names that httpcore looks up: of that it tells nothing, because the functions that it connects by do it.

Those belong to the standard library, to anyio and to trio: they look a name up by a function that they find among the
globals of their module. So they are run as they are, by other globals, in which that one is timed. Where somebody has
put another function in place of theirs, or the name is not there, there is one part less.
"""

from __future__ import annotations

from time import perf_counter
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.module_names import replacing
from causal_otel.names import CAUSAL_CONNECT_DNS
from causal_otel.patches.httpx.attempts import opening

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.declaration import Connect
    from causal_otel.patches.httpx.attempts import Attempt

__all__ = ["targets"]

_LOOKUP = "getaddrinfo"


def _timed(original: Callable[..., Any], attempt: Attempt) -> Callable[..., Any]:
    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            attempt.part(CAUSAL_CONNECT_DNS, perf_counter() - began)

    return getaddrinfo


def _timed_async(original: Callable[..., Any], attempt: Attempt) -> Callable[..., Any]:
    async def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        try:
            return await original(*args, **kwargs)
        finally:
            attempt.part(CAUSAL_CONNECT_DNS, perf_counter() - began)

    return getaddrinfo


def _looking(function: str, timed: Callable[..., Any]) -> Callable[[ModuleType], Callable[..., Any]]:
    """Makes what stands for a function that connects.

    Args:
        function: its name.
        timed: makes the timed lookup from the function's own.
    """

    def make(module: ModuleType) -> Callable[..., Any]:
        def connect(*args: Any, **kwargs: Any) -> Any:
            call = original = getattr(module, function)
            attempt = opening.get()
            if attempt is not None:
                try:
                    call = _by_other_globals(original, attempt)
                except Exception:
                    faults.report("httpx: looking up a name")
            return call(*args, **kwargs)

        return connect

    def _by_other_globals(original: Any, attempt: Attempt) -> Callable[..., Any]:
        found = original.__globals__.get(_LOOKUP) if type(original) is FunctionType else None
        if found is None:
            return original  # type: ignore[no-any-return]
        names = {**original.__globals__, _LOOKUP: timed(found, attempt)}
        made = FunctionType(original.__code__, names, original.__name__, original.__defaults__, original.__closure__)
        made.__kwdefaults__ = original.__kwdefaults__
        return made

    return make


def targets(core: str) -> tuple[Connect, ...]:
    """Where that is.

    Args:
        core: the package, ``httpcore`` or ``httpcore2``.
    """
    return (
        replacing(f"{core}._backends.sync", "socket", "create_connection", _looking("create_connection", _timed)),
        replacing(f"{core}._backends.anyio", "anyio", "connect_tcp", _looking("connect_tcp", _timed_async)),
        replacing(f"{core}._backends.trio", "trio", "open_tcp_stream", _looking("open_tcp_stream", _timed_async)),
    )
