"""Traces for the pages: one like those of a shop, one that is broken in every way, one that attacks, and large ones."""

from __future__ import annotations

import random
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status, TracesData

__all__ = ["ATTACK", "START", "Builder", "attack", "broken", "large", "loops", "shop"]

START = 1_795_392_000_000_000_000
MS = 1_000_000

ATTACK = (
    'javascript:window.pwned=1//<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
    "\"'></noscript><svg onload=window.pwned=1>{{ 7 * 7 }}"
)

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}


class Builder:
    """Makes the spans of a trace; ``id(n)`` is the hexadecimal id of the n-th."""

    def __init__(self, trace_id: str, start: int = START) -> None:
        self.trace_id = bytes.fromhex(trace_id)
        self.start = start
        self.message = TracesData()
        self._groups: dict[str, ScopeSpans] = {}
        self._count = 0

    @staticmethod
    def id(number: int) -> str:
        return f"{number:016x}"

    def add(
        self,
        service: str,
        name: str,
        parent: int | None,
        at: float,
        length: float,
        kind: str = "internal",
        error: str | None = None,
        **attributes: Any,
    ) -> Span:
        """Add a span that starts ``at`` and lasts ``length`` milliseconds; ``a__b`` is the attribute ``a.b``."""
        self._count += 1
        span: Span = self._group(service).spans.add(
            trace_id=self.trace_id,
            span_id=bytes.fromhex(self.id(self._count)),
            parent_span_id=bytes.fromhex(self.id(parent)) if parent is not None else b"",
            name=name,
            kind=_KINDS[kind],
            start_time_unix_nano=self.start + int(at * MS),
            end_time_unix_nano=self.start + int((at + length) * MS),
            attributes=pairs({key.replace("__", "."): value for key, value in attributes.items()}),
        )
        if error is not None:
            span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=error))
        return span

    @property
    def count(self) -> int:
        return self._count

    def _group(self, service: str) -> ScopeSpans:
        if service not in self._groups:
            resource = {"service.name": service, "service.version": "1.4.2", "deployment.environment.name": "test"}
            group = self.message.resource_spans.add(resource=Resource(attributes=pairs(resource)))
            self._groups[service] = group.scope_spans.add(
                scope=InstrumentationScope(name="causal_otel.asyncpg", version="0.1.0")
            )
        return self._groups[service]


def pairs(values: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
    return AnyValue(string_value=str(value))


def shop(trace_id: str = "5b8aa5a2d2c872e8321cf37308d69df2", start: int = START, slower: float = 1.0) -> TracesData:
    """A checkout over five services: waits of every sort, a failure, a retry, a detached task, a link to elsewhere."""
    b = Builder(trace_id, start)
    db = {"db__system__name": "postgresql", "db__namespace": "shop", "server__address": "db.internal"}
    b.add("gateway", "POST /checkout", None, 0, 412 * slower, "server", http__request__method="POST",
          http__route="/checkout", http__response__status_code=200, url__path="/checkout",
          user__id="u-4711")  # fmt: skip
    b.add("gateway", "authenticate", 1, 2, 31)
    b.add("gateway", "GET", 2, 4, 6, "client", db__system__name="redis", db__operation__name="GET",
          causal__pool__wait=0.0007, causal__server=0.0041)  # fmt: skip
    b.add("gateway", "verify token", 2, 12, 20, causal__loop__blocked=0.0125)
    b.add("gateway", "POST", 1, 36, 338 * slower, "client", http__request__method="POST",
          url__full="http://orders:8000/orders", causal__connect=0.006, causal__server=0.3)  # fmt: skip
    b.add("orders", "POST /orders", 5, 43, 325 * slower, "server", http__route="/orders",
          http__response__status_code=201)  # fmt: skip
    select = b.add("orders", "SELECT products", 6, 47, 92, "client", **db, db__operation__name="SELECT",
                   db__query__text="SELECT id, name, price, stock FROM products WHERE id = ANY($1) AND stock > 0 " * 7,
                   causal__pool__wait=0.038, causal__server=0.029, causal__fetch=0.017)  # fmt: skip
    select.events.add(time_unix_nano=b.start + 85 * MS, name="pool grew", attributes=pairs({"pool.size": 8}))
    b.add("orders", "reserve stock", 6, 141, 84)
    for number in range(4):
        b.add("orders", "UPDATE stock", 8, 143 + 20 * number, 17, "client", **db, db__operation__name="UPDATE",
              causal__pool__wait=0.001, causal__server=0.013)  # fmt: skip
    b.add("orders", "POST", 6, 228, 118 * slower, "client", http__request__method="POST",
          url__full="http://payments:8000/charge", causal__pool__wait=0.012, causal__connect=0.011,
          causal__server=0.09)  # fmt: skip
    b.add("payments", "POST /charge", 13, 252, 90 * slower, "server", http__route="/charge",
          http__response__status_code=200)  # fmt: skip
    failed = b.add("payments", "charge card", 14, 255, 34, error="card network timed out after 30 ms",
                   error__type="TimeoutError", attempt=1)  # fmt: skip
    failed.events.add(
        time_unix_nano=b.start + 288 * MS,
        name="exception",
        attributes=pairs({
            "exception.type": "TimeoutError",
            "exception.message": "card network timed out after 30 ms",
            "exception.stacktrace": 'Traceback (most recent call last):\n  File "charge.py", line 41, in charge\n'
            + '    await network.send(card)\n  File "network.py", line 17, in send\n' * 6
            + "TimeoutError: card network timed out after 30 ms",
        }),
    )  # fmt: skip
    b.add("payments", "charge card", 14, 291, 44 * slower, attempt=2)
    b.add("payments", "INSERT charges", 14, 252 + 84 * slower, 5, "client", **db, causal__server=0.003)
    b.add("orders", "send_receipt", 6, 352, 3, "producer", messaging__system="celery",
          messaging__destination__name="mail")  # fmt: skip
    b.add("mailer", "send_receipt", 18, 431, 120, "consumer", messaging__system="celery",
          messaging__destination__name="mail", causal__queue__wait=0.076)  # fmt: skip
    b.add("mailer", "render", 19, 434, 22, causal__loop__blocked=0.02)
    b.add("mailer", "smtp", 19, 458, 90, "client", causal__connect=0.03, causal__server=0.055)
    detached = b.add("gateway", "warm the cache", None, 380, 66)
    detached.links.add(
        trace_id=b.trace_id, span_id=bytes.fromhex(b.id(1)), attributes=pairs({"causal.link": "detached"})
    )
    b.add("gateway", "SET", 22, 384, 9, "client", db__system__name="redis", causal__server=0.006)
    detached.links.add(trace_id=bytes.fromhex("ab" * 16), span_id=bytes.fromhex("cd" * 8))
    return b.message


def broken(trace_id: str = "0bad0bad0bad0bad0bad0bad0bad0bad") -> TracesData:
    """An orphan, a child before its parent, a cycle of two, a span that ends before it starts."""
    b = Builder(trace_id)
    b.add("front", "root", None, 0, 100)
    b.add("back", "skewed", 1, -40, 60, "server")
    b.add("back", "orphan", 99, 20, 10)
    b.add("ring", "hen", 5, 30, 10)
    b.add("ring", "egg", 4, 31, 5)
    b.add("front", "backwards", 1, 60, -20)
    b.add("front", "endless name " * 40, 1, 70, 5, huge="x" * 20_000, empty="", many=list(range(50)))
    return b.message


def attack(trace_id: str = "66" * 16) -> TracesData:
    """A script in every field that a sender controls."""
    b = Builder(trace_id)
    b.add(ATTACK, ATTACK, None, 0, 100, "server")
    span = b.add(
        ATTACK, ATTACK, 1, 10, 50, "client", error=ATTACK, causal__server=0.01, url__full="javascript:window.pwned=1"
    )
    span.attributes.extend(pairs({ATTACK: ATTACK, "list": [ATTACK], "long": ATTACK * 40}))
    span.events.add(name=ATTACK, time_unix_nano=START, attributes=pairs({ATTACK: ATTACK}))
    span.links.add(
        trace_id=b.trace_id, span_id=bytes.fromhex(b.id(1)), trace_state=ATTACK, attributes=pairs({ATTACK: ATTACK})
    )
    span.trace_state = ATTACK
    for group in b.message.resource_spans:
        group.resource.attributes.extend(pairs({ATTACK: ATTACK}))
        group.schema_url = ATTACK
        for scoped in group.scope_spans:
            scoped.scope.CopyFrom(InstrumentationScope(name=ATTACK, version=ATTACK, attributes=pairs({ATTACK: ATTACK})))
    return b.message


def large(spans: int = 5000, trace_id: str = "1a" * 16, seed: int = 7) -> TracesData:
    """A tree of ``spans``, some 10 deep, over 12 services, each with about ten attributes, and every 97th failed."""
    random_numbers = random.Random(seed)
    b = Builder(trace_id)
    b.add("service-0", "root", None, 0, spans, "server")
    inside = [(1, 0.0, float(spans), 1)]
    while b.count < spans:
        parent, at, length, depth = inside[random_numbers.randrange(max(0, len(inside) - 60), len(inside))]
        start = at + length * random_numbers.random() * 0.8
        took = max(0.05, (at + length - start) * random_numbers.random() * 0.7)
        number = b.count + 1
        b.add(
            f"service-{(depth + number % 3) % 12}", f"operation {number % 40}", parent, start, took,
            "client" if number % 2 else "server", error="failed" if number % 97 == 0 else None,
            db__system__name="postgresql", db__namespace="shop", server__address="db.internal", server__port=5432,
            db__query__text=f"SELECT * FROM table_{number % 40} WHERE id = $1", request__id=f"r-{number}",
            thread__id=number, code__function="load", causal__pool__wait=took / 4000, causal__server=took / 2000,
        )  # fmt: skip
        if depth < 12:
            inside.append((number, start, took, depth + 1))
        if random_numbers.random() < 0.02:
            inside.append((1, 0.0, float(spans), 1))
    return b.message


def loops(spans: int, trace_id: str = "5b8aa5a2d2c872e8321cf37308d69df2") -> TracesData:
    """Loops of equal statements, 999 each."""
    b = Builder(trace_id)
    b.add("web", "POST /import", None, 0, spans, "server")
    while b.count < spans:
        at = b.count
        b.add("web", f"batch {at}", 1, at, 900)
        batch = b.count
        for number in range(min(999, spans - b.count)):
            b.add("web", "INSERT items", batch, at + 0.9 * number, 0.5, "client",
                  db__system__name="postgresql", db__query__text="INSERT INTO items VALUES ($1)")  # fmt: skip
    return b.message
