"""Traces that fail in several ways, of two days, for the pages of errors."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from tests.collector.spans import HOUR, MILLISECOND, MINUTE, event, merged, span, traces

__all__ = ["ERRORS", "failing", "raised", "stack_of"]

ERRORS = (
    ("asyncpg.exceptions.UniqueViolationError", "/srv/shop/orders.py", "insert", "the order 17 is there"),
    ("ValueError", "/srv/shop/orders.py", "load", "no such order"),
    ("ValueError", "/srv/shop/bills.py", "print_bill", "no such bill"),
    ("TimeoutError", "", "", ""),
    ("", "", "", "it did not work"),
)
"""Type, file, function and message. Without a file there is no exception, without a type nothing but the status."""


def stack_of(path: str, function: str, kind: str, said: str) -> str:
    """A stack trace that ends in an installed library below ``function``."""
    return (
        f'Traceback (most recent call last):\n  File "{path}", line 31, in {function}\n    await call()\n'
        f'  File "/srv/.venv/lib/python3.12/site-packages/lib/core.py", line 4, in fetch\n    raise\n{kind}: {said}\n'
    )


def raised(error: tuple[str, str, str, str]) -> dict[str, Any]:
    """What makes a span of :func:`~tests.collector.spans.span` fail so."""
    kind, path, function, said = error
    given: dict[str, Any] = {"error": said or True, "tags": {"error.type": kind} if kind else {}}
    if path:
        values = {"exception.type": kind, "exception.message": said}
        values["exception.stacktrace"] = stack_of(path, function, kind, said)
        given["events"] = [event("exception", values)]
    return given


def failing(now: int, count: int = 120, over: int = 44 * HOUR) -> Iterator[TracesData]:
    """Requests of two services until ``now``, of which most fail: some in the request alone, some in a span below."""
    chance = random.Random(11)
    for number in range(1, count + 1):
        start = now - MINUTE - int(chance.random() ** 2 * over)
        error = chance.choice((*ERRORS, None))
        failed = {} if error is None else raised(error)
        service, version = chance.choice([("shop", "1"), ("shop", "2"), ("bank", "")])
        name = chance.choice(["POST /orders", "GET /orders/{id}"])
        length = chance.randrange(5, 900) * MILLISECOND
        spans = [
            span(name, trace=number, id=1, start=start, duration=length, kind=Span.SPAN_KIND_SERVER, **failed),
            span(
                "load", trace=number, id=2, parent=1, start=start + MILLISECOND, duration=length // 2,
                **(failed if error is not None and error[1] and number % 2 else {}),
            ),
        ]  # fmt: skip
        resource = {"service.version": version} if version else {}
        yield merged(traces(*spans, service=service, resource=resource))
