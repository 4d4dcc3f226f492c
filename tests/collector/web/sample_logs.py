"""Log records for the pages: as those of a shop, long ones, and ones that attack."""

from __future__ import annotations

from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from causal_otel.collector.query import TraceLogs
from tests.collector.records import log_request, record
from tests.collector.web.sample_traces import ATTACK, START

__all__ = ["attack_logs", "shop_logs"]

_MS = 1_000_000


def shop_logs(start: int = START) -> TraceLogs:
    """Records of two spans of the shop's trace, out of order, one with a stack trace, and one of a span not there."""
    stack = "Traceback (most recent call last):\n" + "\n".join(f'  File "shop.py", line {n}, in pay' for n in range(30))
    records = (
        record(
            "card declined\nby the bank",
            span=15,
            at=start + 30 * _MS,
            severity=17,
            tags={"exception.stacktrace": stack},
        ),
        record("paying with a card", span=15, at=start + 20 * _MS),
        record("slow answer", span=1, at=start + 40 * _MS, severity=13, tags={"unbroken": "x" * 300}),
        record("unplaced", span=0xDEAD, at=start, severity=5),
    )
    return TraceLogs(LogsData.FromString(log_request(*records)))


def attack_logs() -> TraceLogs:
    """A script in every field that a sender controls."""
    made = record(ATTACK, span=2, at=START, tags={ATTACK: ATTACK})
    made.severity_text = ATTACK
    return TraceLogs(LogsData.FromString(log_request(made, record(ATTACK, span=9999), service=ATTACK, logger=ATTACK)))
