"""The seam between the worker and the wire: one attempt to deliver one encoded request, and what came of it.

What an answer means is decided here, once for all transports, as the OTLP specification says: who may be asked again,
who must not, and what a partial success has cost. When to ask again is the sender's business.
"""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from causal_otel._internal.fork_lock import ForkLock

__all__ = [
    "CREDENTIALS",
    "Outcome",
    "Request",
    "Transport",
    "Verdict",
    "importing",
    "partial_success",
    "seconds_to_wait",
    "without_credentials",
]


Request = tuple[bytes, int]
"""An encoded ``ExportTraceServiceRequest``, and how many spans are in it."""


class Verdict(Enum):
    """What is to be done with a request after an attempt."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """The back end refuses it for good: OTLP forbids sending it again."""
    TOO_LARGE = "too_large"
    """The back end takes no request of this size: half of it may be taken."""
    MISCONFIGURED = "misconfigured"
    """The spans were not looked at: the credentials are refused, or what answers is no OTLP receiver. To be sent again,
    seldom, until a setting is mended."""
    BUSY = "busy"
    """The back end asked for it to be sent again later."""
    UNREACHABLE = "unreachable"
    """Nobody answered."""


class Outcome(NamedTuple):
    """What came of one attempt."""

    verdict: Verdict
    kind: str = ""
    """For counting and logging: an HTTP status, a gRPC code or the name of an exception; low in cardinality."""
    detail: str = ""
    """For people."""
    retry_after: float | None = None
    """How many seconds the back end wants to be left alone."""
    rejected: int = 0
    """How many spans of a delivered request it did not take."""
    advice: str = ""
    """What to do about it, for people."""

    def __str__(self) -> str:
        return "; ".join(filter(None, (f"{self.kind}: {self.detail or 'no explanation'}", self.advice)))


class Transport(Protocol):
    """Carries encoded ``ExportTraceServiceRequest`` messages. Used by one thread of one process only."""

    def send(self, payload: bytes, deadline: float) -> Outcome:
        """Try once; never raises.

        Args:
            payload: the message.
            deadline: when to give up, by ``time.monotonic()``.
        """

    def close(self) -> None:
        """Let go of connections; from any thread."""

    def abandon(self) -> None:
        """Called in a forked child, on what was inherited: let go of the connections without using them."""


CREDENTIALS = "check the credentials in OTEL_EXPORTER_OTLP_HEADERS, which are read when the program starts"
"""What to do where we are not let in."""


def partial_success(body: bytes) -> tuple[int, str] | None:
    """How many spans an ``ExportTraceServiceResponse`` says were rejected, and why; None: it is no such message."""
    if not body:
        return 0, ""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return None
    return max(0, partial.rejected_spans), partial.error_message


def seconds_to_wait(header: str | None) -> float | None:
    """What a ``Retry-After`` header asks for: a number of seconds or a date (RFC 9110); None: nothing usable."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def without_credentials(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


# -- forking while the sender imports -----------------------------------------------------------------------------

# The transports and their libraries are imported by the sending thread, since they take longer than install() may. A
# child forked in the middle of that would inherit a half imported module, locked by a thread that it does not have.
importing = ForkLock()
"""To be held while a transport is imported and made."""
