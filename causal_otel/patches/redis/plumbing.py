"""Calls that are no commands of a client: a span only if they fail or, in a span, are slow (see ``__init__.py``).

Of a client that is silent they set nothing current either. Celery unsubscribes in finalizers of results: on Python 3.11
the garbage collector may run these inside ``ContextVar.set()``, which does not bear it if they set a variable as well.
"""

from __future__ import annotations

from time import perf_counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from causal_otel.engine.outcome import is_cancellation
from causal_otel.instrument import parts
from causal_otel.instrument.calls import Inside, suppressed, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.patches.redis.connections import discovering
from causal_otel.patches.redis.errors import PLUMBING
from causal_otel.patches.redis.operations import is_silent, named
from causal_otel.patches.redis.routes import without

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.calls import Args, Describe, Kwargs, Wrapper
    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing

__all__ = ["targets"]


class _Call(Plumbing):
    """A call with the parts of its time."""

    __slots__ = ("_since",)

    connects = False
    """Whether it may do nothing at all, as a client that is made may: then there is nothing that was slow."""

    def __init__(
        self, tracing: Tracing[Any], describe: Callable[..., Operation | None], arguments: tuple[Any, ...]
    ) -> None:
        super().__init__(tracing, describe, arguments, PLUMBING, nests=True)
        self._since = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The call is over."""
        found = parts.noteworthy(parts.take(self._since) or {})
        if error is None and self.connects and not found:
            self._close()
            return
        for key, value in found.items():
            self.part(key, value)
        super().end(result, error)

    def _close(self) -> None:
        """It is no span, however long it took."""
        if self._failures is not None:
            self._failures.close()


class _Connect(_Call):
    __slots__ = ()

    connects = True


class _Read(_Call):
    """Waiting for a message. That is no slow call, and cancelling it is how listeners end: it may have taken hours."""

    __slots__ = ()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """There is a message, or none."""
        if error is None or not isinstance(error, Exception) or is_cancellation(error):
            self._close()
        else:
            super().end(result, error)


def _named(name: str, call: type[_Call] = _Call) -> Wrapper:
    def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> _Call | None:
        return None if is_silent(instance) else call(tracing, named, (name, instance))

    return traced_call(begin)


def _closing(tracing: Tracing[Any], pool: Any, args: Args, kwargs: Kwargs) -> _Call | None:
    client = SimpleNamespace(connection_pool=pool)
    return None if is_silent(client) else _Call(tracing, named, ("CLOSE", client))


def _finding(name: str) -> Wrapper:
    """Plumbing that finds the servers, with nothing traced inside."""
    call = _named(name, _Connect)
    return lambda tracing, original: call(tracing, discovering(tracing, _alone(tracing, original)))


def _found(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For a part of a command: finding the servers, with nothing traced inside."""
    return discovering(tracing, _alone(tracing, original))


# Also where nothing of the call is recorded, as inside the operations of a cluster.
_alone = traced_call(lambda tracing, instance, args, kwargs: Inside(without()), carries=True)


def targets(driver: str, client: str, command: Callable[[Any], Describe]) -> tuple[Wrap, ...]:
    """Where they are.

    Args:
        driver: the package, ``redis`` or ``valkey``.
        client: the name of the class of its clients.
        command: says, by the patch's options, what says what a command is, from whatever has a pool of connections.
    """

    def subscribe(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        describe = command(tracing.options)

        def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> _Call | None:
            return None if is_silent(instance) else _Call(tracing, describe, (tracing, instance, args, kwargs))

        return traced_call(begin)(tracing, original)

    receive = _named("RECEIVE", _Read)
    monitor = _named("MONITOR")
    connect = _named("CONNECT", _Connect)
    closing = traced_call(_closing)
    half, other = driver, f"{driver}.asyncio"
    return (
        Wrap(f"{half}.client", f"{client}.__init__", connect),  # connects if it is to have a single connection
        Wrap(f"{other}.client", f"{client}.__aenter__", connect),
        Wrap(f"{half}.client", "PubSub.execute_command", subscribe),
        Wrap(f"{other}.client", "PubSub.execute_command", subscribe),
        Wrap(f"{half}.cluster", "ClusterPubSub.execute_command", subscribe),
        Wrap(f"{other}.cluster", "ClusterPubSub.execute_command", subscribe, optional=True),  # since 8
        Wrap(f"{half}.client", "PubSub.parse_response", receive),
        Wrap(f"{other}.client", "PubSub.parse_response", receive),
        Wrap(f"{half}.client", "Monitor.__init__", monitor),
        Wrap(f"{half}.client", "Monitor.__enter__", monitor),
        Wrap(f"{other}.client", "Monitor.__aenter__", monitor),
        # A client closes its pool, as many others do that a program closes.
        *(
            Wrap(f"{module}.connection", f"{kind}.disconnect", closing)
            for module in (half, other)
            for kind in ("BlockingConnectionPool", "ConnectionPool")
        ),
        Wrap(f"{other}.cluster", f"{client}Cluster.close", _named("CLOSE"), optional=True),
        Wrap(f"{other}.cluster", f"{client}Cluster.aclose", _named("CLOSE"), optional=True),  # since 5.0.1
        Wrap(f"{half}.cluster", "NodesManager.initialize", _finding("CONNECT")),
        Wrap(f"{other}.cluster", "NodesManager.initialize", _finding("CONNECT")),
        # Also waits for another call that finds them, and asks what commands there are.
        Wrap(f"{other}.cluster", f"{client}Cluster.initialize", discovering),
        Wrap(f"{half}.sentinel", "Sentinel.discover_master", _finding("DISCOVER")),
        Wrap(f"{other}.sentinel", "Sentinel.discover_master", _finding("DISCOVER")),
        Wrap(f"{half}.sentinel", "Sentinel.discover_slaves", _found),
        Wrap(f"{other}.sentinel", "Sentinel.discover_slaves", _found),
        Wrap(f"{half}._parsers.commands", "CommandsParser.initialize", suppressed),
        Wrap(f"{half}._parsers.commands", "CommandsParser._get_moveable_keys", suppressed),
        # A command that cannot find its master says so itself.
        Wrap(f"{half}.sentinel", "SentinelConnectionPoolProxy.get_master_address", suppressed),
        Wrap(f"{other}.sentinel", "SentinelConnectionPool.get_master_address", suppressed),
    )
