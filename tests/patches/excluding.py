"""What is excluded: how a trace goes on as one that is not sampled, told by headers and messages that have gone out."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import redis
import redis.asyncio

import causal_otel
from causal_otel.engine import context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.recording import Recording

__all__ = ["TRACEPARENT", "TRACE_ID", "ask", "assert_unsampled", "header_of", "inside", "only_root", "queued"]

TRACE_ID = f"{0xABC:032x}"
TRACEPARENT = f"00-{TRACE_ID}-{0xDEF:016x}-01"


def header_of(response: httpx.Response, name: str) -> str | None:
    """A header as the echo application received it."""
    return dict(response.json()["headers"]).get(name)


def assert_unsampled(traceparent: str | None, trace_id: str = TRACE_ID) -> None:
    """A header that carries on that trace, under an id of its own, as not sampled."""
    assert traceparent is not None
    _, found, span_id, flags = traceparent.split("-")
    assert found == trace_id
    assert span_id != f"{0xDEF:016x}"
    assert not int(flags, 16) & 1


@contextmanager
def inside(recorded: Recording) -> Iterator[str]:
    """A root that is recorded; yields its trace's id."""
    with recorded.tracer.start_as_current_span("root") as root:
        yield f"{root.get_span_context().trace_id:032x}"


def only_root(recorded: Recording) -> bool:
    return recorded.names() == ["root"]


def queued(broker: str, queue: str) -> dict[str, Any]:
    """The headers of the only message that waits."""
    with context.suppress(), redis.Redis.from_url(broker) as client:
        [message] = client.lrange(queue, 0, -1)
        client.delete(queue)
    found: dict[str, Any] = json.loads(message)["headers"]
    return found


async def ask(app: Any, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    with causal_otel.detached():
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example:8123") as client:
            return await client.get(path, headers=headers)
