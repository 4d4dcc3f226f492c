"""A request on the wire: its span, how long it was waited for, and what its response says."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.errors import BY_CLASS
from causal_otel.instrument.operation import Running
from causal_otel.instrument.parts import LEAST
from causal_otel.instrument.stopwatch import moment_of
from causal_otel.names import HTTP_RESPONSE_STATUS_CODE, NETWORK_PROTOCOL_VERSION

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from causal_otel.instrument.measured import OperationMetrics
    from causal_otel.instrument.operation import Observation, Operation

__all__ = ["LEAST_NS", "HttpAttempt"]

LEAST_NS = int(LEAST * 1e9)
"""What takes shorter is no part of a span: nanoseconds."""
_MOST_OUTCOMES = 256

_outcomes: dict[tuple[int, str | None], dict[str, Any]] = {}


def _outcome(status: int, version: str | None) -> dict[str, Any]:
    """What a response says of its request, in a dict that all of its kind share.

    Args:
        status: its code.
        version: of the protocol, such as ``1.1``; not every transport tells.
    """
    found = _outcomes.get((status, version))
    if found is None:
        found = {HTTP_RESPONSE_STATUS_CODE: status}
        if version is not None:
            found[NETWORK_PROTOCOL_VERSION] = version
        if len(_outcomes) < _MOST_OUTCOMES:
            _outcomes[status, version] = found
    return found


class HttpAttempt(Running):
    """A request on its way.

    Its time is counted in nanoseconds of the monotonic clock: until the headers of the response are there and, added to
    that, as long as the body is waited for.

    Args:
        operation: what it is.
        span: its span.
        attributes: those that the span has been started with.
        observation: for observers; None: there are none.
        metrics: what measures it; None: nothing does.

    Attributes:
        waited: how long it has been waited for, once the headers are there.
    """

    __slots__ = ("_attributes", "_began", "_head", "waited")

    def __init__(
        self,
        operation: Operation,
        span: Span,
        attributes: dict[str, Any],
        observation: Observation | None,
        metrics: OperationMetrics | None,
    ) -> None:
        super().__init__(operation, span, BY_CLASS, None, observation, metrics)
        self._attributes = attributes
        self._head = 0  # how long the headers of the response were waited for
        self.waited = 0
        self._began = perf_counter_ns()

    def has_headers(self, status: int, version: str | None) -> None:
        """The headers of the response are there.

        Args:
            status: its code.
            version: of the protocol, such as ``1.1``; None: it is not known.
        """
        self.waited = self._head = perf_counter_ns() - self._began
        learned = _outcome(status, version)
        share = getattr(self.span, "share", None)  # a leaf of ours has it
        if share is None or not share(self._attributes, {**self._attributes, **learned}):
            self.span.set_attributes(learned)
        self.note(learned)
        if status >= 400:
            self.fail(str(status))

    def over(self, response: Any, error: BaseException | None = None) -> None:
        """It is over: its body has been read, or nobody reads it any more, or there is no response.

        Args:
            response: None: there is none.
            error: what has happened to it.
        """
        if not self.waited:
            self.waited = perf_counter_ns() - self._began
        if self.waited >= LEAST_NS:
            self.tell_parts()
        self.end(response, error, moment_of(self.span, self._began, self.waited), self.waited)

    def tell_parts(self) -> None:
        """Note where its time went: of one that took long enough to have parts."""
