"""``diff_traces``: why one trace took longer than another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from causal_otel.causality.explanation import difference
from causal_otel.collector.mcp.answers import write
from causal_otel.collector.mcp.arguments import Arguments, trace_id
from causal_otel.collector.mcp.sources import trace_of
from causal_otel.collector.mcp.tools.tool import Tool

if TYPE_CHECKING:
    from causal_otel.collector.mcp.sources import Traces

__all__ = ["DIFF"]


class _Diff(Arguments):
    a: str = Field(description="the id of a trace, such as a quick one or one from before a change")
    b: str = Field(description="the id of the trace to explain")


def _answer(traces: Traces, wanted: _Diff) -> str:
    ids = trace_id("a", wanted.a), trace_id("b", wanted.b)
    a, b = (trace_of(traces, each) for each in ids)
    return write({"a": a.trace_id, "b": b.trace_id, "difference": difference(a, b).text().splitlines()})


DIFF = Tool(
    "diff_traces",
    "Compare two traces",
    "Explain why trace b took longer (or less) than trace a: what their answers waited for, and the operations that "
    "took longer or less, or are in one of them only. Use it on traces of one operation, such as before and after a "
    "change. At most 2,000 bytes of text.",
    _Diff,
    _answer,
)
"""The tool."""
