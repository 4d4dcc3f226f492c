"""One trace, made readable: its tree, and where the time inside a span went.

Pages, comparison and terminal share it.
"""

from __future__ import annotations

from causal_otel.collector.analysis.logs import LogView, TraceLogsView, log_views
from causal_otel.collector.analysis.trace_tree import build
from causal_otel.collector.analysis.view import EventView, LinkView, SpanView, TraceView
from causal_otel.collector.analysis.where_time_went import Part, where_time_went

__all__ = [
    "EventView",
    "LinkView",
    "LogView",
    "Part",
    "SpanView",
    "TraceLogsView",
    "TraceView",
    "build",
    "log_views",
    "where_time_went",
]
