"""Maps of many services, and the spans that they come from."""

from __future__ import annotations

import itertools
import random
import time

from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from causal_otel.collector.trends.topology import Edge, Node, Topology
from tests.collector.spans import HOUR, MILLISECOND, span, traces

__all__ = ["dense", "dense_calls", "dense_spans"]


def dense_calls(services: int, calls: int, seed: int = 3) -> list[tuple[int, int]]:
    """Who calls whom in a platform: a few gateways, services behind them, workers, common services; some cycles."""
    chance = random.Random(seed)
    layer = [
        0 if n < services * 0.08 else 1 if n < services * 0.36 else 2 if n < services * 0.72 else 3
        for n in range(services)
    ]
    likely = {-3: 0.02, -2: 0.02, -1: 0.03, 0: 0.08, 1: 1.0, 2: 0.8, 3: 0.2}
    pairs = [(a, b) for a in range(services) for b in range(services) if a != b]
    order = sorted(pairs, key=lambda pair: -(chance.random() ** (1 / likely[layer[pair[1]] - layer[pair[0]]])))
    return sorted(order[:calls])


def dense(services: int, calls: int, seed: int = 3) -> Topology:
    """The map of such a platform."""
    chance = random.Random(seed)
    names = [f"service-{number:03}" for number in range(services)]
    edges = [
        Edge(names[parent], names[child], chance.randrange(1, 10**6), 0, chance.randrange(10**9))
        for parent, child in dense_calls(services, calls, seed)
    ]
    nodes = [Node(name, "service", "", sum(e.calls for e in edges if e.child == name), 0, 10**6) for name in names]
    return Topology(tuple(nodes), tuple(edges), 0, HOUR)


def dense_spans(services: int, calls: int, seed: int = 3) -> list[TracesData]:
    """Spans of just now with these calls, each a trace: databases and brokers besides, some with errors."""
    chance = random.Random(seed)
    now, ids = time.time_ns() - 60 * 10**9, itertools.count(1)
    made: list[TracesData] = []

    def one(service: int, trace: int, parent: int, kind: int, **tags: object) -> int:
        own = next(ids)
        given = {key.replace("__", "."): value for key, value in tags.items()}
        each = span(
            "work", trace=trace, id=own, parent=parent, kind=kind, start=now, tags=given,
            duration=chance.randrange(1, 900) * MILLISECOND, error=chance.random() < 0.05,
        )  # fmt: skip
        made.append(traces(each, service=f"service-{service:03}"))
        return own

    for trace, (parent, child) in enumerate(dense_calls(services, calls, seed), 1):
        root = one(parent, trace, 0, Span.SPAN_KIND_SERVER)
        for _ in range(chance.choice((1, 1, 2, 9))):
            one(child, trace, root, Span.SPAN_KIND_SERVER)
        if parent % 5 == 0:
            one(parent, trace, root, Span.SPAN_KIND_CLIENT, db__system__name="postgresql")
        if parent % 9 == 0:
            put = one(parent, trace, root, Span.SPAN_KIND_PRODUCER, messaging__system="celery")
            wait = {"causal__queue__wait": chance.random() * 9}
            one(child, trace, put, Span.SPAN_KIND_CONSUMER, messaging__system="celery", **wait)
    return made
