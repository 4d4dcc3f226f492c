"""How many spans each service has in a trace."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ServiceCount", "service_counts"]


@dataclass(frozen=True, slots=True)
class ServiceCount:
    """A service's part of a trace."""

    name: str
    spans: int
    errors: int


def service_counts(spans: Iterable[str], errors: Iterable[str]) -> tuple[ServiceCount, ...]:
    """Those of a trace: most spans first, then by name.

    Args:
        spans: the service of each span.
        errors: the service of each span that has the status ERROR.
    """
    counts, failed = Counter(spans), Counter(errors)
    return tuple(
        ServiceCount(name, count, failed[name])
        for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    )
