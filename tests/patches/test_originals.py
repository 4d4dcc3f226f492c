"""Whatever stands where a patch takes hold, the user's call reaches it as it would without us.

Every target of every patch is tried, over each kind of thing that others leave in a class. What the drivers do with
it on their servers is asserted in ``test_peers.py``.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import asyncpg
import httpx
import pytest
import wrapt
from opentelemetry import trace

from causal_otel.engine.provider import TracerProvider
from causal_otel.instrument.applying import Applied
from causal_otel.instrument.calls import client_call
from causal_otel.instrument.declaration import Patch, Wrap
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.registry import BUILT_IN
from causal_otel.instrument.tracing import Tracing
from tests.many_cases import many_cases
from tests.recording import Recording, recording
from tests.span_relations import assert_span

_MAKERS = ("_create_task_sender", "build_tracer")
"""Targets that return a function, in place of which comes one of ours: what that returns comes back."""


def _itself(*args: Any, **kwargs: Any) -> Any:
    return _itself


@dataclass
class Spot:
    """Where a target is, and how it is called there."""

    patch: Patch
    target: Wrap
    owner: Any
    name: str
    is_async: bool

    def arguments(self) -> tuple[Any, ...]:
        if self.patch.name == "httpx":
            return (httpx.Request("GET", "http://127.0.0.1:1/"),)
        if self.patch.name == "asgi":
            return ({"type": "unheard of"}, "receive", "send")
        return ("SELECT 1", "two")

    def result(self) -> Any:
        if self.name in _MAKERS:
            return _itself
        return httpx.Response(200) if self.patch.name == "httpx" else ["result"]

    def instance(self) -> Any:
        """An object of the class, with nothing in it."""
        if isinstance(self.owner, ModuleType):
            return self.owner
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of aiohttp, which wants no subclasses of a session
            blank: Any = type("Blank", (self.owner,), {"__del__": lambda self: None})
        blank.__abstractmethods__ = frozenset()
        return (dict if issubclass(blank, dict) else object).__new__(blank)


_UNTRIED = ("valkey", "threads", "locks", "event_loop")
"""By the same functions as redis; without threads and locks no test runs, and jobs are handed on wrapped; loops of
uvloop cannot be made without being initialised: test_event_loop_lifecycle.py has these."""


@functools.cache
def _spots(name: str) -> list[Spot]:
    """Those of a patch, as they are before anything is placed in them."""
    patch, spots = BUILT_IN[name].load(), []
    for target in patch.targets:
        if isinstance(target, Wrap):
            try:
                owner, attribute, found = wrapt.resolve_path(importlib.import_module(target.module), target.attribute)
            except (AttributeError, ImportError):
                assert target.optional, target
                continue
            spots.append(Spot(patch, target, owner, attribute, inspect.iscoroutinefunction(found)))
    assert spots
    return spots


# -- what others leave in a class: each takes the function that it calls -----------------------------------------------


def _wrapt(function: Callable[..., Any]) -> Any:
    def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    async def async_around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return await wrapped(*args, **kwargs)

    return wrapt.FunctionWrapper(function, async_around if inspect.iscoroutinefunction(function) else around)


def _wraps(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


class _Callable:
    """An attribute that is called and never bound."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


KINDS: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "function": lambda function: function,
    "wrapt": _wrapt,
    "wraps": _wraps,
    "wrapt over wraps over wrapt": lambda function: _wrapt(_wraps(_wrapt(function))),
    "partialmethod": lambda function: functools.partialmethod(function, "given before"),
    "partialmethod over wrapt": lambda function: functools.partialmethod(_wrapt(function), "given before"),
    "builtin": functools.lru_cache(0),  # written in C; binds as a Cython function does
    "classmethod": classmethod,
    "wrapt over classmethod": lambda function: _wrapt(classmethod(function)),  # type: ignore[arg-type]
    "staticmethod": staticmethod,
    "object": _Callable,
}


_OF_MODULES = ("function", "wrapt", "wraps", "builtin", "object")
"""Those of the kinds that stand in a module; the others need a class."""


def _outcome(runner: asyncio.Runner, call: Callable[..., Any], spot: Spot) -> Any:
    result = call(*spot.arguments())
    return runner.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


class _Pools:
    """Measures pools of connections, and keeps nothing."""

    def meter(self, name: str, pool: object, count: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return lambda *values: None


def _tracing(patch: Patch, provider: TracerProvider) -> Tracing[Any]:
    """A handle with which a patch leaves nothing alone."""
    asked: Any = {"consumer_spans": True} if hasattr(patch.options, "consumer_spans") else {}
    tracing: Tracing[Any] = Tracing(provider.get_tracer("tests"), patch.options(**asked), lambda timeout: True)
    tracing.pools = _Pools()
    return tracing


@pytest.fixture(scope="module")
def provider() -> Iterator[TracerProvider]:
    """One for all cases: each has a thread."""
    provider = TracerProvider()
    yield provider
    provider.shutdown()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in _UNTRIED])
def test_every_target_over_every_kind(provider: TracerProvider, name: str, kind: str) -> None:
    """It is given what it was given before us, the instance or not, and once; what it returns comes back."""
    with asyncio.Runner() as runner, many_cases() as case:
        for spot in _spots(name):
            if kind in _OF_MODULES or not isinstance(spot.owner, ModuleType):
                with case(f"{spot.target.module}.{spot.target.attribute}"), pytest.MonkeyPatch.context() as monkeypatch:
                    _through_a_patch(monkeypatch, runner, provider, spot, kind)


def _through_a_patch(
    monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner, provider: TracerProvider, spot: Spot, kind: str
) -> None:
    """Place something of that kind, and assert that calls reach it through the patch as they do without it."""
    result, seen = spot.result(), list[tuple[Any, ...]]()

    def stub(*args: Any, **kwargs: Any) -> Any:
        seen.append((*args, kwargs))
        return result

    async def async_stub(*args: Any, **kwargs: Any) -> Any:
        return stub(*args, **kwargs)

    placed = KINDS[kind](async_stub if spot.is_async else stub)
    monkeypatch.setattr(spot.owner, spot.name, placed)
    instance = spot.instance()

    def through(place: Any) -> tuple[Any, ...]:
        seen.clear()
        returned = _outcome(runner, getattr(place, spot.name), spot)
        assert (returned(1, 2, 3, 4) if spot.name in _MAKERS else returned) is result
        (call,) = seen
        if isinstance(call[-1], dict):
            call[-1].pop("interceptors", None)  # ours, with which a server of gRPC is made
        return tuple("a request" if isinstance(each, httpx.Request) else each for each in call)

    places = [instance]
    if isinstance(placed, classmethod | staticmethod):
        places.append(type(instance))
    before = [through(place) for place in places]
    declared_async = inspect.iscoroutinefunction(getattr(instance, spot.name))
    applied = Applied(spot.patch._replace(targets=(spot.target,)), _tracing(spot.patch, provider))
    applied.apply()
    try:
        # A module that is no driver of the patch, such as the broker's, does not say that the patch is at work.
        module = spot.target.module.partition(".")[0]
        is_driver = spot.patch.distributions.get(module, module) in spot.patch.versions
        assert applied.status.state == ("on" if is_driver else "waiting")
        assert vars(spot.owner)[spot.name] is not placed
        assert [through(place) for place in places] == before
        with trace.use_span(provider.get_tracer("tests").start_span("root")):
            assert [through(place) for place in places] == before
        assert inspect.iscoroutinefunction(getattr(instance, spot.name)) or not declared_async
    finally:
        applied.undo()
    assert vars(spot.owner)[spot.name] is placed


# -- names and signatures ----------------------------------------------------------------------------------------------


class Client:
    """A driver's."""

    def call(self, word: str, *, times: int = 1) -> str:
        """Say it."""
        return word * times

    async def acall(self, word: str, *, times: int = 1) -> str:
        """Say it later."""
        return word * times


@pytest.mark.parametrize("attribute", ["call", "acall"])
@pytest.mark.parametrize("kind", ["wrapt", "wraps", "builtin"])
def test_names_and_signatures_stay(monkeypatch: pytest.MonkeyPatch, kind: str, attribute: str) -> None:
    """Name, documentation, signature and kind are what they were over somebody else's wrapper too."""

    def described() -> tuple[Any, ...]:
        method: Any = getattr(Client(), attribute)
        asks = (inspect.signature, inspect.iscoroutinefunction, inspect.getdoc)
        return (method.__name__, method.__qualname__, method.__module__, *(ask(method) for ask in asks))

    monkeypatch.setattr(Client, attribute, KINDS[kind](vars(Client)[attribute]))
    before = described()
    patch = Patch("fake", {"tests": ("0", "1")}, ClientOptions, (Wrap(__name__, f"Client.{attribute}", _described()),))
    monkeypatch.setattr("causal_otel.instrument.applying.metadata.version", lambda name: "0.1")
    applied = Applied(patch, _tracing(patch, TracerProvider()))
    applied.apply()
    assert described() == before
    applied.undo()


def _described() -> Any:
    return client_call(lambda tracing, instance, args, kwargs: Operation("protocol", {}))


# -- Cython ------------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("over", ["function", "wrapt", "wraps"])
async def test_a_cython_function(monkeypatch: pytest.MonkeyPatch, postgres_url: str, over: str) -> None:
    """The protocol of asyncpg, which is Cython and inherited: it works, and its span lasts as long as the server."""
    assert type(asyncpg.protocol.Protocol.query).__name__ == "cython_function_or_method"
    if over != "function":
        monkeypatch.setattr(asyncpg.protocol.Protocol, "query", KINDS[over](asyncpg.protocol.Protocol.query))
    targets = (Wrap("asyncpg.protocol", "Protocol.query", _described()),)
    connection = await asyncpg.connect(postgres_url)
    with recording([]) as recorded:
        applied = _placed(recorded, BUILT_IN["asyncpg"].load()._replace(targets=targets))
        with recorded.tracer.start_as_current_span("root") as root:
            assert await connection.execute("SELECT pg_sleep(0.1)") == "SELECT 1"
        applied.undo()
        assert_span(recorded.only("protocol"), root, lasts=0.1)
    assert await connection.execute("SELECT 1") == "SELECT 1"
    await connection.close()


def _placed(recorded: Recording, patch: Patch) -> Applied:
    applied = Applied(patch, _tracing(patch, recorded.provider))
    applied.apply()
    assert applied.status.state == "on"
    return applied
