"""Spans of a platform: services that call each other, databases, a broker and hosts elsewhere."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from tests.collector.spans import HOUR, MILLISECOND, NOON, span, traces

__all__ = ["CLIENT", "CONSUMER", "END", "PRODUCER", "SERVER", "START", "http", "message", "orders", "platform", "query"]

START, END = NOON, NOON + 2 * HOUR - 1

SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
PRODUCER, CONSUMER = Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER


def query(system: str = "postgresql") -> dict[str, Any]:
    """The attributes of a call of a database."""
    return {"db.system.name": system}


def http(host: str) -> dict[str, Any]:
    """The attributes of a request to a host."""
    return {"http.request.method": "GET", "server.address": host}


def message(wait: float | None = None) -> dict[str, Any]:
    """The attributes of a message, and of one that has waited."""
    tags: dict[str, Any] = {"messaging.system": "celery", "messaging.destination.name": "mail"}
    return tags if wait is None else {**tags, "causal.queue.wait": wait}


def orders(number: int, start: int, rng: random.Random) -> Iterator[TracesData]:
    """One request: a gateway, a service behind it, its database and cache, an external host, and a task of a worker."""
    ids = itertools.count(number * 100 + 1)

    def made(
        service: str, kind: int, parent: int, name: str = "work", tags: Mapping[str, Any] | None = None
    ) -> tuple[int, TracesData]:
        own = next(ids)
        each = span(
            name, trace=number, id=own, parent=parent, kind=kind, tags=tags,
            start=start + rng.randrange(1000), duration=rng.randrange(1, 900) * MILLISECOND, error=rng.random() < 0.1,
        )  # fmt: skip
        return own, traces(each, service=service)

    root, sent = made("gateway", SERVER, 0, "GET /orders")
    yield sent
    call, sent = made("gateway", CLIENT, root, "GET", http("orders.internal"))
    yield sent
    inner, sent = made("orders", SERVER, call, "GET /orders", {"http.request.method": "GET"})
    yield sent
    for system in ("postgresql", "postgresql", "redis"):
        yield made("orders", CLIENT, inner, "SELECT", query(system))[1]
    yield made("orders", CLIENT, inner, "GET", http("api.example.com"))[1]
    put, sent = made("orders", PRODUCER, inner, "publish mail", message())
    yield sent
    task, sent = made("worker", CONSUMER, put, "mail", message(rng.randrange(1, 5000) / 1000))
    yield sent
    yield made("worker", CLIENT, task, "SELECT", query())[1]
    if number % 3 == 0:  # it does not send on what it is part of
        yield made("batch", CLIENT, 0, "GET", http("orders.internal"))[1]


def platform(count: int = 30, seed: int = 1) -> list[TracesData]:
    """Requests in the two hours from :data:`START` on."""
    rng = random.Random(seed)
    return [
        message
        for number in range(1, count + 1)
        for message in orders(number, START + rng.randrange(2 * HOUR - HOUR // 10), rng)
    ]
