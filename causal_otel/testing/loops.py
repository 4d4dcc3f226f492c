"""Whether the event loops of a test were watched, so that a block would have been seen."""

from __future__ import annotations

from causal_otel.installation import installation

__all__ = ["unwatched"]


def unwatched(ms: float) -> str:
    """Why a block of so many milliseconds would not have been seen; empty: it would."""
    installed = installation()
    if installed is None or installed.reason:
        return "nothing is traced"
    tracing = installed.tracings.get("event_loop")
    if tracing is None:
        return "install() leaves the patch event_loop out"
    threshold = 1000 * (tracing.options.loop_block_threshold or 0.0)
    if not threshold:
        return "the setting loop_block_threshold is 0"
    if threshold > ms:
        return f"loops are watched from {threshold:g} ms on; set TRACING_LOOP_BLOCK_THRESHOLD={ms / 1000:g} or less"
    return ""
