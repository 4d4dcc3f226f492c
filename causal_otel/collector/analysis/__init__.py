"""One trace, made readable: its tree, what its end-to-end time consists of, and where the time inside a span went.

Pages, comparison and terminal share it.
"""

from __future__ import annotations

from causal_otel.collector.analysis.critical_path import Segment, Until, critical_path, time_on_path
from causal_otel.collector.analysis.logs import LogView, TraceLogsView, log_views
from causal_otel.collector.analysis.trace_tree import build
from causal_otel.collector.analysis.view import EventView, LinkView, SpanView, TraceView
from causal_otel.collector.analysis.where_time_went import Part, where_time_went

__all__ = [
    "EventView",
    "LinkView",
    "LogView",
    "Part",
    "Segment",
    "SpanView",
    "TraceLogsView",
    "TraceView",
    "Until",
    "build",
    "critical_path",
    "log_views",
    "time_on_path",
    "where_time_went",
]
