"""Tracing for async Python: ``causal_otel.install()`` at startup, and every request tells where its time went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel._version import __version__
from causal_otel.api import (
    current_span_id,
    current_trace_id,
    detached,
    environ,
    extract,
    flush,
    inject,
    keep,
    span,
    traced,
)
from causal_otel.client_span import ClientSpan, client_span
from causal_otel.install import install, status, uninstall
from causal_otel.installation import Installation
from causal_otel.settings import SettingError
from causal_otel.status import Status

if TYPE_CHECKING:
    from causal_otel.patches.wsgi import WsgiMiddleware

__all__ = [
    "ClientSpan",
    "Installation",
    "SettingError",
    "Status",
    "WsgiMiddleware",
    "__version__",
    "client_span",
    "current_span_id",
    "current_trace_id",
    "detached",
    "environ",
    "extract",
    "flush",
    "inject",
    "install",
    "keep",
    "span",
    "status",
    "traced",
    "uninstall",
]


def __getattr__(name: str) -> Any:
    """``WsgiMiddleware``: its patch is imported by those who use it only."""
    if name != "WsgiMiddleware":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from causal_otel.patches.wsgi import WsgiMiddleware

    return WsgiMiddleware
