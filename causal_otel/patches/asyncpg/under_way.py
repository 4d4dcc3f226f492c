"""What is under way around a call: who takes the parts of its time, and whose failure it is.

A pool's methods, and what is plumbing, run other traced calls inside: connecting, a pool's hooks and their queries,
``BEGIN``. Those find an :class:`Around` in the context, leave their time there, and are no spans unless they fail.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key

from causal_otel.engine import context
from causal_otel.instrument.calls import traced_call
from causal_otel.instrument.parts import LEAST, note
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_TLS,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_SERVER,
)
from causal_otel.patches.asyncpg.operations import ERRORS

if TYPE_CHECKING:
    from causal_otel.instrument.calls import Args, Describe, Kwargs, Wrapper
    from causal_otel.instrument.tracing import Tracing

__all__ = ["KEY", "Around", "Step", "around", "hooks_around", "step"]

KEY = create_key("causal-otel-asyncpg-around")
"""The key in a context of the :class:`Around` that it is inside."""

_current = context.current

_FIRST = (CAUSAL_CONNECT, CAUSAL_POOL_SETUP, CAUSAL_POOL_WAIT, CAUSAL_SERVER)
"""Whose time a moment is in which several go on: connecting happens inside a hook, and a hook inside a query."""


class Around:
    """What goes on around other traced calls.

    Args:
        key: the part that its time is, unless it is told of another; None: none.
        pool: whose it is; None: no pool's.
        tells: whether plumbing inside is no span even if it fails: an operation fails with it, or asyncpg logs it.

    Attributes:
        over: whether it has ended: tasks that were started inside may still have it in their context.
        hooks: how many calls are under way in which a pool's hooks and nobody else may use its connections.
        connection: the connection that was got from the pool, and on which the one statement of all this is run.
        endpoint: the address and the database that were connected to last.
        waits: whether it waits for the pool just now.
        waiting: how many others waited when it began to.
    """

    __slots__ = (
        *("_active", "_parts", "_since", "connection", "endpoint", "hooks", "over", "pool", "tells", "waiting"),
        "waits",
    )

    def __init__(self, key: str | None = None, pool: Any = None, *, tells: bool = False) -> None:
        self.pool = pool
        self.tells = tells
        self.over = False
        self.hooks = 0
        self.connection: Any = None
        self.endpoint: tuple[Any, str] | None = None
        self.waits = False
        self.waiting = 0
        self._active: dict[str, int] = {} if key is None else {key: 1}
        self._parts: dict[str, float] = {}
        self._since = perf_counter()

    def inside(self, outer: Context | None = None) -> Context:
        """The current context, or ``outer``, for the inside of it."""
        return Context({**(context.current() if outer is None else outer), KEY: self})

    def enter(self, key: str) -> None:
        """A part begins."""
        self._count()
        self._active[key] = self._active.get(key, 0) + 1

    def leave(self, key: str) -> None:
        """It ends."""
        self._count()
        self._active[key] = self._active.get(key, 1) - 1

    def add(self, key: str, seconds: float) -> None:
        """Add to a part of a part."""
        self._parts[key] = self._parts.get(key, 0.0) + seconds

    def begin_wait(self, waiting: int) -> None:
        """It waits for its pool, as so many others do."""
        self.hooks += 1
        self.waits, self.waiting = True, waiting
        self.enter(CAUSAL_POOL_WAIT)

    def got(self) -> None:
        """The wait is over: what follows is connecting and the pool's hooks."""
        if self.waits:
            self.waits = False
            self.leave(CAUSAL_POOL_WAIT)
            self.enter(CAUSAL_POOL_SETUP)

    def end_wait(self) -> None:
        """The connection can be used, or nobody wants it any more."""
        self.leave(CAUSAL_POOL_WAIT if self.waits else CAUSAL_POOL_SETUP)
        self.waits = False
        self.hooks -= 1

    def close(self) -> dict[str, float]:
        """It is over: the parts of its time, which do not overlap."""
        self.over = True
        self._count()
        parts = self._parts
        for key in (CAUSAL_CONNECT_DNS, CAUSAL_CONNECT_TLS):  # of connections that were made at the same time
            if key in parts:
                parts[key] = min(parts[key], parts.get(CAUSAL_CONNECT, 0.0))
        return parts

    def pool_attributes(self) -> dict[str, Any]:
        """What the span of a wait tells of the pool."""
        size = getattr(self.pool, "_maxsize", None)
        if size is None or self._parts.get(CAUSAL_POOL_WAIT, 0.0) < LEAST:
            return {}
        return {CAUSAL_POOL_SIZE: size, CAUSAL_POOL_WAITING: self.waiting}

    def _count(self) -> None:
        now = perf_counter()
        for key in _FIRST:
            if self._active.get(key):
                self._parts[key] = self._parts.get(key, 0.0) + now - self._since
                break
        self._since = now


def around() -> Around | None:
    """What is under way around this call, if anything."""
    found = _current().get(KEY)
    return found if found is not None and not found.over else None  # type: ignore[attr-defined, return-value]


def hooks_around() -> Around | None:
    """The same, if this is inside what a pool does or inside plumbing: queries are not the user's own, then."""
    found = around()
    return found if found is not None and found.hooks else None


class Step(Plumbing):
    """Plumbing under way, with the parts of its time. Inside other plumbing it leaves them there as well.

    Args:
        tracing: the handle.
        describe: says what it is.
        arguments: for ``describe``.
        key: the part that its time is, unless it is told of another.
        pool: the pool, if it is one's.
    """

    __slots__ = ("_key", "around", "outer")

    def __init__(
        self, tracing: Tracing[Any], describe: Any, arguments: tuple[Any, ...], key: str | None, pool: Any = None
    ) -> None:
        super().__init__(tracing, describe, arguments, ERRORS, nests=True)
        self.outer = hooks_around()
        self._key = key
        if self.outer is not None and key is not None:
            self.outer.enter(key)
        self.around = Around(key, pool)
        self.around.hooks = 1
        self.inside = self.around.inside(self.inside)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        around, outer = self.around, self.outer
        parts = around.close()
        if outer is not None and self._key is not None:
            outer.leave(self._key)
        if outer is not None and outer.tells:
            return
        for key, seconds in parts.items():
            self.part(key, seconds)
            if outer is None and key != CAUSAL_SERVER:
                note(key, seconds)  # for an operation of another patch, as SQLAlchemy's
        super().end(result, error)


def step(describe: Describe, key: str | None = CAUSAL_SERVER) -> Wrapper:
    """A wrapper for plumbing: see :class:`Step`."""

    def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Step:
        return Step(tracing, describe, (tracing, instance, args, kwargs), key)

    return traced_call(begin)
