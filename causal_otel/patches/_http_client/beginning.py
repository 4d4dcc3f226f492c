"""How an attempt begins, decided before anything is made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from opentelemetry.trace import INVALID_SPAN, SpanKind

from causal_otel.engine import context
from causal_otel.engine.context import SPAN_KEY
from causal_otel.engine.local_trace import local_trace_of
from causal_otel.instrument.operation import Observation
from causal_otel.names import HTTP_REQUEST_RESEND_COUNT, URL_FULL, URL_TEMPLATE
from causal_otel.patches._http_client.attempts import HttpAttempt
from causal_otel.patches._http_client.servers import Key, Servers, is_excluded
from causal_otel.statements.urls import redact_url

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches._http_client.options import HttpClientOptions

__all__ = ["Beginning", "Counted"]

_CLIENT = SpanKind.CLIENT

AttemptT = TypeVar("AttemptT", bound=HttpAttempt)


class Counted(Protocol):
    """What several attempts belong to.

    Attributes:
        number: how many there have been.
    """

    number: int


class Beginning(Generic[AttemptT]):
    """Begins the attempts of one kind of clients.

    Args:
        tracing: the patch's handle.
        kind: the class of attempts.
    """

    def __init__(self, tracing: Tracing[Any], kind: type[AttemptT]) -> None:
        options: HttpClientOptions = tracing.options
        self.tracing = tracing
        self._kind = kind
        self._servers = Servers(options)

    def key(self, request: Any) -> Key:
        """By what the server of a request is remembered. A request has a ``method`` and a ``url``."""
        url = request.url
        return request.method, url.scheme, url.host, url.port

    def own_template(self, request: Any) -> str | None:
        """The template of its URL that a request brings, if it does."""
        return None

    def begin(self, request: Any, under_way: Counted | None) -> tuple[AttemptT | None, Span | None, Context | None]:
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
        url = request.url
        server = servers.of(self.key(request), url)
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
        if tracing.excluded is not None and is_excluded(tracing.excluded, url):
            return None, tracing.start_excluded(), where
        operation = server.operation
        name = operation.name
        attributes = {**operation.attributes, URL_FULL: redact_url(str(url))}
        template = self.own_template(request)
        if template is None and servers.has_templates:
            template = servers.template(url)
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

    def url_attributes(self, request: Any) -> dict[str, Any]:
        """What the attributes of an attempt say of where it goes."""
        url = request.url
        return {**self._servers.of(self.key(request), url).operation.attributes, URL_FULL: redact_url(str(url))}


def _is_carried(here: Context) -> bool:
    """Whether a request that is not recorded carries the current context."""
    span = context.current_span(here)
    return span is not None and span.get_span_context().is_valid and not context.is_suppressed(here)
