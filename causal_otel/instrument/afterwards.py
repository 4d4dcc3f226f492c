"""A call that is looked at once it has returned, and has no span of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.calls import traced_call

if TYPE_CHECKING:
    from causal_otel.instrument.calls import Args, Kwargs, Wrapper
    from causal_otel.instrument.tracing import Tracing

__all__ = ["Then", "after"]

Then = Callable[[Any, "Args", "Kwargs", Any], None]
"""Is given the instance, the arguments, and what the call has returned, once it is over."""


class _Looked:
    """A call under way.

    Args:
        then: is called if it has returned.
        instance: for ``then``, as the arguments are.
        given: the positional arguments, and those by name.
    """

    __slots__ = ("_given", "_instance", "_then")

    args = inside = None

    def __init__(self, then: Then, instance: Any, given: tuple[Args, Kwargs]) -> None:
        self._then = then
        self._instance = instance
        self._given = given

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        if error is None:
            self._then(self._instance, *self._given, result)


def after(then: Then, *, always: bool = False) -> Wrapper:
    """A wrapper that makes no span: ``then`` looks at a call that has returned, and may change what is the call's own.

    Args:
        then: what it raises is contained.
        always: whether that is so as well where nothing is recorded.
    """

    def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> _Looked:
        return _Looked(then, instance, (args, kwargs))

    return traced_call(begin, carries=always)
