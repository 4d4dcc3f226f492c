"""What is odd about a trace, one concept a file: each has ``find(scene)``, which gives its findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.causality.explanation.findings import (
    cancelled,
    errors,
    locks,
    loop_blocks,
    n_plus_one,
    pools,
    queue_waits,
    repeated,
    retries,
    sequential,
    unawaited,
)
from causal_otel.causality.explanation.findings.finding import Finding

if TYPE_CHECKING:
    from causal_otel.causality.explanation.scene import Scene

__all__ = ["Finding", "findings"]

_ALL = (
    errors.find,
    cancelled.find,
    pools.find,
    loop_blocks.find,
    locks.find,
    n_plus_one.find,
    queue_waits.find,
    retries.find,
    repeated.find,
    sequential.find,
    unawaited.find,
)


def findings(scene: Scene) -> list[Finding]:
    """All of them, the most important first: what has failed, then by how long it took."""
    found = [finding for find in _ALL for finding in find(scene)]
    return sorted(found, key=lambda each: (not each.failure, -each.share, -each.nanoseconds, each.kind, each.sentence))
