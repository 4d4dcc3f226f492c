"""Replacing an attribute: whatever stands there, the replacement is called with the instance first."""

from __future__ import annotations

import asyncio
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import pytest
import wrapt

from causal_otel._internal.binding import bindable, in_place


class Callee:
    """An object that can be called: as an attribute of a class it is not bound to instances."""

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return ("called", *args, kwargs)


def _wrapped(function: Callable[..., Any]) -> Any:
    return wrapt.FunctionWrapper(function, lambda wrapped, instance, args, kwargs: wrapped(*args, **kwargs))


class Driver:
    def plain(self, query: str, *, timeout: float = 1.0) -> tuple[Any, ...]:
        return ("plain", self, query, timeout)

    async def coroutine(self, query: str) -> tuple[Any, ...]:
        return ("coroutine", self, query)

    partial = functools.partialmethod(plain, "fixed")
    awaited = functools.partialmethod(coroutine, "fixed")
    behind = _wrapped(plain)
    behind_awaited = _wrapped(coroutine)
    callee = Callee()

    @classmethod
    def of_class(cls, query: str) -> tuple[Any, ...]:
        return ("of class", cls, query)

    @staticmethod
    def static(query: str) -> tuple[Any, ...]:
        return ("static", query)


def _bindable(name: str) -> Callable[..., Any]:
    return bindable(Driver, name, inspect.getattr_static(Driver, name))


def test_a_plain_function_comes_back_as_it_is() -> None:
    """Nothing is put around what is right already."""
    assert _bindable("plain") is Driver.plain


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("partial", {"timeout": 2.0}, lambda driver: ("plain", driver, "fixed", 2.0)),
        ("behind", {"query": "q", "timeout": 2.0}, lambda driver: ("plain", driver, "q", 2.0)),
        ("callee", {"k": 1}, lambda _: ("called", {"k": 1})),
        ("of_class", {"query": "q"}, lambda _: ("of class", Driver, "q")),
        ("static", {"query": "q"}, lambda _: ("static", "q")),
    ],
)
def test_the_instance_comes_first(name: str, arguments: dict[str, Any], expected: Callable[[Driver], Any]) -> None:
    """Called with the instance and then the arguments, each gives what it gives where it stands."""
    driver = Driver()
    assert _bindable(name)(driver, **arguments) == getattr(driver, name)(**arguments) == expected(driver)


@pytest.mark.parametrize(("name", "arguments"), [("awaited", ()), ("behind_awaited", ("q",))])
def test_async_stays_async(name: str, arguments: tuple[str, ...]) -> None:
    """What is declared ``async`` is still known for it, and returns what it would return."""
    driver, call = Driver(), _bindable(name)
    assert inspect.iscoroutinefunction(call)
    assert asyncio.run(call(driver, *arguments)) == ("coroutine", driver, *(arguments or ("fixed",)))


@pytest.mark.parametrize("name", ["partial", "behind", "callee", "of_class", "static"])
def test_name_and_signature_are_those_of_the_attribute(name: str) -> None:
    """What is asked about it is answered as for a method of that name, in which the instance comes first."""
    call = _bindable(name)
    assert (call.__name__, call.__qualname__, call.__module__) == (name, f"Driver.{name}", __name__)
    assert not inspect.iscoroutinefunction(call)
    first, *rest = inspect.signature(call).parameters
    assert first == "self"
    assert rest == list(inspect.signature(getattr(Driver(), name)).parameters)


def test_of_a_module() -> None:
    """In a module there is no instance: the arguments alone are passed on."""
    module = types.ModuleType("driver_module")
    module.connect = _wrapped(lambda *args, **kwargs: (args, kwargs))  # type: ignore[attr-defined]
    call = bindable(module, "connect", module.connect)
    assert call("host", port=1) == (("host",), {"port": 1})
    assert (call.__module__, call.__name__) == ("driver_module", "connect")


@pytest.mark.parametrize(("name", "kind"), [("of_class", classmethod), ("static", staticmethod)])
def test_in_place_of_a_class_or_static_method(name: str, kind: type) -> None:
    """On an instance the replacement is called with it; through the class, where there is none, it is the original."""
    original = inspect.getattr_static(Driver, name)

    def replacement(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        return ("replaced", instance, args, kwargs)

    changed = type("Changed", (Driver,), {name: in_place(original, replacement)})
    assert isinstance(inspect.getattr_static(changed, name), kind)
    driver = changed()
    assert getattr(driver, name)("q", k=1) == ("replaced", driver, ("q",), {"k": 1})
    assert getattr(changed, name)("q")[-1] == "q"


def test_in_place_of_a_method_is_the_replacement() -> None:
    """Where a method stood, a function is bound as the method was."""

    def replacement(instance: Any) -> None: ...

    assert in_place(Driver.plain, replacement) is replacement
