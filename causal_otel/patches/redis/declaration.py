"""The declaration of the patch, for redis-py and for its fork valkey-py, whose modules have the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel.engine import context
from causal_otel.instrument.calls import client_call, excluded_call, inside, suppressed, traced_call
from causal_otel.instrument.declaration import Patch, Target, Wrap
from causal_otel.metrics.conventions import DATABASE_CLIENT
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_ATTEMPTS,
    CAUSAL_CANCELLED,
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_TLS,
    CAUSAL_DISCOVERY,
    CAUSAL_LOCK_ACQUIRED,
    CAUSAL_LOCK_WAIT,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SERVER,
    CAUSAL_TRANSACTION_ROLLED_BACK,
    DB_NAMESPACE,
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_QUERY_TEXT,
    DB_RESPONSE_STATUS_CODE,
    DB_STORED_PROCEDURE_NAME,
    DB_SYSTEM_NAME,
    ERROR_TYPE,
    MESSAGING_DESTINATION_NAME,
    MESSAGING_OPERATION_NAME,
    MESSAGING_OPERATION_TYPE,
    MESSAGING_SYSTEM,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.patches.redis import connections, locks, messages, modules, plumbing, pools
from causal_otel.patches.redis.background import POOLS
from causal_otel.patches.redis.errors import RAISED, RETURNED, handling_noscript, is_lost_watch
from causal_otel.patches.redis.operations import command_of, is_routed, pipeline_of
from causal_otel.patches.redis.routes import (
    Routed,
    attempting,
    executing,
    noting_argument,
    noting_commands,
    noting_self,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.calls import Args, Describe, Kwargs, Wrapper
    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.options import DatabaseOptions
    from causal_otel.instrument.tracing import Tracing

__all__ = ["patch"]


class _Pipeline:
    """The execution of a pipeline: a failure among its results is its own, and a lost ``WATCH`` is an event.

    A pipeline that raises its first error returns none.

    Args:
        running: the operation.
    """

    __slots__ = ("_running",)

    args: Args | None = None
    inside = None

    def __init__(self, running: Running) -> None:
        self._running = running

    def learn(self, attributes: dict[str, Any]) -> None:
        """See :class:`~causal_otel.instrument.operation.Running`."""
        self._running.learn(attributes)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The pipeline has been executed."""
        failure = next((each for each in result or () if isinstance(each, Exception)), None)
        if failure is not None:
            self._running.failed(failure, RETURNED)
        if is_lost_watch(error):
            current = context.current_span()
            if current is not None and current.is_recording():
                current.add_event(CAUSAL_TRANSACTION_ROLLED_BACK)
        self._running.end(result, error)


def _behind_sentinel(running: Running, client: Any) -> Call:
    """What ends a command that is not of the simplest kind: what its server was is told then, if it was not known."""
    return Routed(running, suppressed=False) if is_routed(client) else running


def _ending_pipeline(running: Running, pipeline: Any) -> Call:
    """Likewise for a pipeline: one that watches keys, or returns its errors."""
    ends = _Pipeline(running)
    return Routed(ends, suppressed=False) if is_routed(pipeline) else ends


def _command(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    call = client_call(command_of(tracing.options), RAISED, rest=CAUSAL_SERVER, special=_behind_sentinel)
    return call(tracing, original)


def _pipeline(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    call = client_call(pipeline_of(tracing.options), RAISED, rest=CAUSAL_SERVER, special=_ending_pipeline)
    return call(tracing, original)


def _call(describe: Callable[[Any], Describe], call: Callable[[Running], Call]) -> Wrapper:
    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        described = describe(tracing.options)

        def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
            operation = described(tracing, instance, args, kwargs)
            if operation is None:
                return None
            if tracing.excluded is not None and operation.fits(tracing.excluded):
                return excluded_call(tracing)
            running = tracing.leaf(operation, RAISED, (instance, args, kwargs))
            if running is None:
                return None
            running.take_notes(CAUSAL_SERVER)
            return call(running)

        return traced_call(begin)(tracing, original)

    return wrap


_cluster_command = _call(command_of, lambda running: Routed(running, suppressed=True))
_cluster_pipeline = _call(pipeline_of, lambda running: Routed(_Pipeline(running), suppressed=True))
_script = inside(handling_noscript)


def _of_both(driver: str, module: str, attribute: str, wrap: Any) -> tuple[Wrap, Wrap]:
    """The targets of a name that the synchronous and the asyncio half of the driver share."""
    return Wrap(f"{driver}.{module}", attribute, wrap), Wrap(f"{driver}.asyncio.{module}", attribute, wrap)


def _targets(driver: str) -> tuple[Target, ...]:
    client = driver.capitalize()
    cluster = f"{client}Cluster"
    return (
        *_of_both(driver, "client", f"{client}.execute_command", _command),
        *_of_both(driver, "client", "Pipeline.immediate_execute_command", _command),
        *_of_both(driver, "client", "Pipeline.execute", _pipeline),
        *_of_both(driver, "client", "Pipeline.load_scripts", suppressed),
        *_of_both(driver, "cluster", f"{cluster}.execute_command", _cluster_command),
        *_of_both(driver, "cluster", "ClusterPipeline.execute", _cluster_pipeline),
        *_of_both(driver, "cluster", f"{cluster}._execute_command", attempting),
        Wrap(f"{driver}.cluster", f"{cluster}.get_{driver}_connection", noting_argument),
        Wrap(f"{driver}.cluster", "NodeCommands.read", noting_commands),
        Wrap(f"{driver}.asyncio.cluster", "ClusterNode.acquire_connection", noting_self),
        Wrap(f"{driver}.asyncio.cluster", "ClusterNode.execute_command", executing),
        Wrap(f"{driver}.asyncio.cluster", "ClusterNode.execute_pipeline", executing),
        *_of_both(driver, "sentinel", "SentinelManagedConnection.read_response", noting_self),
        Wrap(f"{driver}.commands.core", "Script.__call__", _script),
        Wrap(f"{driver}.commands.core", "AsyncScript.__call__", _script),
        *locks.targets(driver),
        *messages.targets(driver),
        *connections.targets(driver),
        *modules.targets(driver),
        *pools.targets(driver),
        *plumbing.targets(driver, client, command_of),
    )


def patch(driver: str, versions: tuple[str, str], options: type[DatabaseOptions]) -> Patch:
    """The patch of a driver.

    Args:
        driver: ``redis`` or ``valkey``: the distribution, the package, and in capitals the class of its clients.
        versions: the first version supported, and the first that is not.
        options: the class of its options.
    """
    return Patch(
        name=driver,
        versions={driver: versions},
        options=options,
        targets=(*_targets(driver), *(POOLS if driver == "redis" else ())),
        records=(
            DB_SYSTEM_NAME,
            DB_NAMESPACE,
            DB_OPERATION_NAME,
            DB_OPERATION_BATCH_SIZE,
            DB_QUERY_TEXT,
            DB_STORED_PROCEDURE_NAME,
            DB_RESPONSE_STATUS_CODE,
            SERVER_ADDRESS,
            SERVER_PORT,
            ERROR_TYPE,
            MESSAGING_SYSTEM,
            MESSAGING_OPERATION_NAME,
            MESSAGING_OPERATION_TYPE,
            MESSAGING_DESTINATION_NAME,
            CAUSAL_ATTEMPTS,
            CAUSAL_CANCELLED,
            CAUSAL_ABANDONED,
            CAUSAL_CONNECT,
            CAUSAL_CONNECT_DNS,
            CAUSAL_CONNECT_TLS,
            CAUSAL_DISCOVERY,
            CAUSAL_LOCK_ACQUIRED,
            CAUSAL_LOCK_WAIT,
            CAUSAL_POOL_SIZE,
            CAUSAL_POOL_WAIT,
            CAUSAL_POOL_WAITING,
            CAUSAL_RETRY_WAIT,
            CAUSAL_SERVER,
        ),
        never=(
            "values: each argument is `?`, a key too unless `keys=True`",
            "words that are no command of Redis (`OTHER`)",
            "replies, messages",
            "scripts (their SHA-1 is recorded)",
            "the URL, the user and the password",
            "the server's error message (its prefix is recorded)",
        ),
        metrics={SpanKind.CLIENT: DATABASE_CLIENT._replace(rows=None)},
        pools=True,
    )
