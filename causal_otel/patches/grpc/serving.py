"""Calls that a server is asked for: one SERVER span each, from their arrival to the end of their handler.

An interceptor before all others, which the server is made with, begins the span, is there while the program's own
interceptors look for the handler, and gives gRPC a handler of the same kind that runs the program's inside the span.
"""

from __future__ import annotations

import functools
import inspect
from asyncio import CancelledError
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.causality.own_steps import OwnSteps
from causal_otel.engine import context
from causal_otel.engine.outcome import is_cancellation
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.parts import LEAST
from causal_otel.names import (
    CAUSAL_CPU,
    CAUSAL_LOOP_READY_WAIT,
    CLIENT_ADDRESS,
    RPC_RESPONSE_STATUS_CODE,
)
from causal_otel.patches._http_server import parent_context
from causal_otel.patches.grpc.methods import is_ours, served, unknown

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS"]

_FAILURES = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""The statuses that are errors of a server, as the conventions have it: all others are what it had to say."""


_NONE_LEFT = 0.005
"""Seconds before the end of a call's time: the client's clock has begun before the server's."""


class _Serving:
    """A call that is served.

    Args:
        tracing: the handle.
        running: the operation; None: it is not recorded, and its context is carried on.
        where: the context for the program's code.
        method: its name.
    """

    def __init__(self, tracing: Tracing[Any], running: Running | None, where: Context, method: str) -> None:
        self._tracing = tracing
        self._running = running
        self._method = method
        self.where = where

    def _end(self, tell: Callable[[Running], None], error: BaseException | None = None) -> None:
        """End the span, once ``tell`` has told what came of the call. Never raises."""
        running, self._running = self._running, None
        if running is None:
            return
        for step in (tell, lambda running: running.end(error=error)):
            try:
                step(running)
            except Exception:
                faults.report("grpc: a call that is served")

    def missing(self) -> None:
        """The server has no such method."""

        def tell(running: Running) -> None:
            running.operation = operation = unknown(self._method)
            running.span.update_name(operation.name)
            running.learn({**operation.attributes, RPC_RESPONSE_STATUS_CODE: "UNIMPLEMENTED"})
            running.fail("UNIMPLEMENTED", "UNIMPLEMENTED")

        self._end(tell)

    def refused(self, error: BaseException) -> None:
        """One of the program's interceptors has raised, so that the call has no handler."""

        def tell(running: Running) -> None:
            self._tracing.raised(running, error)
            running.learn({RPC_RESPONSE_STATUS_CODE: "CANCELLED" if is_cancellation(error) else "UNKNOWN"})

        self._end(tell)

    def reached(self, servicer: Any) -> bool:
        """The handler is about to be called. Returns whether it is measured how much it computes. Never raises."""
        running = self._running
        if running is None:
            return False
        try:
            address = _address(servicer.peer())
            if address:
                running.learn({CLIENT_ADDRESS: address})
            return bool(self._tracing.options.cpu_time and running.span.is_recording())
        except Exception:
            faults.report("grpc: a call that is served")
            return False

    def over(self, servicer: Any, error: BaseException | None = None, steps: OwnSteps[Any] | None = None) -> None:
        """The handler has returned or raised. Never raises."""

        def tell(running: Running) -> None:
            if steps is not None:
                _tell_steps(running, steps)
            _tell_outcome(self._tracing, running, servicer, error)

        self._end(tell)

    def __del__(self) -> None:
        # Its message could not be read, or did not arrive, or there were too many calls at once: gRPC tells nobody.
        self._end(lambda running: None, GeneratorExit())


def _tell_steps(running: Running, steps: OwnSteps[Any]) -> None:
    parts = {CAUSAL_CPU: steps.computed() / 1e9, CAUSAL_LOOP_READY_WAIT: steps.waited / 1e9}
    running.span.set_attributes({key: value for key, value in parts.items() if value >= LEAST})


def _tell_outcome(tracing: Tracing[Any], running: Running, servicer: Any, error: BaseException | None) -> None:
    said = _code(servicer)
    if error is None or type(error).__name__ == "AbortError":
        code = said or ("OK" if error is None else "UNKNOWN")
    elif is_cancellation(error) or isinstance(error, GeneratorExit):
        # gRPC cancels the handler as well when the time that the client has given is over.
        left = servicer.time_remaining()
        code = "CANCELLED" if left is None or left > _NONE_LEFT else "DEADLINE_EXCEEDED"
        if code == "CANCELLED":
            running.failed(CancelledError())
    else:
        code = said or "UNKNOWN"
        if code in _FAILURES:
            tracing.raised(running, error)
            running.learn_outcome(code, {RPC_RESPONSE_STATUS_CODE: code})
            return
    running.learn_outcome(code, {RPC_RESPONSE_STATUS_CODE: code})
    if code in _FAILURES:
        running.fail(code, code)


def _code(servicer: Any) -> str | None:
    """The status that a handler has set; None: none, or OK."""
    code = servicer.code()
    if isinstance(code, int):
        import grpc  # type: ignore[import-untyped]

        code = next((each for each in grpc.StatusCode if each.value[0] == code), None)
    name = getattr(code, "name", None)
    return None if name == "OK" else name


@functools.lru_cache(256)
def _address(peer: str) -> str:
    """The address of a client, as gRPC tells it: ``ipv4:127.0.0.1:41000``, ``ipv6:[::1]:41000``, ``unix:``."""
    scheme, _, rest = peer.partition(":")
    if scheme not in ("ipv4", "ipv6"):
        return ""
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")


# -- handlers -----------------------------------------------------------------------------------------------------


def _inside(serving: _Serving, handler: Any) -> Any:
    """A handler of the same kind, which runs in the context of the call."""
    import grpc

    kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
    behavior = getattr(handler, kind)
    if inspect.iscoroutinefunction(behavior):
        replaced: Any = _coroutine(serving, behavior)
    elif inspect.isasyncgenfunction(behavior):
        replaced = _async_generator(serving, behavior)
    elif handler.response_streaming:
        replaced = _generator(serving, behavior)
    else:
        replaced = _function(serving, behavior)
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(replaced, handler.request_deserializer, handler.response_serializer)


def _coroutine(serving: _Serving, behavior: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(behavior)
    async def call(request: Any, servicer: Any) -> Any:
        measured = serving.reached(servicer)
        activation = context.attach(serving.where)
        handling = behavior(request, servicer)
        steps: OwnSteps[Any] | None = OwnSteps(handling) if measured else None
        try:
            response = await (handling if steps is None else steps)
        except BaseException as error:
            activation.end()
            serving.over(servicer, error, steps)
            raise
        activation.end()
        serving.over(servicer, None, steps)
        return response

    return call


def _async_generator(serving: _Serving, behavior: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(behavior)
    async def call(request: Any, servicer: Any) -> AsyncGenerator[Any, None]:
        serving.reached(servicer)
        responses = behavior(request, servicer)
        try:
            while True:
                activation = context.attach(serving.where)
                try:
                    response = await anext(responses)
                except StopAsyncIteration:
                    break
                finally:
                    activation.end()
                yield response
        except BaseException as error:
            activation = context.attach(serving.where)
            try:
                await responses.aclose()
            finally:
                activation.end()
                serving.over(servicer, error)
            raise
        serving.over(servicer)

    return call


class _Told:
    """What a handler that is a plain function is given, which cannot be asked for the status that was set."""

    def __init__(self, servicer: Any) -> None:
        self._servicer = servicer
        self._code: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._servicer, name)

    def set_code(self, code: Any) -> None:
        self._code = code
        self._servicer.set_code(code)

    def abort(self, code: Any, *args: Any, **kwargs: Any) -> Any:
        self._code = code
        return self._servicer.abort(code, *args, **kwargs)

    def code(self) -> Any:
        return self._code


def _function(serving: _Serving, behavior: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(behavior)
    def call(request: Any, servicer: Any) -> Any:
        told = _Told(servicer)
        serving.reached(told)
        activation = context.attach(serving.where)
        try:
            response = behavior(request, told)
        except BaseException as error:
            activation.end()
            serving.over(told, error)
            raise
        activation.end()
        serving.over(told)
        return response

    return call


def _generator(serving: _Serving, behavior: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(behavior)
    def call(request: Any, servicer: Any) -> Generator[Any, None, None]:
        told = _Told(servicer)
        serving.reached(told)
        responses: Any = None
        try:
            while True:
                activation = context.attach(serving.where)
                try:
                    if responses is None:
                        responses = iter(behavior(request, told))
                    response = next(responses)
                except StopIteration:
                    break
                finally:
                    activation.end()
                yield response
        except BaseException as error:
            serving.over(told, error)
            raise
        serving.over(told)

    return call


# -- the interceptor ----------------------------------------------------------------------------------------------


def _begin(tracing: Tracing[Any], details: Any) -> _Serving | None:
    """A call has arrived; None: it is not traced."""
    method: str = details.method.removeprefix("/")
    if not tracing.active or is_ours(method) or context.is_suppressed(context.current()):
        return None
    headers: dict[str, str] = {}
    for name, value in details.invocation_metadata or ():
        if isinstance(value, str):
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    parent = parent_context(headers, tracing.border)
    operation: Operation = served(method)
    if tracing.excluded is not None and operation.fits(tracing.excluded):
        return _Serving(tracing, None, context.with_span(tracing.start_excluded(parent), parent), method)
    running = tracing.entry(operation, (details,), parent)
    where = context.with_span(running.span, parent)
    return _Serving(tracing, running if running.is_observed() else None, where, method)


def _made(tracing: Tracing[Any]) -> Any:
    """The interceptor."""
    from grpc.aio import ServerInterceptor  # type: ignore[import-untyped]

    class CausalInterceptor(ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
            try:
                serving = _begin(tracing, details)
            except Exception:
                serving = None
                faults.report("grpc: a call that arrives")
            if serving is None:
                return await continuation(details)
            activation = context.attach(serving.where)
            try:
                handler = await continuation(details)
            except BaseException as error:
                activation.end()
                serving.refused(error)
                raise
            activation.end()
            try:
                if handler is not None:
                    return _inside(serving, handler)
                serving.missing()
            except Exception:
                faults.report("grpc: a call that arrives")
            return handler

    return CausalInterceptor()


def _intercepted(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For making a server: ``interceptors`` is its third argument."""

    @functools.wraps(original)
    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if tracing.active:
            try:
                ours = _made(tracing)
                if len(args) > 2:
                    args = (*args[:2], (ours, *(args[2] or ())), *args[3:])
                else:
                    kwargs["interceptors"] = (ours, *(kwargs.get("interceptors") or ()))
            except Exception:
                faults.report("grpc: a server")
        return original(self, *args, **kwargs)

    return __init__


TARGETS = (Wrap("grpc.aio._server", "Server.__init__", _intercepted),)
"""The targets."""
