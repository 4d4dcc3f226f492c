"""What can be asked, a file each."""

from __future__ import annotations

from typing import Any

from causal_otel.collector.mcp.tools.details import DETAILS
from causal_otel.collector.mcp.tools.diff import DIFF
from causal_otel.collector.mcp.tools.errors import ERRORS
from causal_otel.collector.mcp.tools.operations import OPERATIONS
from causal_otel.collector.mcp.tools.outline import OUTLINE
from causal_otel.collector.mcp.tools.search import SEARCH
from causal_otel.collector.mcp.tools.services import SERVICES
from causal_otel.collector.mcp.tools.tool import Tool
from causal_otel.collector.mcp.tools.why import WHY

__all__ = ["TOOLS", "Tool"]

TOOLS: dict[str, Tool[Any]] = {
    tool.name: tool for tool in (SEARCH, WHY, OUTLINE, DETAILS, DIFF, OPERATIONS, ERRORS, SERVICES)
}
"""All of them, by name."""
