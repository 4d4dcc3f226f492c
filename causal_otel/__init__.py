"""Tracing for async Python: ``causal_otel.install()`` at startup, and every request tells where its time went."""

from __future__ import annotations

from causal_otel._version import __version__
from causal_otel.api import current_span_id, current_trace_id, detached, extract, inject, keep, span, traced
from causal_otel.client_span import ClientSpan, client_span
from causal_otel.install import Installation, install, status, uninstall
from causal_otel.settings import SettingError
from causal_otel.status import Status

__all__ = [
    "ClientSpan",
    "Installation",
    "SettingError",
    "Status",
    "__version__",
    "client_span",
    "current_span_id",
    "current_trace_id",
    "detached",
    "extract",
    "inject",
    "install",
    "keep",
    "span",
    "status",
    "traced",
    "uninstall",
]
