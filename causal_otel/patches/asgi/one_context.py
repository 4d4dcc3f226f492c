"""Generators that Starlette and FastAPI run in threads, piece by piece: all pieces of one in the same context.

Each piece runs in a thread of its own choice, in a copy of the context that the application is in. What the generator
makes current, as by ``with causal_otel.span(...)`` around a ``yield``, would be lost with the copy: what it does after
the ``yield`` would be no child of that span, and the span could not be left properly. So the first piece's context is
kept for the others. What others set around the generator meanwhile, as an endpoint does between the pieces of a
dependency, is set there too, as it would be without us; but for what is current, which is the generator's own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from contextvars import copy_context
from types import GeneratorType
from typing import Any

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.tracing import Tracing

__all__ = ["wrap_context_manager", "wrap_iterate"]

_UNSET = object()


class _Kept:
    """The context of a generator, made by the thread that runs the first piece."""

    __slots__ = ("_around", "_context")

    def __init__(self) -> None:
        self._around = copy_context()
        self._context = copy_context()

    def run(self, step: Callable[..., Any], *args: Any) -> Any:
        """Run a piece in it, with the variables that were set around it since the last one."""
        try:
            around = copy_context()
            for variable, value in around.items():
                if self._around.get(variable, _UNSET) is not value and variable is not context.variable:
                    self._context.run(variable.set, value)
            self._around = around
        except Exception:
            faults.report("asgi: generator")
        return self._context.run(step, *args)


class _Pieces:
    """A generator whose pieces are made in one context, that of whoever asks for the first."""

    __slots__ = ("_context", "_generator")

    def __init__(self, generator: Generator[Any]) -> None:
        self._generator = generator
        self._context: _Kept | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._context is None:
            self._context = _Kept()
        return self._context.run(next, self._generator)


class _Manager(AbstractContextManager[Any]):
    """A context manager that is entered and left in one context, that of whoever enters it."""

    __slots__ = ("_context", "_manager")

    def __init__(self, manager: AbstractContextManager[Any]) -> None:
        self._manager = manager

    def __enter__(self) -> Any:
        self._context = _Kept()
        return self._context.run(self._manager.__enter__)

    def __exit__(self, *raised: Any) -> bool | None:
        suppressed: bool | None = self._context.run(self._manager.__exit__, *raised)
        return suppressed


def wrap_iterate(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``iterate_in_threadpool``, which reads an iterator in threads: the generator of a streaming response."""

    @functools.wraps(original)
    def iterate_in_threadpool(iterator: Any, *args: Any, **kwargs: Any) -> Any:
        if tracing.active and isinstance(iterator, GeneratorType):
            iterator = _Pieces(iterator)
        return original(iterator, *args, **kwargs)

    return iterate_in_threadpool


def wrap_context_manager(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``contextmanager_in_threadpool``, which enters and leaves in threads what is no coroutine's.

    That is a dependency of FastAPI's that has a ``yield``.
    """

    @functools.wraps(original)
    def contextmanager_in_threadpool(cm: Any, *args: Any, **kwargs: Any) -> Any:
        if tracing.active and isinstance(cm, AbstractContextManager):
            cm = _Manager(cm)
        return original(cm, *args, **kwargs)

    return contextmanager_in_threadpool
