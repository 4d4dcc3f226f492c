"""What httpx's own transport is handed in place of a request, and how an attempt goes on with its response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.patches._http_client.beginning import Beginning
from causal_otel.patches.httpx.attempts import Attempt
from causal_otel.patches.httpx.headers import carried, copied, with_headers
from causal_otel.patches.httpx.sending import sending

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx import Request, Response

    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches._http_client.servers import Key
    from causal_otel.patches.httpx.options import HttpxOptions

__all__ = ["Attempts"]


class Attempts(Beginning[Attempt]):
    """Begins the attempts of one kind of clients of one library.

    Args:
        tracing: the patch's handle.
        kind: the class of attempts.
        body: the class of the library's bodies as we see through them.
    """

    def __init__(
        self, tracing: Tracing[HttpxOptions], kind: type[Attempt], body: Callable[[Any, Attempt], Any]
    ) -> None:
        super().__init__(tracing, kind)
        self._body = body

    def key(self, request: Request) -> Key:
        """By what its server is remembered."""
        # The parts as httpx has parsed them, which are private: the public properties decode them once more.
        parsed: Any = getattr(request.url, "_uri_reference", request.url)
        return request.method, parsed.scheme, parsed.host, parsed.port

    def own_template(self, request: Request) -> str | None:
        """The template that it brings in its extensions."""
        own = request.extensions.get("url_template")
        return None if own is None else str(own)

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
