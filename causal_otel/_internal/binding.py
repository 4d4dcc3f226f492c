"""Replacing an attribute, whatever stands there: a function, somebody else's wrapper, a ``partialmethod``.

Calling ``vars(Class)["method"]`` with the instance first is right for a plain function only. A ``FunctionWrapper`` of
wrapt, which OpenTelemetry's instrumentations, Logfire and ddtrace leave in the class, then takes the instance for an
argument: asyncpg says "expected string or bytes-like object, got 'Connection'". Right for all of them is what the
interpreter does itself: ``__get__`` first.
"""

from __future__ import annotations

import functools
import inspect
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bindable", "in_place", "original_of", "remember"]

_ORIGINAL = "_causal_otel_original"


def bindable(owner: Any, attribute: str, original: Any) -> Callable[..., Any]:
    """``original`` as a replacement calls it: with the instance first; of a module, with the arguments alone.

    A plain function is that already and comes back as it is. Whatever else comes back as a function of the same
    name, signature and kind (``async`` or not).

    Args:
        owner: the class or module in which it was found.
        attribute: its name there.
        original: what was found, not bound to anything.
    """
    if type(original) is FunctionType:
        return original
    get: Any = getattr(type(original), "__get__", None)
    if isinstance(owner, ModuleType):
        call = _calling(original, original)
    elif get is None:  # an object with __call__: as an attribute of a class it never sees the instance
        call = _calling(lambda instance, /, *args, **kwargs: original(*args, **kwargs), original)
    else:
        call = _calling(
            lambda instance, /, *args, **kwargs: get(original, instance, type(instance))(*args, **kwargs), original
        )
    functools.update_wrapper(call, original)
    # Some of them have no name, or that of their own class, as a partialmethod has.
    call.__module__ = getattr(owner, "__module__", None) or owner.__name__
    call.__name__ = attribute
    call.__qualname__ = f"{owner.__qualname__}.{attribute}" if isinstance(owner, type) else attribute
    try:
        signature = inspect.signature(getattr(owner, attribute))
    except (TypeError, ValueError):
        return call  # it tells none
    if isinstance(owner, type) and (get is None or isinstance(original, classmethod | staticmethod)):
        instance = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)  # which it does not take itself
        signature = signature.replace(parameters=[instance, *signature.parameters.values()])
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _calling(function: Callable[..., Any], declared: Any) -> FunctionType:
    """A function that calls ``function``, ``async`` if ``declared`` is: servers ask, to know how to call it."""
    while isinstance(declared, classmethod | staticmethod | functools.partialmethod):
        declared = declared.func if isinstance(declared, functools.partialmethod) else declared.__func__
    if inspect.iscoroutinefunction(declared):

        async def async_call(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return async_call  # type: ignore[return-value]

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def in_place(original: Any, replacement: Callable[..., Any]) -> Any:
    """What to put where ``original`` stood, for ``replacement`` to be called with the instance first.

    That is ``replacement`` itself; but for a class method or static method something of that kind, which does not get
    between when it is called through the class: there is no instance then.
    """
    if isinstance(original, classmethod):
        return _ClassMethod(original, replacement)
    if isinstance(original, staticmethod):
        return _StaticMethod(original, replacement)
    return replacement


def remember(replacement: Callable[..., Any], original: Callable[..., Any]) -> None:
    """Let :func:`original_of` tell what a replacement has replaced that programs hand on, or keep somewhere else."""
    setattr(replacement, _ORIGINAL, (replacement, original))


def original_of(found: Any) -> Callable[..., Any] | None:
    """What ``found`` has replaced; None: it is not one of ours.

    Somebody else's wrapper around one of ours is none, though ``functools.wraps`` has given it all of our attributes.
    """
    pair = getattr(found, _ORIGINAL, None)
    return pair[1] if isinstance(pair, tuple) and pair[0] is found else None


class _OnInstances:
    """Binds the replacement to instances; through the class it is the original.

    Args:
        original: the class method or static method.
        replacement: a function that takes the instance first.
    """

    def __init__(self, original: Any, replacement: Callable[..., Any]) -> None:
        super().__init__(original.__func__)  # type: ignore[call-arg]  # of classmethod, or staticmethod
        self._original = original
        self._replacement = replacement

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._original.__get__(None, owner) if instance is None else MethodType(self._replacement, instance)


class _ClassMethod(_OnInstances, classmethod):  # type: ignore[type-arg]
    pass


class _StaticMethod(_OnInstances, staticmethod):  # type: ignore[type-arg]
    pass
