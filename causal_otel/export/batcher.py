"""From the queue of ended spans to batches for the sender, in slices that let other threads run between them."""

from __future__ import annotations

import time
from sys import getrefcount
from typing import TYPE_CHECKING

from causal_otel._internal import faults
from causal_otel.engine.span import Span
from causal_otel.export.backlog import Batch
from causal_otel.export.signal import TRACES, Signal

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

    from causal_otel.engine.redaction import Redaction
    from causal_otel.export.encoder import Encoder
    from causal_otel.export.ledger import Ledger
    from causal_otel.export.sender import Sender
    from causal_otel.transports.transport import Request

__all__ = ["Batcher"]

_SLICE = 64
"""Spans encoded at a stretch: a tenth of a millisecond or two, in which an event loop may have to wait for the GIL."""

_BREATH = 10e-6
"""Seconds between two slices. Zero would give the GIL away and mostly take it back before another thread woke up."""


def _references() -> int:
    """``getrefcount()`` of a span that only our list and the loop refer to: no argument counts since 3.14."""
    return max(getrefcount(span) for span in [object()])


_REFERENCES = _references()


class Batcher:
    """Takes spans out of the queue, oldest first, encodes them, and hands them over. For one thread.

    Args:
        queue: of ended spans; others append, nobody else takes.
        ledger: where to account for every span.
        sender: takes the batches.
        most: how many spans go in one batch.
        sole_taker: what the provider calls with an ended span, if nobody but us is given it.
        head: the position of the first span in the queue (see the ledger).
        redaction: takes secrets out of what is encoded.
        signal: what is in the queue.

    Attributes:
        head: how many spans have left the queue.
        encoding: the position of the first of those being encoded; None: there are none.
        in_encoding: how many those are. Others behind them may have been discarded meanwhile.
    """

    def __init__(
        self,
        queue: deque[ReadableSpan],
        ledger: Ledger,
        sender: Sender,
        most: int,
        sole_taker: Callable[[ReadableSpan], None],
        head: int = 0,
        redaction: Redaction | None = None,
        signal: Signal = TRACES,
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._sender = sender
        self._most = most
        self._sole_taker = sole_taker
        self._redaction = redaction
        self._signal = signal
        self._encoder: Encoder | None = None
        self.head = head
        self.encoding: int | None = None
        self.in_encoding = 0

    def settled(self) -> int:
        """The position before which every span is accounted for. Called with the lock."""
        positions = [position for position in (self._sender.floor(), self.encoding) if position is not None]
        return min(positions, default=self.head)

    def spans(self) -> int:
        """How many spans have left the queue and are not accounted for. Called with the lock."""
        return self._sender.spans() + self.in_encoding

    def discard(self, most: int, reason: str) -> int:
        """Drop the oldest in the queue, up to ``most``; how many they were. Called with the lock."""
        first = self.head
        lost = len(self._popped(most))
        if lost:
            self._ledger.drop(lost, reason, first)
        return lost

    def pack_all(self) -> None:
        """Pack until the queue is empty."""
        while self._queue:
            self.pack()

    def pack(self) -> None:
        """Take up to a batch of spans, encode them, and hand them over."""
        if self._encoder is None:
            self._encoder = self._signal.make_encoder(self._redaction)
        encoder, ledger = self._encoder, self._ledger
        batch = encoder.batch()
        count = lost = 0
        requests: list[Request] = []
        with ledger.lock:
            first = self.encoding = self.head
        try:
            skipped = encoder.skipped
            while count < self._most:
                with ledger.lock:
                    spans = self._popped(min(_SLICE, self._most - count))
                    self.in_encoding += len(spans)
                if not spans:
                    break
                count += len(spans)
                batch.add(spans)
                self._forget(spans)
                del spans
                time.sleep(_BREATH)
            requests = batch.finish()
            lost = encoder.skipped - skipped
        except Exception:
            faults.report("export: encoding")
            self._encoder, lost = None, count
        with ledger.lock:
            if lost:
                ledger.drop(lost, "encoding", first)
            self._sender.put(Batch(payload, spans_in_it, first) for payload, spans_in_it in requests)
            self.encoding, self.in_encoding = None, 0
            ledger.changed.notify_all()
        self._sender.make_room()
        if self._sender.done:  # the end of the process did not wait for this batch
            self._sender.give_up()

    def _popped(self, most: int) -> list[ReadableSpan]:
        """The oldest spans, up to ``most``; called with the lock. A garbage collection in here may pop some as well."""
        spans: list[ReadableSpan] = []
        try:
            while len(spans) < most:
                spans.append(self._queue.popleft())
        except IndexError:
            pass
        self.head += len(spans)
        return spans

    def _forget(self, spans: list[ReadableSpan]) -> None:
        """Empty the spans that somebody still refers to: a task may keep its request's context for hours."""
        for span in spans:
            if (
                getrefcount(span) > _REFERENCES
                and isinstance(span, Span)
                and span._tracer.core.deliver == self._sole_taker
            ):
                span.forget()  # nobody but us was given it
