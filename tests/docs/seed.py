"""Traces for the pages' commands to find, as OTLP JSON lines: an order that is slow and one that fails, just now."""

from __future__ import annotations

import json
import time
from typing import Any

__all__ = ["FAILED", "SLOW", "lines"]

SLOW, FAILED = "0a" * 16, "0b" * 16
"""Ids of the two traces."""

_SERVER, _CLIENT, _PRODUCER, _CONSUMER = 2, 3, 4, 5


def _attributes(values: dict[str, str | int]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in values.items()
    ]


def _span(
    place: tuple[str, str, str], name: str, kind: int, times: tuple[int, int], attributes: dict[str, str | int]
) -> dict[str, Any]:
    trace_id, span_id, parent = place
    span = {
        "traceId": trace_id,
        "spanId": span_id,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(times[0]),
        "endTimeUnixNano": str(times[1]),
        "attributes": _attributes(attributes),
    }
    return span | ({"parentSpanId": parent} if parent else {})


def _resource(service: str, spans: list[dict[str, Any]]) -> dict[str, Any]:
    resource = {"attributes": _attributes({"service.name": service})}
    return {"resource": resource, "scopeSpans": [{"scope": {"name": "causal_otel"}, "spans": spans}]}


def lines() -> str:
    """Both traces, a line each."""
    begun = time.time_ns() - 5_000_000_000

    def at(start: int, end: int) -> tuple[int, int]:
        return begun + start * 1_000_000, begun + end * 1_000_000

    request = {"http.request.method": "POST", "http.route": "/orders", "url.path": "/orders", "user.id": "42"}
    root, query, sent, taken = ("0000000000000001", "0000000000000002", "0000000000000003", "0000000000000004")
    slow = [
        _resource(
            "shop-api",
            [
                _span(
                    (SLOW, root, ""),
                    "POST /orders",
                    _SERVER,
                    at(0, 1500),
                    {**request, "http.response.status_code": 202},
                ),
                _span(
                    (SLOW, query, root),
                    "INSERT orders",
                    _CLIENT,
                    at(10, 1400),
                    {"db.system.name": "postgresql", "db.query.text": "INSERT INTO orders VALUES ($1)"},
                ),
                _span(
                    (SLOW, sent, root), "send bills.write", _PRODUCER, at(1410, 1420), {"messaging.system": "celery"}
                ),
            ],
        ),
        _resource(
            "shop-worker",
            [
                _span(
                    (SLOW, taken, sent),
                    "process bills.write",
                    _CONSUMER,
                    at(1600, 1700),
                    {"messaging.system": "celery"},
                )
            ],
        ),
    ]
    failed_request = _span(
        (FAILED, root, ""),
        "POST /orders",
        _SERVER,
        at(2000, 2040),
        {**request, "user.id": "43", "http.response.status_code": 500, "error.type": "KeyError"},
    ) | {"status": {"code": 2}}
    failed = [_resource("shop-api", [failed_request])]
    return "".join(json.dumps({"resourceSpans": each}) + "\n" for each in (slow, failed))
