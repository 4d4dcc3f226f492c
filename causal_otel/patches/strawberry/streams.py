"""Operations with more than one result: subscriptions, and what is delivered incrementally."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.strawberry.described import Described
from causal_otel.patches.strawberry.operations import OwnSpan, Teller, begin_own, end_telling, is_excluded, teller

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["wrap_stream"]


class _Stream:
    """A stream of results, whose operation is a span, and perhaps the only one of an HTTP request.

    Args:
        own: the operation's span; None: it is not recorded.
        request: the HTTP request, which is told of it as well.
        where: what is current while a result is made; None: what is.
    """

    streams = True

    def __init__(self, own: OwnSpan | None = None, request: Teller | None = None, where: Context | None = None) -> None:
        self.own = own
        self._request = request
        self._where = own.where if own is not None else where

    def has_spans(self) -> bool:
        """It has one."""
        return False

    def tell(self, described: Described) -> None:
        """Its operation is over."""
        if self.own is not None:
            self.own.tell(described)
        if self._request is not None:
            self._request.tell(described)

    async def inside(self, step: Callable[[], Any]) -> Any:
        """Take a step of the generator of results."""
        token = teller.set(self)
        activation = None if self._where is None else context.attach(self._where)
        try:
            return await step()
        finally:
            if activation is not None:
                activation.end()
            end_telling(token)


def _begin(tracing: Tracing[Any], name: object, above: Teller | None) -> _Stream:
    try:
        if is_excluded(tracing, name):
            return _Stream(where=context.with_span(tracing.start_excluded()))
        return _Stream(begin_own(tracing, None), above)
    except Exception:
        faults.report("strawberry: stream")
        return _Stream()


def wrap_stream(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps what returns the results of a stream: its span begins when the first one is asked for."""

    @functools.wraps(original)
    async def stream(self: Any, *args: Any, **options: Any) -> Any:
        above = teller.get()
        if not tracing.active or isinstance(above, _Stream):  # `subscribe` calls `stream`
            return await original(self, *args, **options)
        token = teller.set(_Stream())
        try:
            results = await original(self, *args, **options)
        finally:
            end_telling(token)
        if not isinstance(results, AsyncGenerator):
            return results
        return _results(tracing, results, options.get("operation_name"), above)

    return stream


async def _results(
    tracing: Tracing[Any], results: AsyncGenerator[Any, Any], name: object, above: Teller | None
) -> AsyncGenerator[Any, None]:
    """Generate what ``results`` does, inside the operation's span, which is current only while a result is made."""
    error = None
    stream = _begin(tracing, name, above)
    try:
        while True:
            try:
                result = await stream.inside(results.__anext__)
            except StopAsyncIteration:
                return
            yield result
    except GeneratorExit:
        raise  # the caller wants no more of it, which is no failure
    except BaseException as raised:
        error = raised
        raise
    finally:
        try:
            await stream.inside(results.aclose)
        finally:
            if stream.own is not None:
                try:
                    stream.own.end(error)
                except Exception:
                    faults.report("strawberry: stream")
