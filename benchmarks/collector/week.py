"""A platform's week, in which several things go wrong: who looks for them by the pages alone shall find each.

    python -m benchmarks.collector.week DIRECTORY [--per-hour 40]

fills a store with it. It is always the same week, but for when it ends. What is planted (:class:`Planted` has the
times):

- The version of ``stock`` that is deployed in the middle of the week is slow: its query takes five times as long, but
  only for customers with the plan ``enterprise``.
- The pool of ``users`` is exhausted for two hours: with five connections in use, requests wait up to a second for one.
- ``orders`` asks for the items of an order one by one.
- The bank that ``payments`` calls fails for two hours, in one call of two.
- A report blocks the event loop of ``storefront`` for 300 ms, once in forty requests.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from causal_otel import names
from causal_otel.collector.store.writer import Writer

__all__ = ["HOUR", "Planted", "planted", "week"]

HOUR = 3600 * 10**9
_DAY = 24 * HOUR
_MS = 10**6
_SERVER, _CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
_PRODUCER, _CONSUMER, _INTERNAL = Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_INTERNAL
_PLANS = ("free", "free", "free", "team", "enterprise")
_STACK = (
    "Traceback (most recent call last):\n"
    '  File "/srv/payments/bank.py", line 88, in charge\n'
    '  File "/srv/.venv/lib/python3.12/site-packages/httpx/_models.py", line 829, in raise_for_status\n'
    "httpx.HTTPStatusError: Server error '503 Service Unavailable'\n"
)


@dataclass(frozen=True, slots=True)
class Planted:
    """When what happens, Unix times in nanoseconds.

    Attributes:
        begin: the first hour.
        end: when the week is over.
        deployed: from then on ``stock`` is 2.5.0, before 2.4.0.
        pool: from when to when the pool of ``users`` is exhausted.
        bank: from when to when the bank fails.
    """

    begin: int
    end: int
    deployed: int
    pool: tuple[int, int]
    bank: tuple[int, int]


def planted(end: int) -> Planted:
    """The week that ends with the hour of ``end``."""
    end = end // HOUR * HOUR
    begin = end - 7 * _DAY
    return Planted(
        begin,
        end,
        begin + 3 * _DAY + 12 * HOUR,
        (begin + 5 * _DAY + 14 * HOUR, begin + 5 * _DAY + 16 * HOUR),
        (begin + 6 * _DAY + 3 * HOUR, begin + 6 * _DAY + 5 * HOUR),
    )


@dataclass(slots=True)
class _Trace:
    """The spans of a trace, by the service that sends them, while they are made."""

    rng: random.Random
    id: bytes
    spans: dict[tuple[str, str], list[Span]] = field(default_factory=dict)

    def add(
        self,
        service: str,
        version: str,
        name: str,
        start: int,
        end: int,
        *,
        parent: Span | None = None,
        kind: int = _INTERNAL,
        error: str = "",
        **attributes: Any,
    ) -> Span:
        """A span; the names of attributes have ``__`` in place of dots."""
        given = {key.replace("__", "."): value for key, value in attributes.items()}
        span = Span(
            trace_id=self.id,
            span_id=self.rng.randbytes(8),
            parent_span_id=b"" if parent is None else parent.span_id,
            name=name,
            kind=kind,  # type: ignore[arg-type]
            start_time_unix_nano=start,
            end_time_unix_nano=end,
        )
        if error:
            span.status.code = Status.STATUS_CODE_ERROR
            given[names.ERROR_TYPE] = error
        span.attributes.extend(_pairs(given))
        self.spans.setdefault((service, version), []).append(span)
        return span

    def requests(self) -> Iterator[bytes]:
        """What each service sends."""
        for (service, version), spans in self.spans.items():
            group = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
            group.scope_spans[0].scope.name = "causal_otel"
            group.resource.attributes.extend(_pairs({names.SERVICE_NAME: service, names.SERVICE_VERSION: version}))
            yield ExportTraceServiceRequest(resource_spans=[group]).SerializeToString()


def _pairs(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=str(value))


def week(end: int, *, per_hour: int = 40, seed: int = 1) -> Iterator[bytes]:
    """Serialized ``ExportTraceServiceRequest`` messages with the week's spans, in the order of their time.

    Args:
        end: Unix time in nanoseconds; the week ends with its hour.
        per_hour: traces in an hour at noon; at night there are a third as many.
        seed: another one makes other spans, of the same week.
    """
    rng = random.Random(seed)
    times = planted(end)
    for hour in range(times.begin, times.end, HOUR):
        of_day = hour // HOUR % 24
        count = max(1, round(per_hour * (2 + math.cos((of_day - 12) / 12 * math.pi)) / 3))
        for start in sorted(hour + rng.randrange(HOUR) for _ in range(count)):
            yield from _trace(rng, start, times)


def _trace(rng: random.Random, start: int, times: Planted) -> Iterator[bytes]:
    trace = _Trace(rng, rng.randbytes(16))
    choice = rng.random()
    plan = rng.choice(_PLANS)
    customer = {"customer__plan": plan, "customer__id": f"c{rng.randrange(2000)}"}
    if choice < 0.4:
        _product(trace, start, times, customer)
    elif choice < 0.7:
        _order(trace, start, times, customer)
    else:
        _payment(trace, start, times, customer)
    yield from trace.requests()


def _around(rng: random.Random, milliseconds: float) -> int:
    """A duration that is about as long."""
    return int(milliseconds * _MS * rng.lognormvariate(0, 0.25))


def _query(
    trace: _Trace, of: tuple[str, str], parent: Span, start: int, statement: str, length: int, **more: Any
) -> int:
    """A query of a database; when it ends."""
    wait = int(more.get("causal__pool__wait", 0) * 1e9)
    end = start + wait + length
    trace.add(
        *of, statement, start, end, parent=parent, kind=_CLIENT, db__system__name="postgresql", db__namespace=of[0],
        server__address="db.internal", server__port=5432, causal__server=0.9 * length / 1e9, **more,
    )  # fmt: skip
    return end


def _entry(trace: _Trace, of: tuple[str, str], name: str, start: int, parent: Span | None, **more: Any) -> Span:
    """A request that is served; its end is set later."""
    method, _, route = name.partition(" ")
    return trace.add(
        *of, name, start, start, parent=parent, kind=_SERVER, http__request__method=method, http__route=route, **more
    )


def _call(trace: _Trace, of: tuple[str, str], host: str, start: int, parent: Span) -> Span:
    """A request of a client; its end is set later."""
    return trace.add(
        *of, "GET", start, start, parent=parent, kind=_CLIENT, http__request__method="GET", server__address=host
    )


def _product(trace: _Trace, start: int, times: Planted, customer: dict[str, str]) -> None:
    """A product's page: who asks, and what is in stock."""
    rng, front = trace.rng, ("storefront", "3.1.0")
    root = _entry(trace, front, "GET /products/{id}", start, None, **customer)
    at = start + _around(rng, 1)
    call = _call(trace, front, "users.internal", at, root)
    users = ("users", "1.2.0")
    served = _entry(trace, users, "GET /users/{id}", at + _around(rng, 0.5), call, **customer)
    exhausted = times.pool[0] <= start < times.pool[1]
    pool: dict[str, Any] = {}
    if exhausted:
        wait = rng.uniform(0.3, 1.0)
        pool = {"causal__pool__wait": wait, "causal__pool__size": 5, "causal__pool__waiting": rng.randrange(1, 12)}
    at = _query(
        trace, users, served, served.start_time_unix_nano + _around(rng, 0.5), "SELECT users", _around(rng, 4), **pool
    )
    served.end_time_unix_nano = at + _around(rng, 0.5)
    call.end_time_unix_nano = served.end_time_unix_nano + _around(rng, 0.5)
    at = call.end_time_unix_nano
    call = _call(trace, front, "stock.internal", at, root)
    is_new = start >= times.deployed
    stock = ("stock", "2.5.0" if is_new else "2.4.0")
    served = _entry(trace, stock, "GET /stock/{sku}", at + _around(rng, 0.5), call, **customer)
    slow = 5 if is_new and customer["customer__plan"] == "enterprise" else 1
    at = _query(
        trace, stock, served, served.start_time_unix_nano + _around(rng, 0.5), "SELECT stock", _around(rng, 12 * slow)
    )
    served.end_time_unix_nano = at + _around(rng, 0.5)
    call.end_time_unix_nano = served.end_time_unix_nano + _around(rng, 0.5)
    at = call.end_time_unix_nano + _around(rng, 2)
    if rng.random() < 1 / 40:
        trace.add(
            *front,
            "loop blocked",
            at,
            at + 300 * _MS,
            parent=root,
            causal__block__frame="storefront/report.py:31 render()",
        )
        at += 300 * _MS
        root.attributes.extend(_pairs({names.CAUSAL_LOOP_BLOCKED: 0.3}))
    root.end_time_unix_nano = at


def _order(trace: _Trace, start: int, times: Planted, customer: dict[str, str]) -> None:
    """A list of orders, whose items are asked for one by one, and a message for the mail."""
    rng, orders = trace.rng, ("orders", "1.8.0")
    root = _entry(trace, orders, "GET /orders", start, None, **customer)
    at = _query(trace, orders, root, start + _around(rng, 1), "SELECT orders", _around(rng, 5))
    for _ in range(rng.randrange(8, 16)):
        at = _query(
            trace, orders, root, at, "SELECT items", _around(rng, 2), causal__code__origin="orders.py:52 items()"
        )
    queue = {"messaging__system": "celery", "messaging__destination__name": "mails"}
    send = trace.add(*orders, "send mails.confirm", at, at + _around(rng, 1), parent=root, kind=_PRODUCER, **queue)
    root.end_time_unix_nano = send.end_time_unix_nano + _around(rng, 0.5)
    waited = _around(rng, 40)
    begin = send.end_time_unix_nano + waited
    trace.add(
        "mailer", "1.0.0", "process mails.confirm", begin, begin + _around(rng, 30), parent=send, kind=_CONSUMER,
        causal__queue__wait=waited / 1e9, **queue,
    )  # fmt: skip


def _payment(trace: _Trace, start: int, times: Planted, customer: dict[str, str]) -> None:
    """A payment: the bank is asked."""
    rng, payments = trace.rng, ("payments", "4.0.2")
    root = _entry(trace, payments, "POST /payments", start, None, **customer)
    at = start + _around(rng, 1)
    fails = times.bank[0] <= start < times.bank[1] and rng.random() < 0.5
    call = _call(trace, payments, "api.bank.example", at, root)
    call.end_time_unix_nano = at + _around(rng, 90)
    root.end_time_unix_nano = call.end_time_unix_nano + _around(rng, 1)
    if fails:
        for span, error in ((call, "503"), (root, "httpx.HTTPStatusError")):
            span.status.code = Status.STATUS_CODE_ERROR
            span.attributes.extend(_pairs({names.ERROR_TYPE: error}))
        values = {names.EXCEPTION_TYPE: "httpx.HTTPStatusError", names.EXCEPTION_STACKTRACE: _STACK}
        root.events.add(name="exception", time_unix_nano=call.end_time_unix_nano, attributes=_pairs(values))


def main() -> None:
    """Fill a directory."""
    parser = argparse.ArgumentParser(description="Fill a store with a platform's week.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--per-hour", type=int, default=40, help="traces in an hour at noon (default: 40)")
    given = parser.parse_args()
    writer = Writer(given.directory)
    writer.start()
    spans = 0
    for body in week(time.time_ns(), per_hour=given.per_hour):
        spans += writer.put(body).result(60).spans
    writer.close(60)
    print(f"{spans} spans of a week in {given.directory}")


if __name__ == "__main__":
    main()
