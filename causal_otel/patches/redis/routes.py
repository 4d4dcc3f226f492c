"""Operations whose server is known only when it has answered: those of a cluster, and of clients behind Sentinel.

Of nodes that were asked in turn, because the first redirected the client or failed, the last one is the operation's. Of
an operation that several nodes carry out, such as ``KEYS`` in a cluster, none is.

asyncio's half asks several nodes in tasks of their own, whose notes (see :mod:`causal_otel.instrument.parts`) the
operation does not see. So the route takes them along: of tasks at the same time, those of the one that took longest.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.context import Context, create_key

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument import parts
from causal_otel.names import CAUSAL_ATTEMPTS
from causal_otel.patches.redis.operations import address

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.tracing import Tracing

__all__ = ["Route", "Routed", "attempting", "executing", "noting_argument", "noting_commands", "noting_self", "without"]

_KEY = create_key("causal-otel-redis-route")


class Route:
    """Where an operation went.

    Attributes:
        asked: the node that was asked last.
        answered: the nodes that have answered, other than by a redirection.
    """

    __slots__ = ("_branch", "_failed", "_longest", "_task", "answered", "asked")

    def __init__(self) -> None:
        self.asked: tuple[Any, Any] | None = None
        self.answered: set[tuple[Any, Any]] = set()
        self._failed = False
        self._task = _task()
        self._branch: dict[str, float] = {}
        self._longest = 0.0

    @staticmethod
    def current() -> Route | None:
        """That of the operation that this is inside; None: of none."""
        route = context.current().get(_KEY)
        return route if isinstance(route, Route) else None

    def inside(self, *, suppressed: bool) -> Context:
        """The context of the operation's inside, where nothing is traced if so said."""
        return Context({**(context.suppressed_context() if suppressed else context.current()), _KEY: self})

    def node(self) -> tuple[Any, Any] | None:
        """Host and port of the node that is the operation's; None: there is not one."""
        return next(iter(self.answered)) if len(self.answered) == 1 else None if self.answered else self.asked

    def attempt(self) -> None:
        """A node is about to be asked. If one has failed before, this is another attempt."""
        if self._failed:
            self._failed = False
            parts.retried()

    def fail(self) -> None:
        """The attempt has failed."""
        self._failed = True

    def join(self, began: float) -> None:
        """A call of a node that began then is over: if it ran in a task of its own, take its notes along."""
        if self._task is _task():
            return
        found, seconds = parts.take(began), perf_counter() - began
        if seconds > self._longest:
            self._longest, self._branch = seconds, found or {}

    def merge(self) -> None:
        """Leave the notes of the longest task, now in the operation's own."""
        for key, value in self._branch.items():
            if key == CAUSAL_ATTEMPTS:
                for _ in range(int(value) - 1):
                    parts.retried()
            else:
                parts.note(key, value)


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class _Ending(Protocol):
    """What is told of an operation: that itself, or whatever ends it."""

    def learn(self, attributes: dict[str, Any]) -> None:
        """Set attributes that were not known when it began."""

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""


class Routed:
    """An operation whose server is known when it has answered.

    Args:
        running: the operation, or whatever ends it.
        suppressed: whether nothing inside is traced, because the operation consists of what are operations elsewhere.
    """

    args: tuple[Any, ...] | None = None

    def __init__(self, running: _Ending, *, suppressed: bool) -> None:
        self._running = running
        self._route = Route()
        self.inside: Context | None = self._route.inside(suppressed=suppressed)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The operation is over."""
        self._route.merge()
        node = self._route.node()
        if node is not None:
            self._running.learn(address(*node))
        self._running.end(result, error)


def without() -> Context:
    """The context of what finds the nodes: it is not traced, and the nodes that it asks are not the operation's."""
    return Context({**context.suppressed_context(), _KEY: None})


# -- wrappers -----------------------------------------------------------------------------------------------------


def _note(node: Any) -> Route | None:
    """Note that a node is asked, in the route that this is inside."""
    try:
        route = Route.current()
        if route is not None:
            route.asked = node.host, node.port
    except Exception:
        faults.report("redis: node of a cluster")
        return None
    return route


def noting_argument(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a synchronous cluster that gives the client of a node."""

    @functools.wraps(original)
    def get_connection(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        _note(args[0] if args else kwargs.get("node"))
        return original(self, *args, **kwargs)

    return get_connection


def noting_self(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For a method of a node or of a connection that is about to be used; of either half."""
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            _note(self)
            return await original(self, *args, **kwargs)

        return async_call

    @functools.wraps(original)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        _note(self)
        return original(self, *args, **kwargs)

    return call


def attempting(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a cluster that has a node carry a command out, and follows redirections."""
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def async_execute(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            route = Route.current()
            if route is None:
                return await original(self, *args, **kwargs)
            route.attempt()
            try:
                return await original(self, *args, **kwargs)
            except BaseException:
                route.fail()
                raise

        return async_execute

    @functools.wraps(original)
    def execute(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        route = Route.current()
        if route is None:
            return original(self, *args, **kwargs)
        route.attempt()
        try:
            result = original(self, *args, **kwargs)
        except BaseException:
            route.fail()
            raise
        if route.asked is not None:
            route.answered.add(route.asked)
        return result

    return execute


def executing(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the methods of asyncio's nodes that carry out a command, or those of a pipeline that are theirs."""

    @functools.wraps(original)
    async def execute(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        route = _note(self)
        if route is None:
            return await original(self, *args, **kwargs)
        began = perf_counter()
        try:
            result = await original(self, *args, **kwargs)
        finally:
            route.join(began)
        if not (args and isinstance(args[0], list) and _all_redirected(args[0])):
            route.answered.add((self.host, self.port))
        return result

    return execute


def noting_commands(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method that reads what a node says to its commands of a synchronous cluster's pipeline."""

    @functools.wraps(original)
    def read(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        try:
            route = Route.current()
            if route is not None and not _all_redirected(self.commands):
                route.answered.add((self.connection.host, self.connection.port))
        except Exception:
            faults.report("redis: node of a cluster")
        return result

    return read


def _all_redirected(commands: Any) -> bool:
    """Whether a node has referred the client to others with all that it was asked, or could not be asked."""
    return bool(commands) and all(
        isinstance(getattr(each, "result", None), Exception)
        and type(each.result).__name__ in ("AskError", "MovedError", "ConnectionError", "TimeoutError")
        for each in commands
    )
