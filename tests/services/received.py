"""What the OTLP receiver of tests and benchmarks has received: its shape, and the client that asks for it.

    with receiver() as received:
        ...  # something that exports to received.endpoint
        spans = received.wait_for(lambda spans: len(spans) == 3)

The client speaks through urllib, since httpx is what we trace.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict, cast

from causal_otel.testing.process import LOOPBACK, claim_port, http_status, process

__all__ = [
    "ReceivedEvent",
    "ReceivedLink",
    "ReceivedPoint",
    "ReceivedSpan",
    "ReceivedSpans",
    "ReceivedStatus",
    "receiver",
]

_POLL_SECONDS = 0.02
_REQUEST_SECONDS = 60.0
_ROOT = Path(__file__).resolve().parents[2]


class ReceivedStatus(TypedDict):
    """A span's status; ``code`` is UNSET, OK or ERROR."""

    code: str
    message: str


class ReceivedEvent(TypedDict):
    """A span's event; ``time`` in Unix nanoseconds."""

    name: str
    time: int
    attributes: dict[str, Any]


class ReceivedLink(TypedDict):
    """A span's link; ids in hexadecimal."""

    trace_id: str
    span_id: str
    trace_state: str
    attributes: dict[str, Any]


class ReceivedSpan(TypedDict):
    """A span as it arrived: ids in hexadecimal, times in Unix nanoseconds, ``kind`` as in ``SERVER``.

    ``index`` counts all spans ever received, from 0. ``parent_span_id`` is None for a root. Among the attributes'
    values bytes are Base64 text, and a float that is not finite is ``NaN``, ``Infinity`` or ``-Infinity``.
    """

    index: int
    trace_id: str
    span_id: str
    parent_span_id: str | None
    trace_state: str
    flags: int
    name: str
    kind: str
    start: int
    end: int
    status: ReceivedStatus
    attributes: dict[str, Any]
    events: list[ReceivedEvent]
    links: list[ReceivedLink]
    service: str
    resource: dict[str, Any]
    scope: str


class ReceivedPoint(TypedDict):
    """A point of a metric as it arrived; of one that is no histogram, ``sum`` is its value.

    ``temporality`` is 1 for delta, 2 for cumulative; ``headers`` are those of the request.
    """

    name: str
    unit: str
    kind: str
    temporality: int
    attributes: dict[str, Any]
    start: int
    time: int
    count: int
    sum: float
    min: float
    max: float
    buckets: list[int]
    bounds: list[float]
    service: str
    resource: dict[str, Any]
    scope: str
    headers: dict[str, str]


class ReceivedSpans:
    """Asks a running receiver what it has received.

    Args:
        endpoint: the receiver's base URL, which is also what an exporter's ``OTEL_EXPORTER_OTLP_ENDPOINT`` takes.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        # No proxy, whatever the environment says.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def spans(self, trace_id: str | None = None, *, since: int = 0) -> list[ReceivedSpan]:
        """The spans kept, in the order of arrival.

        Args:
            trace_id: in hexadecimal: those of this trace only.
            since: those with this ``index`` or a higher one only.

        Raises:
            OSError: The receiver does not answer.
        """
        query: dict[str, str] = {"since": str(since)}
        if trace_id is not None:
            query["trace_id"] = trace_id
        answer = self._request("GET", f"/spans?{urllib.parse.urlencode(query)}")
        return cast("list[ReceivedSpan]", json.loads(answer))

    def points(self, name: str = "", service: str = "") -> list[ReceivedPoint]:
        """The points of metrics kept, in the order of arrival.

        Args:
            name: those of this metric only.
            service: those of this service only.
        """
        points = cast("list[ReceivedPoint]", json.loads(self._request("GET", "/points")))
        return [
            point
            for point in points
            if (not name or point["name"] == name) and (not service or point["service"] == service)
        ]

    def clear(self) -> None:
        """Forget the spans and points received so far."""
        self._request("DELETE", "/spans")

    def wait_for(
        self,
        predicate: Callable[[list[ReceivedSpan]], bool],
        timeout: float = 60.0,
        *,
        trace_id: str | None = None,
    ) -> list[ReceivedSpan]:
        """Wait until the spans kept satisfy ``predicate``, and return them.

        Args:
            predicate: given all spans (of the trace), whenever there are new ones, and once before.
            timeout: in seconds.
            trace_id: as for :meth:`spans`.

        Raises:
            TimeoutError: They did not in time; the message tells what was there.
        """
        deadline = time.monotonic() + timeout
        spans = self.spans(trace_id)
        satisfied = predicate(spans)
        while not satisfied:
            if time.monotonic() > deadline:
                names = ", ".join(f"{span['name']} ({span['service']})" for span in spans[-20:])
                raise TimeoutError(f"Not what was waited for, after {timeout:g} s: {len(spans)} spans: {names}")
            time.sleep(_POLL_SECONDS)
            new = self.spans(trace_id, since=spans[-1]["index"] + 1 if spans else 0)
            if new:
                spans += new
                satisfied = predicate(spans)
        return spans

    def named(self, name: str, trace_id: str) -> ReceivedSpan:
        """The one span of that name in a trace, waited for: what has ended earlier may arrive later.

        Raises:
            TimeoutError: There is none after a minute.
        """
        spans = self.wait_for(lambda spans: any(span["name"] == name for span in spans), trace_id=trace_id)
        [found] = [span for span in spans if span["name"] == name]
        return found

    def _request(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(self.endpoint + path, method=method)
        with self._opener.open(request, timeout=_REQUEST_SECONDS) as response:
            return cast("bytes", response.read())


@contextlib.contextmanager
def receiver(port: int | None = None) -> Iterator[ReceivedSpans]:
    """Run a receiver in a process of its own for as long as the block lasts.

    Raises:
        ServerError: It cannot be started.
    """
    name = "OTLP receiver"
    number = claim_port(port, name)
    endpoint = f"http://{LOOPBACK}:{number}"
    with process(
        [sys.executable, "-m", "tests.services.receiver", "--port", str(number)],
        name=name,
        cwd=_ROOT,
        # Were our tracing loaded into every Python process here, the receiver would trace its own requests.
        env={**os.environ, "OTEL_SDK_DISABLED": "true"},
        ready=lambda _: http_status(f"{endpoint}/") == 204,
        stop_timeout=5.0,
    ):
        yield ReceivedSpans(endpoint)
