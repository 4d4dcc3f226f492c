"""A shop's traffic for the pages: enough of everything that there is something to look at."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.collector.oracle import MemoryReader
from tests.collector.spans import MILLISECOND, SECOND, event, merged, span, traces

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

__all__ = ["EVIL", "evil_trace", "shop", "shop_trace"]

EVIL = """<img src=x onerror="window.evil=1"><script>window.evil=1</script>'"><svg/onload=window.evil=1>{{7*7}}"""
"""What must never become markup."""

_OPERATIONS = (
    ("catalog", "GET", "/products/{id}", 14, 0.01),
    ("catalog", "GET", "/products", 45, 0.0),
    ("orders", "POST", "/orders", 180, 0.12),
    ("orders", "GET", "/orders/{id}", 32, 0.03),
    ("orders", "POST", "/checkout", 620, 0.2),
)


def shop_trace(number: int, start: int, chance: random.Random) -> TracesData:
    """One request of the shop: a gateway, a service behind it, its database and cache, sometimes a worker."""
    service, method, route, typical, failing = chance.choice(_OPERATIONS)
    name = f"{method} {route}"
    whole = int(typical * MILLISECOND * chance.lognormvariate(0, 0.6))
    failed = chance.random() < failing

    def part(name: str, id: int, parent: int, place: float, share: float, kind: int, **more: Any) -> Span:
        return span(
            name,
            trace=number,
            id=id,
            parent=parent,
            start=start + int(whole * place),
            duration=int(whole * share),
            kind=kind,
            **more,
        )

    tags = {"http.request.method": method, "http.response.status_code": 500 if failed else 200}
    root = part(name, 1, 0, 0.0, 1.0, Span.SPAN_KIND_SERVER, error=failed, tags=tags)
    inner = part(name, 2, 1, 0.05, 0.85, Span.SPAN_KIND_SERVER, error=failed and "payment was declined")
    statement = "SELECT shop.orders" if service == "orders" else "SELECT shop.products"
    queries = [
        part(
            statement,
            10 + each,
            2,
            0.1 + each * 0.05,
            0.04,
            Span.SPAN_KIND_CLIENT,
            tags={"db.system.name": "postgresql"},
        )
        for each in range(chance.randint(1, 12))
    ]
    parts = [
        traces(root, service="gateway", resource={"deployment.environment.name": "test"}),
        traces(inner, *queries, service=service),
        traces(part("GET", 40, 2, 0.06, 0.02, Span.SPAN_KIND_CLIENT), service="cache"),
    ]
    if route == "/checkout":
        retry = event("retry", {"attempt": 2})
        charge = part("charge", 50, 2, 0.5, 0.3, Span.SPAN_KIND_CONSUMER, error=failed, events=[retry])
        parts.append(traces(charge, service="payments"))
    return merged(*parts)


def shop(count: int = 60, *, before: int | None = None, over: int = 40 * 60 * SECOND, seed: int = 7) -> MemoryReader:
    """A reader over ``count`` requests that were received in order until ``before``, by default now."""
    chance = random.Random(seed)
    end = time.time_ns() if before is None else before
    starts = sorted(end - 2 * SECOND - int(chance.random() * over) for _ in range(count))
    return MemoryReader(shop_trace(0xABCD_0000 + number, start, chance) for number, start in enumerate(starts))


def evil_trace(number: int = 0xE11, start: int | None = None) -> TracesData:
    """A trace with :data:`EVIL` wherever OTLP takes text."""
    return traces(
        span(
            EVIL,
            trace=number,
            start=time.time_ns() - SECOND if start is None else start,
            error=EVIL,
            tags={EVIL: EVIL, "list": [EVIL]},
            events=[event(EVIL, {EVIL: EVIL})],
            trace_state=EVIL,
        ),
        service=EVIL,
        resource={EVIL: EVIL},
        scope=EVIL,
        version=EVIL,
    )
