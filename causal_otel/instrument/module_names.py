"""What a driver does by functions of other modules, such as ``socket.getaddrinfo``.

Such a function belongs to the whole program and cannot be replaced. But each module of the driver has a name for the
module that the function is of. What it names is replaced by a module that has another function there, and has all else
of the other as it is whenever it is asked for.
"""

from __future__ import annotations

import functools
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.declaration import Connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.tracing import Tracing

__all__ = ["replacing"]


def replacing(module: str, name: str, function: str, make: Callable[[ModuleType], Callable[..., Any]]) -> Connect:
    """Replace what ``module`` calls ``name``; where a version has no such name, nothing is replaced.

    Args:
        module: of the driver.
        name: what it calls the other module.
        function: the name of the function in that.
        make: is given the other module, and makes what stands for the function: a function that calls it.
    """

    def connect(tracing: Tracing[Any]) -> Callable[[], None]:
        names = vars(import_module(module))
        original = names.get(name)
        if not (isinstance(original, ModuleType) and hasattr(original, function)):
            return lambda: None
        replacement = names[name] = ModuleType(original.__name__, original.__doc__)
        made = functools.wraps(getattr(original, function))(make(original))
        vars(replacement).update({function: made, "__getattr__": lambda name: getattr(original, name)})

        def undo() -> None:
            if names.get(name) is replacement:
                names[name] = original

        return undo

    return Connect(module, connect)
