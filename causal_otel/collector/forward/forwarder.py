"""Sends what is in the queue to another OTLP back end: in order, at least once, for as long as it takes."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from causal_otel._internal.jitter import jittered
from causal_otel._internal.log import logger
from causal_otel._internal.throttled_log import HOUR, ThrottledLog
from causal_otel._version import __version__
from causal_otel.collector.forward.queue import Queue
from causal_otel.collector.store.probe import Probe
from causal_otel.transports.splitting import DECIDED, in_pieces
from causal_otel.transports.transport import Outcome, Verdict, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from causal_otel.transports.transport import Request, Transport

__all__ = ["Forwarder", "endpoint_of", "forwarder"]

_LOG = logger(__name__)
_PATH = "/v1/traces"
_ATTEMPT_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_FIRST_SLOW_PAUSE, _LONGEST_SLOW_PAUSE = 5.0, 60.0
"""Where somebody has to put something right, such as a token."""


def endpoint_of(url: str) -> str:
    """Where to post traces to: ``url``, with ``/v1/traces`` unless it ends so."""
    url = url.rstrip("/")
    return url if url.endswith(_PATH) else url + _PATH


def forwarder(url: str, headers: Mapping[str, str], directory: Path, max_bytes: int) -> Forwarder:
    """A forwarder over OTLP/HTTP.

    Args:
        url: the other back end's, with or without ``/v1/traces``.
        headers: to send with every request.
        directory: of the queue.
        max_bytes: that the queue may take.

    Raises:
        OSError: What is in the queue cannot be read.
    """
    endpoint = endpoint_of(url)
    # With a header of our own the exporter's variables, which are for what this machine traces, add none.
    given = {"user-agent": f"causal-otel-collector/{__version__}", **headers}

    def make() -> Transport:
        from causal_otel.transports.otlp_http import HttpTransport

        return HttpTransport(endpoint, headers=given, compression="gzip")

    return Forwarder(Queue(directory, max_bytes), make, destination=without_credentials(endpoint))


class Forwarder:
    """Takes requests from any thread, and sends them from one of its own.

    What the other side refuses for good is counted and left out, so that the rest goes on. What is too large for it is
    halved. Whatever else goes wrong is tried again, after as long as the other side asks for, else in pauses that grow
    to 15 seconds, or to a minute where somebody has to put something right.

    Args:
        queue: where requests wait.
        make_transport: called on the sending thread; again after each attempt that was not let in.
        destination: what to call the other side.
        attempt_seconds: how long one attempt may take.
    """

    def __init__(
        self,
        queue: Queue,
        make_transport: Callable[[], Transport],
        *,
        destination: str,
        attempt_seconds: float = _ATTEMPT_SECONDS,
    ) -> None:
        self._queue = queue
        self._make_transport = make_transport
        self._destination = destination
        self._attempt_seconds = attempt_seconds
        self._transport: Transport | None = None
        self._probe = Probe(queue.directory)
        self._stopping = threading.Event()
        self._log = ThrottledLog()
        self._outcomes: Counter[str] = Counter()
        self._problem = ""
        self._failures = 0
        self._pause = 0.0
        self._last_success = 0.0
        self._thread = threading.Thread(target=self._run, name="causal-otel-forward", daemon=True)

    def start(self) -> None:
        """Begin to send, what an earlier process has left first."""
        self._thread.start()

    def append(self, request: bytes, spans: int) -> None:
        """Take a request. When this returns, it will be sent on, whatever becomes of this process.

        Args:
            request: a serialized ``ExportTraceServiceRequest``.
            spans: how many spans are in it.

        Raises:
            QueueLost: The disk does not take it.
        """
        self._queue.append(request, spans)

    def not_ready(self) -> str:
        """Why nothing can be queued now, for people; empty: it can. It writes to the disk: call it from a thread."""
        # It is made for the first request; until then the directory that it will be in tells.
        return self._probe.failure() if os.path.lexists(self._queue.directory) else ""

    def close(self, timeout: float) -> None:
        """Stop, which an attempt under way may delay. What was not sent stays in the queue, for the next process.

        Args:
            timeout: in seconds.
        """
        self._stopping.set()
        self._queue.stop_waiting()
        self._thread.join(timeout)
        if (transport := self._transport) is not None:
            transport.close()
        self._queue.close()

    def status(self) -> dict[str, Any]:
        """What waits, and what became of spans since the start. Sizes in bytes, times in seconds."""
        requests, spans = self._queue.waiting()
        oldest = self._queue.oldest() if requests else None
        return {
            "url": self._destination,
            "queue_bytes": self._queue.size,
            "queue_limit_bytes": self._queue.max_bytes,
            "queue_requests": requests,
            "queue_spans": spans,
            "oldest_age": None if oldest is None else max(0.0, time.time() - oldest / 1e9),
            "last_success": self._last_success,
            "problem": self._problem,
            "damaged_bytes": self._queue.damaged_bytes,
            "spans": {
                **{name: self._outcomes[name] for name in ("delivered", "rejected", "refused", "too_large")},
                "dropped": self._queue.dropped_spans,
            },
        }

    # -- on the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._send_first()
            except Exception:
                _LOG.exception("sending on to %s has failed; it is tried again", self._destination)
                self._stopping.wait(_FIRST_SLOW_PAUSE)

    def _send_first(self) -> None:
        """Send the oldest request; returns when it is settled, when it was dropped, or when all is to stop."""
        entry = self._queue.first()
        if entry is None:
            return
        left: Request | None = (entry.payload, entry.spans)
        while left is not None:
            left = in_pieces(left, self._attempt, self._settle)
            if left is not None and (self._stopping.wait(self._pause) or not self._queue.holds(entry)):
                self._queue.put_back(entry, left[1])
                return
        self._queue.settle(entry)

    def _attempt(self, request: Request) -> Outcome | None:
        if self._stopping.is_set():
            self._pause = 0.0
            return None
        try:
            if self._transport is None:
                self._transport = self._make_transport()
            outcome = self._transport.send(request[0], time.monotonic() + self._attempt_seconds)
        except Exception as error:
            outcome = Outcome(Verdict.UNREACHABLE, type(error).__qualname__, str(error))
        if outcome.verdict in DECIDED:
            return outcome
        self._failing(outcome)
        return None

    def _failing(self, outcome: Outcome) -> None:
        self._problem = _said(outcome)
        slow = outcome.verdict is Verdict.MISCONFIGURED
        if slow and self._transport is not None:  # the next one reads certificates anew
            self._transport.close()
            self._transport = None
        first, longest = (_FIRST_SLOW_PAUSE, _LONGEST_SLOW_PAUSE) if slow else (_FIRST_PAUSE, _LONGEST_PAUSE)
        wait = jittered(min(first * 2 ** min(self._failures, 10), longest), 0.8, 1.2)
        self._failures += 1
        self._pause = wait if outcome.retry_after is None else outcome.retry_after
        self._log.say(
            f"failing {outcome.kind}",
            "traces cannot be sent on to %s: %s; they wait in %s",
            *(self._destination, self._problem, self._queue.directory),
        )

    def _settle(self, request: Request, outcome: Outcome) -> None:
        """The other side has decided about a request, or a piece of one."""
        _, spans = request
        self._failures = 0
        if outcome.verdict is not Verdict.DELIVERED:
            self._problem = _said(outcome)
            self._outcomes[outcome.verdict.value] += spans
            self._log.say(
                outcome.verdict.value,
                "%d spans are not sent on: %s has refused them for good: %s",
                *(spans, self._destination, self._problem),
            )
            return
        self._problem = ""
        self._last_success = time.time()
        rejected = min(outcome.rejected, spans)
        self._outcomes["delivered"] += spans - rejected
        self._outcomes["rejected"] += rejected
        if rejected:
            message = "%s rejected %d of %d spans: %s"
            self._log.say("rejected", message, self._destination, rejected, spans, outcome.detail, every=HOUR)


def _said(outcome: Outcome) -> str:
    # Its advice names the exporter's variables.
    return f"{outcome.kind}: {outcome.detail or 'no explanation'}"
