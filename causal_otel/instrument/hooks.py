"""A patch's ``request_hook`` and ``response_hook``: the user's own look at a span and at the driver's objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.engine.contained import users_span

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Observation, Running
    from causal_otel.instrument.options import Hook

__all__ = ["Hooks"]


class Hooks:
    """Calls them, for spans that are recorded.

    Args:
        request: is called at the beginning of an operation.
        response: is called at its end, before its span ends.
    """

    unsampled = False

    def __init__(self, request: Hook | None, response: Hook | None) -> None:
        self._request = request
        self._response = response

    def started(self, running: Running, observation: Observation) -> None:
        """Call ``request_hook`` with the span and the driver's objects."""
        if self._request is not None and running.span.is_recording():
            self._request(users_span(running.span), *observation.objects)

    def ended(self, running: Running, observation: Observation) -> None:
        """Call ``response_hook`` with the span, the driver's objects, and what the driver has returned or raised."""
        if self._response is not None and running.span.is_recording():
            self._response(users_span(running.span), *observation.objects, observation.outcome)
