"""Heavy reads in processes of their own, so that taking spans in does not wait for them.

Only one thread of a process runs Python at a time. A page of a trace of 50,000 spans, or a search through thirty days,
is seconds of Python. In a process of its own, with a lower priority, it takes none of the collector's.

:mod:`.rules` says which requests are heavy, :mod:`.middleware` hands them over, :mod:`.workers` starts and ends the
processes, :mod:`.worker` is what runs in one: it has the same pages and APIs, and makes the whole answer. What passes
between the processes is the request's path and query, and the bytes of the answer.
"""

from __future__ import annotations

from causal_otel.collector.heavy.middleware import HeavyReads
from causal_otel.collector.heavy.workers import Workers

__all__ = ["HeavyReads", "Workers"]
