"""redis-py's calls that are no commands of a client, which are a span only if they fail (see ``redis.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.engine.outcome import is_cancellation
from causal_otel.patches._layer import Wrap
from causal_otel.patches._plumbing import Nest, failure_call
from causal_otel.patches._tracing import Tracing, silent, traced_call
from causal_otel.semconv import DB_RESPONSE_STATUS_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.patches._tracing import Describe, Operation

__all__ = ["targets"]


class _Read(Nest):
    """Waiting for a message. To give that up is how listeners end, not worth a span as long as they lived."""

    def failed(self, error: BaseException) -> None:
        if isinstance(error, Exception) and not is_cancellation(error):
            super().failed(error)
        else:
            self.succeeded(None)


def targets(
    command: Describe, operation: Callable[[str, Any], Operation], code: Callable[[BaseException], str]
) -> tuple[Wrap, ...]:
    """Where they are.

    Args:
        command: says what a command is, from whatever has a pool of connections.
        operation: what is named so, of whatever has a pool of connections.
        code: how errors are told.
    """

    def told(error: BaseException) -> str | None:
        """An argument that is refused is no failure to connect."""
        from redis.exceptions import RedisClusterException, RedisError

        return code(error) if isinstance(error, RedisError | RedisClusterException | OSError) else None

    def named(name: str) -> Callable[..., Any]:
        return failure_call(
            lambda tracing, instance, args, kwargs: operation(name, instance), told, DB_RESPONSE_STATUS_CODE, nests=True
        )

    def quiet(name: str) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
        """The same, with nothing traced inside."""
        return lambda tracing, original: named(name)(tracing, silent(tracing, original))

    def read(tracing: Tracing[Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Read:
        return _Read(tracing, operation, "RECEIVE", instance, error_type=told, code_attribute=DB_RESPONSE_STATUS_CODE)

    subscribe = failure_call(command, told, DB_RESPONSE_STATUS_CODE, nests=True)
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
        Wrap("redis.cluster", "NodesManager.initialize", quiet("CONNECT")),
        Wrap("redis.asyncio.cluster", "NodesManager.initialize", quiet("CONNECT")),
        Wrap("redis.sentinel", "Sentinel.discover_master", quiet("DISCOVER")),
        Wrap("redis.asyncio.sentinel", "Sentinel.discover_master", quiet("DISCOVER")),
        # A command that cannot find its master says so itself.
        Wrap("redis.sentinel", "SentinelConnectionPoolProxy.get_master_address", silent),
        Wrap("redis.asyncio.sentinel", "SentinelConnectionPool.get_master_address", silent),
    )
