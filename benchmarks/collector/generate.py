"""The traffic of a made-up company: any number of spans over any time, always the same ones.

Ten services with twelve operations each; traces of 12.3 spans; ten attributes a span, of which ``user.id`` (one of
10,000), ``request.id`` (no two the same) and a path or a query's text with a number in it hardly repeat; one span in a
hundred fails; durations spread as they do, with a rare one that takes a hundred times as long. Each service sends its
spans in batches of its own, as exporters do.

``python -m benchmarks.collector.generate URL --spans 100000 --days 2`` sends them to an OTLP/HTTP receiver.
"""

from __future__ import annotations

import argparse
import random
import time
import urllib.request
from collections.abc import Iterator

__all__ = ["ATTRIBUTES", "OPERATIONS", "SERVICES", "USERS", "requests"]

SERVICES = tuple(
    f"{name}-service"
    for name in ("web", "cart", "user", "stock", "order", "price", "search", "mail", "payment", "report")
)
_NOUNS = (
    "orders",
    "items",
    "users",
    "prices",
    "carts",
    "pages",
    "reports",
    "offers",
    "mails",
    "events",
    "rules",
    "tags",
)
OPERATIONS = {
    service: tuple(
        f"GET /api/{noun}/{{id}}" if index % 2 == 0 else f"SELECT {service[:-8]}_{noun}"
        for index, noun in enumerate(_NOUNS)
    )
    for service in SERVICES
}
"""Of every service: server spans and calls to a database, in turns."""

ATTRIBUTES = 10
USERS = 10_000

_SPANS_PER_TRACE = 12.3
_DAY = 86_400 * 10**9
_SERVER, _CLIENT = 2, 3
_ERROR_SHARE = 0.01
_LONG_SHARE = 0.002


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(field: int, content: bytes) -> bytes:
    return bytes((field << 3 | 2,)) + _varint(len(content)) + content


def _attribute(key: str, value: str | int) -> bytes:
    content = _bytes(1, value.encode()) if isinstance(value, str) else b"\x18" + _varint(value)
    return _bytes(9, _bytes(1, key.encode()) + _bytes(2, content))


class _Operation:
    """What all spans of an operation share, as protobuf."""

    def __init__(self, service: str, index: int) -> None:
        self.service = service
        self.server = index % 2 == 0
        noun = _NOUNS[index]
        name = OPERATIONS[service][index]
        self.typical = 2_000_000 * (1 + index) if self.server else 300_000 * (1 + index)
        self.head = _bytes(5, name.encode()) + b"\x30" + bytes((_SERVER if self.server else _CLIENT,))
        if self.server:
            same: dict[str, str | int] = {
                "http.request.method": "GET",
                "http.route": f"/api/{noun}/{{id}}",
                "url.scheme": "https",
                "server.address": f"{service}.internal",
                "server.port": 8443,
                "network.protocol.version": "1.1",
            }
            self.text = "url.path", f"/api/{noun}/%d"
            self.varying = [_attribute("http.response.status_code", status) for status in (200, 200, 200, 201, 404)]
            self.failed = _attribute("http.response.status_code", 500)
        else:
            table = f"{service[:-8]}_{noun}"
            same = {
                "db.system.name": "postgresql",
                "db.namespace": service[:-8],
                "db.operation.name": "SELECT",
                "db.collection.name": table,
                "server.address": "db.internal",
                "server.port": 5432,
            }
            self.text = "db.query.text", f"SELECT * FROM {table} WHERE id = %d ORDER BY created_at DESC LIMIT 20"
            self.varying = [_attribute("db.response.returned_rows", rows) for rows in range(20)]
            self.failed = _attribute("db.response.returned_rows", 0)
        self.same = b"".join(_attribute(key, value) for key, value in same.items())


def requests(
    spans: int, *, end: int | None = None, days: float = 1.0, batch: int = 512, seed: int = 1
) -> Iterator[bytes]:
    """Serialized ``ExportTraceServiceRequest`` messages, each with a batch of one service's.

    Args:
        spans: how many in all.
        end: when the last trace starts, Unix time in nanoseconds; None: a minute ago.
        days: how long before it the first one starts.
        batch: spans in a request; the last of each service has what is left.
        seed: another one makes other spans.
    """
    rng = random.Random(seed)
    end = time.time_ns() - 60 * 10**9 if end is None else end
    operations = {service: [_Operation(service, index) for index in range(len(_NOUNS))] for service in SERVICES}
    heads = {service: _resource(service) for service in SERVICES}
    waiting: dict[str, list[bytes]] = {service: [] for service in SERVICES}
    step = days * _DAY / max(1.0, spans / _SPANS_PER_TRACE)
    begin = end - int(days * _DAY)
    made = number = 0
    while made < spans:
        size = min(spans - made, 3 + int(rng.expovariate(1 / (_SPANS_PER_TRACE - 2.5))))
        for service, span in _trace(rng, operations, size, begin + int(number * step)):
            held = waiting[service]
            held.append(span)
            if len(held) == batch:
                yield _request(heads[service], held)
                held.clear()
        made += size
        number += 1
    for service, held in waiting.items():
        if held:
            yield _request(heads[service], held)


def _trace(
    rng: random.Random, operations: dict[str, list[_Operation]], size: int, start: int
) -> Iterator[tuple[str, bytes]]:
    trace_id = rng.randbytes(16)
    user = _attribute("user.id", f"user-{rng.randrange(USERS)}")
    # Those that can have children: what they are, their id, when their next child starts.
    open_spans: list[tuple[_Operation, bytes, int]] = []
    for _ in range(size):
        if open_spans:
            parent, parent_id, begin = rng.choice(open_spans)
            # Two of three stay within their service: its queries.
            service = parent.service if rng.random() < 0.67 else rng.choice(SERVICES)
            index = rng.randrange(6) * 2 + (service == parent.service)
        else:
            parent_id, begin, service, index = b"", start, SERVICES[0], rng.randrange(6) * 2
        operation = operations[service][index]
        duration = int(operation.typical * rng.lognormvariate(0, 0.5))
        if rng.random() < _LONG_SHARE:
            duration *= 100
        failed = rng.random() < _ERROR_SHARE
        span_id = rng.randbytes(8)
        begin += rng.randrange(50_000, 500_000)
        key, text = operation.text
        parts = [
            b"\x0a\x10", trace_id, b"\x12\x08", span_id, b"\x22\x08" + parent_id if parent_id else b"", operation.head,
            b"\x39", begin.to_bytes(8, "little"), b"\x41", (begin + duration).to_bytes(8, "little"),
            operation.same, operation.failed if failed else rng.choice(operation.varying),
            user, _attribute("request.id", rng.randbytes(8).hex()), _attribute(key, text % rng.randrange(1_000_000)),
            b"\x7a\x0e\x12\x0atimed out.\x18\x02" if failed else b"",
        ]  # fmt: skip
        yield service, b"".join(parts)
        if operation.server:
            open_spans.append((operation, span_id, begin))


def _resource(service: str) -> tuple[bytes, bytes]:
    pairs = {
        "service.name": service,
        "service.version": "1.4.2",
        "service.instance.id": f"{service}-7f9c",
        "deployment.environment.name": "production",
        "host.name": "node-3",
        "telemetry.sdk.language": "python",
    }
    # An attribute of a resource is field 1, of a span 9.
    attributes = b"".join(b"\x0a" + _attribute(key, value)[1:] for key, value in pairs.items())
    return _bytes(1, attributes), _bytes(1, _bytes(1, b"causal_otel") + _bytes(2, b"1.0.0"))


def _request(head: tuple[bytes, bytes], spans: list[bytes]) -> bytes:
    resource, scope = head
    return _bytes(1, resource + _bytes(2, scope + b"".join(_bytes(2, span) for span in spans)))


def main() -> None:
    """Send them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collector.generate", description="Sends made-up spans.")
    parser.add_argument("url", help="as in http://127.0.0.1:4318/v1/traces")
    parser.add_argument("--spans", type=int, default=100_000, help="how many (default: %(default)s)")
    parser.add_argument("--days", type=float, default=1.0, help="over how many days until now (default: %(default)s)")
    arguments = parser.parse_args()
    for body in requests(arguments.spans, days=arguments.days):
        post = urllib.request.Request(arguments.url, body, {"Content-Type": "application/x-protobuf"})
        with urllib.request.urlopen(post, timeout=30):
            pass


if __name__ == "__main__":
    main()
