"""One trace, made readable: its tree, where the time inside a span went, and why it took so long.

Pages, comparison and terminal share it.
"""

from __future__ import annotations

from causal_otel.collector.analysis.explained import Explained
from causal_otel.collector.analysis.logs import LogView, TraceLogsView, log_views
from causal_otel.collector.analysis.placed_parts import PlacedPart
from causal_otel.collector.analysis.where_time_went import Part, waited_before, where_time_went
from causal_otel.collector.trace_tree import build
from causal_otel.collector.view import EventView, LinkView, SpanView, TraceView

__all__ = [
    "EventView",
    "Explained",
    "LinkView",
    "LogView",
    "Part",
    "PlacedPart",
    "SpanView",
    "TraceLogsView",
    "TraceView",
    "build",
    "log_views",
    "waited_before",
    "where_time_went",
]
