"""Our own failures: counted by site, logged once per site, and never raised into user code."""

from __future__ import annotations

from collections import Counter

from causal_otel._internal.log import logger

__all__ = ["counts", "report"]

_logger = logger()
_counts: Counter[str] = Counter()


def report(site: str) -> None:
    """Take note of the exception being handled.

    Call it inside an ``except`` block that then goes on as if tracing were not there. Never raises.

    Args:
        site: where it happened, as a stable short name such as ``"asyncpg: Connection.fetch"``.
    """
    _counts[site] += 1
    if _counts[site] == 1:
        _logger.warning(
            "tracing failed in %s; the call itself is not affected, and further failures here are only counted",
            site,
            exc_info=True,
        )


def counts() -> dict[str, int]:
    """How often each site has failed since the process started."""
    return dict(_counts)
