"""What pages of figures say if there was no time to read all of them."""

from __future__ import annotations

import time

from causal_otel.collector.figures import FIGURES_SECONDS
from causal_otel.collector.web.templating import utc

__all__ = ["partial_result"]


def partial_result(since: int, start: int) -> dict[str, str]:
    """What the template ``_partial.html`` says, as a part of its context; nothing if all was read.

    Args:
        since: of a reader, see :attr:`causal_otel.collector.query.TraceReader.since`.
        start: when the time that the page is about starts, Unix time in nanoseconds.
    """
    if since <= start:
        return {"partial": ""}
    what = "figures" if since > time.time_ns() else f"figures of before {utc(since, '%b %d %H:%M')} UTC"
    return {"partial": f"Not all was read within {FIGURES_SECONDS:g} s: {what} are missing, or too low."}
