"""redis-py's calls that are no commands of a client, which are a span only if they fail (see ``__init__.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.engine.outcome import is_cancellation
from causal_otel.instrument.calls import Args, Describe, Kwargs, Wrapper, plumbing_call, suppressed, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.errors import Errors
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import DB_RESPONSE_STATUS_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.operation import Operation

__all__ = ["targets"]


class _Read(Plumbing):
    """Waiting for a message. Cancelling that is how listeners end: it is no span, for it may have taken hours."""

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """There is a message, or none."""
        given_up = error is not None and (not isinstance(error, Exception) or is_cancellation(error))
        super().end(result, None if given_up else error)


def targets(
    command: Describe, operation: Callable[[str, Any], Operation], code: Callable[[BaseException], str]
) -> tuple[Wrap, ...]:
    """Where they are.

    Args:
        command: says what a command is, from whatever has a pool of connections.
        operation: what is named so, of whatever has a pool of connections.
        code: how errors are told.
    """

    def failure_code(error: BaseException) -> str | None:
        """The code of an error of Redis or of the connection; None for a refused argument, which is no failure."""
        from redis.exceptions import RedisClusterException, RedisError

        return code(error) if isinstance(error, RedisError | RedisClusterException | OSError) else None

    errors = Errors(failure_code, DB_RESPONSE_STATUS_CODE)

    def named(name: str) -> Wrapper:
        return plumbing_call(lambda tracing, instance, args, kwargs: operation(name, instance), errors, nests=True)

    def alone(name: str) -> Wrapper:
        """The same, with nothing traced inside."""
        return lambda tracing, original: named(name)(tracing, suppressed(tracing, original))

    def read(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> _Read:
        return _Read(tracing, operation, ("RECEIVE", instance), errors, nests=True)

    subscribe = plumbing_call(command, errors, nests=True)
    receive = traced_call(read)
    return (
        Wrap("redis.client", "Redis.__init__", named("CONNECT")),  # connects if it is to have a single connection
        Wrap("redis.asyncio.client", "Redis.__aenter__", named("CONNECT")),
        Wrap("redis.client", "PubSub.execute_command", subscribe),
        Wrap("redis.asyncio.client", "PubSub.execute_command", subscribe),
        Wrap("redis.cluster", "ClusterPubSub.execute_command", subscribe),
        Wrap("redis.asyncio.cluster", "ClusterPubSub.execute_command", subscribe, optional=True),  # since 8
        Wrap("redis.client", "PubSub.parse_response", receive),
        Wrap("redis.asyncio.client", "PubSub.parse_response", receive),
        Wrap("redis.client", "Monitor.__init__", named("MONITOR")),
        Wrap("redis.client", "Monitor.__enter__", named("MONITOR")),
        Wrap("redis.asyncio.client", "Monitor.__aenter__", named("MONITOR")),
        Wrap("redis.cluster", "NodesManager.initialize", alone("CONNECT")),
        Wrap("redis.asyncio.cluster", "NodesManager.initialize", alone("CONNECT")),
        Wrap("redis.sentinel", "Sentinel.discover_master", alone("DISCOVER")),
        Wrap("redis.asyncio.sentinel", "Sentinel.discover_master", alone("DISCOVER")),
        # A command that cannot find its master says so itself.
        Wrap("redis.sentinel", "SentinelConnectionPoolProxy.get_master_address", suppressed),
        Wrap("redis.asyncio.sentinel", "SentinelConnectionPool.get_master_address", suppressed),
    )
