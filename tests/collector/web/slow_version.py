"""A week of a shop in which version 1.5 comes in the middle, and waits for connections."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.collector.spans import HOUR, MILLISECOND, merged, span, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

__all__ = ["DAYS", "NEW", "OLD", "POOL", "ROUTE", "deployed", "week"]

DAYS = 7
OLD, NEW = "1.4.2", "1.5.0"
ROUTE = "GET /orders/{id}"
POOL = "postgresql db.internal:5432/shop"
_EVERY = 25 * 60 * 10**9
"""Nanoseconds from request to request."""


def deployed(now: int) -> int:
    """When the new version comes, of a week that ends now: at a whole hour."""
    return (now - DAYS * 12 * HOUR) // HOUR * HOUR


def week(now: int, *, seed: int = 3, every: int = _EVERY) -> Iterator[TracesData]:
    """The requests: a gateway calls the shop, which asks a database twice, one after the other."""
    rng = random.Random(seed)
    for number, start in enumerate(range(now - DAYS * 24 * HOUR + HOUR, now - HOUR, every), 1):
        yield _request(number, start, NEW if start >= deployed(now) else OLD, rng)


def _request(number: int, start: int, version: str, rng: random.Random) -> TracesData:
    wait = rng.uniform(0.18, 0.26) if version == NEW else rng.uniform(0.0005, 0.001)
    failed = rng.random() < (0.1 if version == NEW else 0.02)
    server, fetch = rng.uniform(0.02, 0.03), rng.uniform(0.002, 0.004)
    query = round((wait + server + fetch) * 1e9)
    cache = rng.randrange(2, 5) * MILLISECOND
    whole = query + cache + rng.randrange(8, 14) * MILLISECOND

    def part(name: str, id: int, parent: int, begin: int, length: int, kind: int, **more: Any) -> Span:
        return span(name, trace=number, id=id, parent=parent, start=start + begin, duration=length, kind=kind, **more)

    database = {
        "db.system.name": "postgresql", "server.address": "db.internal", "server.port": 5432, "db.namespace": "shop",
        "causal.pool.wait": wait, "causal.server": server, "causal.fetch": fetch,
        "causal.pool.size": 5, "causal.pool.waiting": 9 if version == NEW else 0,
    }  # fmt: skip
    shop = traces(
        part(ROUTE, 2, 1, MILLISECOND, whole, Span.SPAN_KIND_SERVER, error=failed),
        part("SELECT orders", 3, 2, 3 * MILLISECOND, query, Span.SPAN_KIND_CLIENT, tags=database),
        part("GET", 4, 2, 4 * MILLISECOND + query, cache, Span.SPAN_KIND_CLIENT, tags={"db.system.name": "redis"}),
        service="shop",
        resource={"service.version": version},
    )
    gateway = traces(
        part("GET", 1, 0, 0, whole + 2 * MILLISECOND, Span.SPAN_KIND_SERVER, error=failed), service="gateway"
    )
    return merged(gateway, shop)
