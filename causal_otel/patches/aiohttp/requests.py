"""Where requests go on the wire: what one call of a session sends, and each attempt at it.

An attempt begins when a connection is asked for, goes on where the request is sent, and is answered where the response
starts. It is kept with aiohttp's own objects on the way: the request, then the response.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import carriers, context
from causal_otel.instrument.calls import argument
from causal_otel.instrument.declaration import Wrap
from causal_otel.names import CAUSAL_CONNECT_PROXY
from causal_otel.patches._http_client.beginning import Beginning
from causal_otel.patches._http_client.servers import is_excluded
from causal_otel.patches.aiohttp.attempts import Attempt, Listener
from causal_otel.patches.aiohttp.connections import connecting, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import BaseConnector, ClientRequest, ClientResponse, ClientSession
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causal_otel.instrument.calls import Args, Kwargs
    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.aiohttp.options import AiohttpOptions

__all__ = ["TARGETS"]

_ATTEMPT = "_causal_attempt"
"""The attribute of requests and responses that has their attempt."""


class _Sending:
    """One call of a session: its first request, and those that repeat it.

    Attributes:
        number: how many requests it has put on the wire.
        latest: the latest of them; None: nobody wants to know of it.
    """

    __slots__ = ("latest", "number")

    def __init__(self) -> None:
        self.number = 0
        self.latest: Attempt | None = None


_sending: ContextVar[_Sending | None] = ContextVar("causal_otel_aiohttp_sending", default=None)
"""The one under way in this task."""


def _excluded(
    tracing: Tracing[AiohttpOptions], session: ClientSession, args: Args, kwargs: Kwargs
) -> context.Activation | None:
    """What is current meanwhile, if the request is excluded."""
    try:
        if tracing.wanted() and is_excluded(
            tracing.excluded, session._build_url(argument(1, "str_or_url", args, kwargs))
        ):
            return context.attach(context.with_span(tracing.start_excluded()))
    except ValueError:
        pass  # no URL, as aiohttp is about to say
    except Exception:
        faults.report("aiohttp: excluded")
    return None


def _requesting(tracing: Tracing[AiohttpOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a session that follows redirects and repeats requests whose connection was lost."""

    @functools.wraps(original)
    async def _request(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not tracing.active:
            return await original(self, *args, **kwargs)
        activation = None if tracing.excluded is None else _excluded(tracing, self, args, kwargs)
        under_way = _Sending()
        token = _sending.set(under_way)
        try:
            response = await original(self, *args, **kwargs)
        except BaseException as error:
            if under_way.latest is not None:
                under_way.latest.raised(error)
            raise
        finally:
            _end(_sending, token)
            if activation is not None:
                activation.end()
        if under_way.latest is not None:
            under_way.latest.give_up()
        return response

    return _request


def _end(variable: ContextVar[Any], token: Token[Any]) -> None:
    with suppress(ValueError):  # a coroutine that was never awaited to its end goes in another Context
        variable.reset(token)


def _carry(request: ClientRequest, where: Context, span: Span | None) -> None:
    """Write what is current into a request, which aiohttp has made of the caller's arguments."""
    fields = carriers.injected(where, span)
    if "traceparent" in fields:
        request.headers.popall("tracestate", None)  # it belongs to a traceparent that is replaced
    request.headers.update(fields)


def _begin(beginning: Beginning[Attempt], request: ClientRequest) -> Attempt | None:
    """An attempt, if anybody wants to know how it goes on. Never raises."""
    attempt: Attempt | None = None
    try:
        under_way = _sending.get()
        if under_way is None:  # whoever asks for a connection is no session
            return None
        latest, under_way.latest = under_way.latest, None
        if latest is not None:
            latest.give_up()
        attempt, span, where = beginning.begin(request, under_way)
        under_way.latest = attempt
        vars(request)[_ATTEMPT] = attempt
        if where is not None:
            _carry(request, where, span)
    except Exception:
        faults.report("aiohttp: request")
    return attempt


def _told(listener: Listener, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """The arguments of ``connect``, with a listener in the list of traces."""
    if "traces" in kwargs:
        return args, {**kwargs, "traces": [*kwargs["traces"], listener]}
    if len(args) > 1:
        return (args[0], [*args[1], listener], *args[2:]), kwargs
    return args, kwargs


def _connecting(tracing: Tracing[AiohttpOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a connector by which each attempt gets its connection."""
    beginning = Beginning(tracing, Attempt)

    @functools.wraps(original)
    async def connect(self: BaseConnector, /, *args: Any, **kwargs: Any) -> Any:
        attempt = _begin(beginning, argument(0, "req", args, kwargs)) if tracing.active else None
        if attempt is None:
            return await original(self, *args, **kwargs)
        listener = Listener(attempt, self)
        if attempt.span.is_recording():
            args, kwargs = _told(listener, args, kwargs)
        token = connecting.set(attempt)
        try:
            return await original(self, *args, **kwargs)
        except BaseException as error:
            listener.end()
            attempt.stops(error)
            raise
        finally:
            _end(connecting, token)

    return connect


def _attempt_of(thing: Any) -> Attempt | None:
    """The attempt that a request or a response belongs to."""
    found: Attempt | None = getattr(thing, _ATTEMPT, None)
    return found


def _sends(tracing: Tracing[AiohttpOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a request that sends it over a connection, and makes its response."""

    @functools.wraps(original)
    async def send(self: ClientRequest, /, *args: Any, **kwargs: Any) -> Any:
        attempt = _attempt_of(self)
        if attempt is None:
            return await original(self, *args, **kwargs)
        attempt.sends()
        try:
            response = await original(self, *args, **kwargs)
        except BaseException as error:
            attempt.stops(error)
            raise
        try:
            setattr(response, _ATTEMPT, attempt)
        except Exception:
            faults.report("aiohttp: request")
        return response

    return send


def _starts(tracing: Tracing[AiohttpOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a response that waits for its headers."""

    @functools.wraps(original)
    async def start(self: ClientResponse, /, *args: Any, **kwargs: Any) -> Any:
        attempt = _attempt_of(self)
        if attempt is None:
            asking = connecting.get()
            if asking is None:
                return await original(self, *args, **kwargs)
            return await timed(asking, CAUSAL_CONNECT_PROXY, original(self, *args, **kwargs))
        try:
            response = await original(self, *args, **kwargs)
        except BaseException as error:
            attempt.stops(error)
            raise
        attempt.answered(self)
        return response

    return start


def _closes(tracing: Tracing[AiohttpOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the methods of a response after which its body cannot be read."""

    @functools.wraps(original)
    def close(self: ClientResponse, /, *args: Any, **kwargs: Any) -> Any:
        attempt = _attempt_of(self)
        if attempt is not None:
            attempt.closed(self)
        return original(self, *args, **kwargs)

    return close


TARGETS = (
    Wrap("aiohttp.client", "ClientSession._request", _requesting),
    Wrap("aiohttp.connector", "BaseConnector.connect", _connecting),
    Wrap("aiohttp.client_reqrep", "ClientRequest.send", _sends),
    Wrap("aiohttp.client_reqrep", "ClientResponse.start", _starts),
    Wrap("aiohttp.client_reqrep", "ClientResponse.close", _closes),
    Wrap("aiohttp.client_reqrep", "ClientResponse.release", _closes),
)
