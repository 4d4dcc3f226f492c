"""OpenTelemetry's instrumentors, for the libraries that no patch of ours is for: ``install(instrumentors=...)``.

``known.py`` is the table: which may be applied, when, and which ours take the place of. Nothing here is imported before
somebody asks for an instrumentor, or for ``status()``.
"""

from __future__ import annotations

from causal_otel.instrumentors.known import replaced_by_ours
from causal_otel.instrumentors.suggestions import Suggestion, suggest

__all__ = ["Suggestion", "replaced_by_ours", "suggest"]
