"""The intake of OTLP/HTTP and OTLP/gRPC: requests are counted, and acknowledged when they are on disk."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from causal_otel.collector.forward.queue import QueueLost
from causal_otel.collector.span_metrics import count_spans, total
from causal_otel.collector.store.writer import QueueFull, StoreError

if TYPE_CHECKING:
    from causal_otel.collector.forward.forwarder import Forwarder
    from causal_otel.collector.span_metrics import SpanCounts, SpanMetrics
    from causal_otel.collector.store.writer import Kept, Writer

__all__ = ["BODY_LIMIT", "Busy", "Intake"]

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes that one request may hold, before as well as after decompression."""

_QUEUE_FULL_SECONDS, _STORE_FAILED_SECONDS = 1, 15


class Busy(Exception):
    """The request cannot be kept now, but may be later.

    Attributes:
        overloaded: whether too much came in (and not: the store cannot write).
        retry_after: when to try again, in seconds.
    """

    def __init__(self, message: str, *, overloaded: bool) -> None:
        super().__init__(message)
        self.overloaded = overloaded
        self.retry_after = _QUEUE_FULL_SECONDS if overloaded else _STORE_FAILED_SECONDS


class Intake:
    """Hands requests to the writer, and to who sends them on. For one event loop.

    Args:
        writer: keeps them.
        metrics: is told what they hold.
        forwarder: sends them on; None: nobody does.

    Attributes:
        outcomes: how many requests came, by transport (``http``, ``grpc``) and outcome: ``accepted``,
            ``partial``, ``invalid``, ``busy``, ``failed``.
    """

    def __init__(self, writer: Writer, metrics: SpanMetrics, forwarder: Forwarder | None = None) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._writer = writer
        self._metrics = metrics
        self._forwarder = forwarder

    async def put(self, request: bytes, transport: str, *, logs: bool = False) -> Kept:
        """Keep the spans of a serialized ``ExportTraceServiceRequest``; returns once they are on disk.

        With ``logs`` it is an ``ExportLogsServiceRequest``, and log records are kept, which are not sent on. If spans
        are sent on as well, they are in that queue too by then: what is acknowledged is in both places.

        Raises:
            ValueError: it is no such message.
            Busy: it cannot be kept now.
        """
        outcome = "failed"
        try:
            kept, counts = await self._keep(request, logs)
            outcome = "partial" if kept.rejected else "accepted"
        except ValueError:
            outcome = "invalid"
            raise
        except QueueFull:
            outcome = "busy"
            raise Busy("too many spans are waiting to be written", overloaded=True) from None
        except (StoreError, QueueLost) as error:
            raise Busy(str(error), overloaded=False) from error
        finally:
            self.outcomes[transport, outcome] += 1
        if kept.spans:  # none, if it is a request that was already kept
            self._metrics.add(counts)
        return kept

    def count_unread(self, transport: str, *, busy: bool = False) -> None:
        """Count a request that was refused before it could be put: ``invalid``, or ``busy``."""
        self.outcomes[transport, "busy" if busy else "invalid"] += 1

    async def _keep(self, request: bytes, logs: bool) -> tuple[Kept, SpanCounts]:
        future = asyncio.wrap_future(self._writer.put(request, logs=logs))
        if logs:
            return await asyncio.shield(future), {}
        # shield(): it goes on though the client has left.
        return await asyncio.shield(self._finish(request, future))

    async def _finish(self, request: bytes, future: asyncio.Future[Kept]) -> tuple[Kept, SpanCounts]:
        # Spans are counted while the writer works.
        kept, counts = await asyncio.gather(future, asyncio.to_thread(count_spans, request))
        # Also if it was kept before: what is sent again may be so because it could not be queued.
        if self._forwarder is not None and (spans := total(counts)):
            await asyncio.to_thread(self._forwarder.append, request, spans)
        return kept, counts
