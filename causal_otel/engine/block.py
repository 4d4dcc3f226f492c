"""A span that is current during a block or a call: a context manager, and a decorator of four kinds of functions.

It works with the spans of any tracer. For blocks our own tracer has something faster:
:class:`~causal_otel.engine.current_span.CurrentSpan`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from causal_otel.engine import outcome
from causal_otel.engine.contained import users_span
from causal_otel.engine.context import Activation, enter
from causal_otel.engine.pending import Pending, at_once, is_pending, named_as

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

__all__ = ["SpanBlock"]

F = TypeVar("F", bound="Callable[..., Any]")


class SpanBlock:
    """Starts a span on entry, makes it current, and ends it on exit.

    Args:
        start: makes the span; called once for a block, at each call for a decorated function.
        record: whether an exception that leaves the block is recorded as an event.
        status: whether it sets the status ERROR.
        end_on_exit: whether leaving the block ends the span.
        context: what else is current inside; default: what is current outside.
    """

    def __init__(
        self,
        start: Callable[[], Span],
        *,
        record: bool = True,
        status: bool = True,
        end_on_exit: bool = True,
        context: Context | None = None,
    ) -> None:
        self._start = start
        self._record = record
        self._status = status
        self._end_on_exit = end_on_exit
        self._context = context
        self._span: Span | None = None
        self._activation: Activation | None = None

    def __enter__(self) -> Span:
        self._span = span = self._start()
        self._activation = enter(span, self._context)
        return users_span(span)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        activation, span = self._activation, self._span
        if activation is None or span is None:
            raise RuntimeError("the span's block was left without being entered: use it in a with statement")
        activation.end()
        self._finish(span, error)

    def _finish(self, span: Span, error: BaseException | None) -> None:
        if error is not None:
            outcome.record_outcome(span, error, record=self._record, status=self._status)
        if self._end_on_exit:
            span.end()

    def _again(self) -> SpanBlock:
        return SpanBlock(
            self._start, record=self._record, status=self._status, end_on_exit=self._end_on_exit, context=self._context
        )

    def __call__(self, function: F) -> F:
        """Decorate ``function``: every call of it is one span, which lasts until its last item if it generates.

        Where a plain function returns an awaitable or an async generator, the call is over when that is done.
        """
        wrap: Callable[[F], Callable[..., Any]]
        if inspect.isasyncgenfunction(function):
            wrap = self._async_generator
        elif inspect.isgeneratorfunction(function):
            wrap = self._generator
        elif inspect.iscoroutinefunction(function):
            wrap = self._coroutine
        else:
            wrap = self._function
        return cast("F", functools.wraps(function)(wrap(function)))

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            span = self._start()
            activation = enter(span, self._context)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                activation.end()
                self._finish(span, error)
                raise
            activation.end()
            if type(result) not in at_once and is_pending(type(result)):
                return self._until_done(result, span)
            self._finish(span, None)
            return result

        return call

    def _until_done(self, result: Any, span: Span) -> Any:
        """What the caller gets in place of ``result``, whose end is also that of ``span``."""
        pending = Pending(result, lambda: enter(span, self._context), lambda _, error: self._finish(span, error))
        if not isinstance(result, AsyncGenerator):
            return pending.substitute()

        def begun() -> Span:
            pending.take()  # from here on the generator ends it
            return span

        return named_as(self._async_generator(lambda: result, begun)(), result)

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return await function(*args, **kwargs)

        return call

    # A generator runs in the context of whoever asks it for the next item. Its span is therefore current during
    # each step and never while it is suspended: the consumer's context is untouched, whatever the consumer does.
    # The two loops below are alike line by line, but one awaits its steps. Driving both by one loop would take a
    # coroutine or a callback for each item.

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            span = self._start()
            error: BaseException | None = None
            try:
                steps = function(*args, **kwargs)
                step: Callable[[], Any] = functools.partial(next, steps)
                while True:
                    activation = enter(span, self._context)
                    try:
                        item = step()
                    except StopIteration as stop:
                        return stop.value
                    finally:
                        activation.end()
                    try:
                        step = functools.partial(steps.send, (yield item))
                    except GeneratorExit:
                        steps.close()
                        raise
                    except BaseException as thrown:
                        step = functools.partial(steps.throw, thrown)
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._finish(span, error)

        return call

    def _async_generator(
        self, function: Callable[..., Any], start: Callable[[], Span] | None = None
    ) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            span = (start or self._start)()
            error: BaseException | None = None
            try:
                steps = function(*args, **kwargs)
                step: Callable[[], Any] = functools.partial(anext, steps)
                while True:
                    activation = enter(span, self._context)
                    try:
                        item = await step()
                    except StopAsyncIteration:
                        return
                    finally:
                        activation.end()
                    try:
                        step = functools.partial(steps.asend, (yield item))
                    except GeneratorExit:
                        await steps.aclose()
                        raise
                    except BaseException as thrown:
                        step = functools.partial(steps.athrow, thrown)
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._finish(span, error)

        return call
