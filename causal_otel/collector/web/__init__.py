"""The pages: templates, styles and small scripts over a trace reader."""

from __future__ import annotations

from causal_otel.collector.web.errors import EXCEPTION_HANDLERS, error_page
from causal_otel.collector.web.pages import routes

__all__ = ["EXCEPTION_HANDLERS", "error_page", "routes"]
