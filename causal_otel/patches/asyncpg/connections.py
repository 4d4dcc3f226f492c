"""What else is done with connections: resetting and closing them, codecs of types, and who listens."""

from __future__ import annotations

import functools
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causal_otel.engine import context
from causal_otel.instrument.calls import Args, Describe, Inside, Kwargs, Wrapper, detached, suppressed, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.names import CAUSAL_SERVER
from causal_otel.patches.asyncpg.leases import lease_of, leases
from causal_otel.patches.asyncpg.operations import ERRORS, endpoint, plumbing
from causal_otel.patches.asyncpg.under_way import hooks_around, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS"]


def _on_connection(operation: str) -> Describe:
    return lambda tracing, connection, args, kwargs: plumbing(operation, *endpoint(connection))


class _Resetting(Plumbing):
    """A connection that is being reset: what the driver sends for that is nobody's query."""

    __slots__ = ()

    def __init__(self, tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> None:
        super().__init__(tracing, _on_connection("RESET"), (tracing, connection, args, kwargs), ERRORS)
        self.inside = context.suppressed_context()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is as new, or not."""
        self.part(CAUSAL_SERVER, (perf_counter_ns() - self._began) / 1e9)
        outer = hooks_around()
        if outer is None or not outer.tells:
            super().end(result, error)


def _begin_resetting(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> _Resetting | None:
    if leases and lease_of(connection) is not None:
        return None  # a part of giving it back
    return _Resetting(tracing, connection, args, kwargs)


def _begin_suppressed(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Inside | None:
    return None if leases and lease_of(connection) is not None else Inside(context.suppressed_context())


class _Listening(Plumbing):
    """A listener that comes or goes: its query is a span, so this one is one only if it fails without any."""

    __slots__ = ()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is there, or gone, or neither."""
        if error is None:
            if self._failures is not None:
                self._failures.close()
            return
        super().end(result, error)


def _listening(operation: str) -> Wrapper:
    describe = _on_connection(operation)

    def begin(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> _Listening:
        return _Listening(tracing, describe, (tracing, connection, args, kwargs), ERRORS, nests=True)

    return traced_call(begin)


class _Detached:
    """A context manager that is left in nobody's context."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def __enter__(self) -> Any:
        return self._manager.__enter__()

    def __exit__(self, *details: Any) -> Any:
        activation = context.attach(Context())
        try:
            return self._manager.__exit__(*details)
        finally:
            activation.end()


def _logging(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the context manager that tells query loggers of a query when it is left."""

    @functools.wraps(original)
    def time_and_log(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        manager = original(self, *args, **kwargs)
        return _Detached(manager) if tracing.active and getattr(self, "_query_loggers", None) else manager

    return time_and_log


_CONNECTION = "asyncpg.connection"

TARGETS = (
    Wrap(_CONNECTION, "Connection.reset", traced_call(_begin_resetting)),
    Wrap(
        _CONNECTION, "Connection._reset", traced_call(_begin_suppressed), optional=True
    ),  # since 0.30, before a reset of the user's own
    Wrap(_CONNECTION, "Connection.close", step(_on_connection("CLOSE"))),
    Wrap(_CONNECTION, "Connection.add_listener", _listening("LISTEN")),
    Wrap(_CONNECTION, "Connection.remove_listener", _listening("UNLISTEN")),
    Wrap(_CONNECTION, "Connection.set_type_codec", step(_on_connection("SET TYPE CODEC"))),
    Wrap(_CONNECTION, "Connection.set_builtin_type_codec", step(_on_connection("SET TYPE CODEC"))),
    Wrap(_CONNECTION, "Connection.reset_type_codec", step(_on_connection("RESET TYPE CODEC"))),
    # Listeners of notifications, of the server's messages, of the connection's end and of queries.
    Wrap(_CONNECTION, "Connection._process_notification", detached, optional=True),
    Wrap(_CONNECTION, "Connection._process_log_message", detached, optional=True),
    Wrap(_CONNECTION, "Connection._call_termination_listeners", detached, optional=True),
    Wrap(_CONNECTION, "Connection._time_and_log", _logging, optional=True),
    Wrap("asyncpg.utils", "_mogrify", suppressed, optional=True),  # quotes what copy_from_query is given
)
"""The targets. Those that are optional are private: if one is missing, the others are placed."""
