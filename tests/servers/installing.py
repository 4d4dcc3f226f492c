"""How the applications of these tests install, wherever they do it."""

from __future__ import annotations

import causal_otel

__all__ = ["install"]


def install() -> None:
    """Trace this process. A span waits ten minutes for its batch: what arrives was exported at the end."""
    causal_otel.install(service_name="shop", schedule_delay=600.0)
