"""Libraries that an instrumentor of OpenTelemetry's traces, because the user has asked for it."""

from __future__ import annotations

__all__ = ["instrumented"]

instrumented: set[str] = set()
"""Their packages. A patch of what is above such a driver makes the span, and suppresses the instrumentor's below it."""
