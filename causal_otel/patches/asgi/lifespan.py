"""The lifespan of an application: all spans are exported before its server goes on to exit."""

from __future__ import annotations

import functools
import threading
from time import monotonic
from typing import TYPE_CHECKING

from causal_otel._internal import faults
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches._http_server import contained
from causal_otel.patches.asgi.protocol import Message, Send

if TYPE_CHECKING:
    from causal_otel.patches.asgi import AsgiOptions

__all__ = ["flushing"]

_FLUSH_SECONDS = 5.0


def flushing(tracing: Tracing[AsgiOptions], send: Send) -> Send:
    """A ``send`` that exports all spans before it says that the application has shut down."""

    async def send_(message: Message) -> None:
        if message.get("type") in ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed"):
            try:
                await _flush(tracing)
            except Exception:
                faults.report("asgi: flush")
        await send(message)

    return send_


async def _flush(tracing: Tracing[AsgiOptions]) -> None:
    """Export, off the event loop, and give up after a while: also where the provider's own flush never ends."""
    try:
        from anyio import sleep  # there with Starlette, and right under asyncio and trio
    except ImportError:
        from asyncio import sleep

    flush = functools.partial(contained, "asgi: flush", tracing.flush, _FLUSH_SECONDS)
    thread = threading.Thread(target=flush, name="causal-otel-flush", daemon=True)
    thread.start()
    deadline = monotonic() + _FLUSH_SECONDS
    while thread.is_alive() and monotonic() < deadline:  # noqa: ASYNC110  # no event that both kinds of loop share
        await sleep(0.005)
