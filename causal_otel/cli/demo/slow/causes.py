"""What the slow demo plants: a table of causes, and what the first line of ``causal-otel why`` must say of each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CAUSES", "PLANTED", "Cause"]

PLANTED = 0.3
"""Seconds that each cause costs a request at least."""


@dataclass(frozen=True)
class Cause:
    """A cause.

    Args:
        name: what people call it.
        path: the request that suffers from it.
        says: a regular expression that the part of the first line fits which has the cause's share.
        beside: the request that holds meanwhile what is needed; it goes on once somebody wants that. None: none does.
        until: the last span of its trace, where that is not the request's own.
    """

    name: str
    path: str
    says: str
    beside: str | None = None
    until: str | None = None


CAUSES = (
    Cause(
        "pool exhausted",
        "/pool",
        r"waiting for a PostgreSQL connection \(pool 1 of 1 in use",
        beside="/hold/pool",
    ),
    Cause("slow connect", "/connect", "connecting to PostgreSQL"),
    Cause("slow query", "/query", "^PostgreSQL$"),
    Cause("row lock held", "/row-lock", "^PostgreSQL$", beside="/hold/row-lock"),
    Cause("time.sleep in async code", "/sleep", r"loop blocked .*app\.py:\d+ sleep\(\)"),
    Cause("another request blocks the loop", "/victim", r"loop blocked", beside="/hold/loop"),
    Cause("CPU-bound JSON", "/json", r"computing|loop blocked .*app\.py:\d+ dump\(\)"),
    Cause("garbage collection", "/garbage", "garbage collection"),
    Cause("N+1", "/orders", "^PostgreSQL$"),
    Cause("queue wait", "/queue", "waiting in the queue", beside="/hold/queue", until="process letter"),
    Cause("busy worker", "/worker", "waiting for a busy worker", beside="/hold/worker", until="process letter"),
    Cause("slow external server", "/external", "waiting for 127.0.0.1"),
    Cause("httpx pool", "/http-pool", r"waiting for an? (HTTP )?connection", beside="/hold/http-pool"),
    Cause("thread pool full", "/thread", "waiting for a thread", beside="/hold/threads"),
    Cause("redis lock", "/redis-lock", "(?i)redis lock", beside="/hold/redis-lock"),
    Cause("asyncio.Lock", "/lock", r"waiting for asyncio\.Lock held by", beside="/hold/lock"),
    Cause("threading.Lock", "/thread-lock", r"waiting for threading\.Lock", beside="/hold/thread-lock"),
    Cause("a task that nobody awaits", "/forgotten", "nobody awaited", until="send the letter"),
)
