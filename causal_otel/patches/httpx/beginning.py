"""How an attempt begins, decided before anything is made for it, and how it goes on with its response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN, SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.context import SPAN_KEY
from causal_otel.engine.local_trace import local_trace_of
from causal_otel.instrument.operation import Observation
from causal_otel.names import HTTP_REQUEST_RESEND_COUNT, URL_FULL, URL_TEMPLATE
from causal_otel.patches.httpx.headers import carried, copied, with_headers
from causal_otel.patches.httpx.sending import sending
from causal_otel.patches.httpx.servers import Servers, is_excluded
from causal_otel.statements.urls import redact_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx import Request, Response
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.httpx.attempts import Attempt
    from causal_otel.patches.httpx.options import HttpxOptions
    from causal_otel.patches.httpx.sending import Sending

__all__ = ["Attempts", "Begun"]

_CLIENT = SpanKind.CLIENT


Begun = tuple["Attempt | None", "Span | None", "Context | None"]
"""What :meth:`Attempts.begin` returns."""


class Attempts:
    """Begins the attempts of one kind of clients of one library.

    Args:
        tracing: the patch's handle.
        kind: the class of attempts.
        body: the class of the library's bodies as we see through them.
    """

    def __init__(
        self, tracing: Tracing[HttpxOptions], kind: type[Attempt], body: Callable[[Any, Attempt], Any]
    ) -> None:
        self.tracing = tracing
        self._kind = kind
        self._body = body
        self._servers = Servers(tracing.options)

    def begin(self, request: Request, under_way: Sending | None) -> Begun:
        """A request is about to go on the wire.

        Args:
            request: the request.
            under_way: what it is the next request of; None: it stands for itself.

        Returns:
            The attempt, None if nobody wants to know how it goes on; the span whose context the request carries, None
            for the current one; and the context that it is carried with, None if it carries none.
        """
        tracing = self.tracing
        servers = self._servers
        server = servers.of(request)
        here = context.current()
        where: Context | None = None
        traced = tracing.recorded()
        alone = len(here) == 1 and local_trace_of(here.get(SPAN_KEY)) is not None  # a span of ours, and nothing else
        if not traced and not alone:
            traced = tracing.starts_trace()
        if server.carries and (traced or alone or _is_carried(here)):
            where = here if alone or not here else tracing.border.outgoing(here, server.host)
        if not traced and not tracing.measurable():
            return None, None, where
        if tracing.excluded is not None and is_excluded(tracing.excluded, request):
            return None, tracing.start_excluded(), where
        operation = server.operation
        name = operation.name
        attributes = {**operation.attributes, URL_FULL: redact_url(str(request.url))}
        if servers.has_templates or "url_template" in request.extensions:
            template = servers.template(request)
            if template is not None:
                attributes[URL_TEMPLATE] = template
                name = f"{name} {template}"
        if under_way is not None:
            if under_way.number:
                attributes[HTTP_REQUEST_RESEND_COUNT] = under_way.number
            under_way.number += 1
        span = tracing.start_leaf(name, _CLIENT, attributes) if traced else INVALID_SPAN
        observation = Observation(tracing.observers, (request,)) if tracing.observers else None
        attempt = self._kind(operation, span, attributes, observation, tracing.metrics)
        if observation is not None:
            observation.start(attempt)
        return attempt if attempt.is_observed() else None, span if traced else None, where

    def url_attributes(self, request: Request) -> dict[str, Any]:
        """What the attributes of an attempt say of where it goes."""
        return {**self._servers.of(request).operation.attributes, URL_FULL: redact_url(str(request.url))}

    def own(self, transport: Any, request: Request) -> tuple[Attempt | None, Request]:
        """A transport of httpx's own is about to send ``request``. Never raises.

        Returns:
            The attempt, if anybody wants to know how it goes on, and the request to send instead.
        """
        attempt: Attempt | None = None
        try:
            under_way = sending.get()
            exchange = None if under_way is None else under_way.exchange
            if exchange is not None and not exchange.sends(request):
                exchange = under_way = None
            headers = request.headers
            if exchange is not None and exchange.claim(request):
                attempt = exchange.attempt
            else:
                attempt, span, where = self.begin(request, under_way)
                if where is not None:
                    headers = copied(headers, carried(where, span))
            if attempt is None or not attempt.span.is_recording():
                return attempt, request if headers is request.headers else with_headers(request, headers)
            extensions = {**request.extensions}
            attempt.listen(getattr(transport, "_pool", None), extensions.get("trace"))
            extensions["trace"] = attempt
            return attempt, with_headers(request, headers, extensions)
        except Exception:
            faults.report("httpx: request")
            if attempt is not None:
                self.failed(attempt, None)
            return None, request

    def answered(self, attempt: Attempt, request: Request, response: Response) -> None:
        """The headers of the response have arrived. Never raises."""
        try:
            if self.tracing.observers and getattr(response, "_request", None) is None:
                response.request = request  # as the client is about to do: hooks may ask for it before
            attempt.answered(response)
            if response.is_closed:  # it was made with its body in hand, as MockTransport does
                attempt.over(response)
            else:
                response.stream = self._body(response, attempt)
        except Exception:
            faults.report("httpx: response")
            self.failed(attempt, None)

    def failed(self, attempt: Attempt, error: BaseException | None) -> None:
        """There is no response; without an error, it is our fault. Never raises."""
        try:
            attempt.over(None, error)
        except Exception:
            faults.report("httpx: failure")


def _is_carried(here: Context) -> bool:
    """Whether a request that is not recorded carries the current context."""
    span = context.current_span(here)
    return span is not None and span.get_span_context().is_valid and not context.is_suppressed(here)
