"""A request in a transport that is not httpx's own: it may be sent once, several times, or not at all."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.unsampled import ExcludedSpan
from causal_otel.patches.httpx.headers import carried, copied, items, with_headers
from causal_otel.patches.httpx.sending import Sending, sending

if TYPE_CHECKING:
    from contextvars import Token

    from httpx import Request, Response

    from causal_otel.patches.httpx.attempts import Attempt
    from causal_otel.patches.httpx.beginning import Attempts

__all__ = ["Exchange"]


class Exchange:
    """What a transport makes of one request.

    Its attempt begins with it. The first request on the wire takes it over, and each further one has its own; where
    none is seen, the attempt is over with what the transport returns.

    Args:
        attempts: begins the attempt.
        given: the client's request.

    Attributes:
        request: what the transport is given: a copy that carries the context.
        attempt: None: nobody wants to know how it goes on.
    """

    __slots__ = (
        "_activation",
        "_attempts",
        "_claimed",
        "_given",
        "_sending",
        "_sent",
        "_token",
        "_url",
        "attempt",
        "request",
    )

    def __init__(self, attempts: Attempts, given: Request) -> None:
        self._attempts = attempts
        self._given = self.request = given
        self._claimed = False
        self._url = given.url
        self._activation: context.Activation | None = None
        self.attempt: Attempt | None = None
        under_way = sending.get()
        self._token: Token[Sending | None] | None = None
        if under_way is None:
            under_way = Sending()
            self._token = sending.set(under_way)
        self._sending = under_way
        try:
            self.attempt, span, where = attempts.begin(given, under_way)
            if where is not None:
                headers = copied(given.headers, carried(where, span))
                self._sent = items(headers)
                self.request = with_headers(given, headers)
            if type(span) is ExcludedSpan:
                self._activation = context.attach(context.with_span(span))
        except Exception:
            faults.report("httpx: request")
        under_way.exchange = self

    def sends(self, request: Request) -> bool:
        """Whether a request on the wire is what becomes of this one, and no other that the transport needs."""
        mine = self.request
        return (
            request is mine
            or request.stream is mine.stream
            or (request.method == mine.method and request.url == self._url)
        )

    def claim(self, request: Request) -> bool:
        """Whether it is the first on the wire: then the attempt is this very one."""
        if self._claimed:
            return False
        self._claimed = True
        if self.attempt is not None and request.url is not self._url and request.url != self._url:
            self.attempt.learn_url(self._attempts.url_attributes(request))
        return True

    def answered(self, response: Response) -> None:
        """The transport has returned. Never raises."""
        self._leave()
        if not self._claimed and self.attempt is not None:
            self._attempts.answered(self.attempt, self._given, response)

    def failed(self, error: BaseException) -> None:
        """The transport has raised. Never raises itself."""
        self._leave()
        if not self._claimed and self.attempt is not None:
            self._attempts.failed(self.attempt, error)

    def _leave(self) -> None:
        self._sending.exchange = None
        if self._token is not None:
            with suppress(ValueError):  # a coroutine that was never awaited to its end goes in another Context
                sending.reset(self._token)
        try:
            if self._activation is not None:
                self._activation.end()
            if self.request is not self._given:
                self._hand_back()
        except Exception:
            faults.report("httpx: request")

    def _hand_back(self) -> None:
        """Put into the client's request what the transport has changed of the copy."""
        state: dict[str, Any] = dict(vars(self.request))
        headers = state.pop("headers")
        given = self._given.headers
        vars(self._given).update(state)
        if items(headers) != self._sent:
            # A transport has changed headers. That stays, while what we put there goes.
            ours = {(name, value) for name, _, value in self._sent}.difference(given.raw)
            replaced = {name.lower() for name, _ in ours}
            kept = [item for item in headers.raw if item not in ours]
            kept += [item for item in given.raw if item[0].lower() in replaced]
            self._given.headers = type(given)(kept, encoding=getattr(given, "_encoding", None))
