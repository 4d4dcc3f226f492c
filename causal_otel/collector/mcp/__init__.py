"""The traces that are kept, for coding agents: tools over the Model Context Protocol (MCP).

``tools/`` has what can be asked, of anything that traces are searched in. :mod:`.server` makes a server of the official
SDK of it. Both need the extra ``mcp``. ``causal-otel mcp`` speaks it over stdio, :mod:`.endpoint` in the collector over
HTTP. Nothing is ever written.
"""

from __future__ import annotations

__all__ = ["PACKAGES"]

PACKAGES = ("mcp", "mcp_types")
"""What of the extra is needed, by the names it is imported by. Version 1 of the SDK has only the first."""
