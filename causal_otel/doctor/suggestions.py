"""What to do about a library that nothing traces."""

from __future__ import annotations

from causal_otel.instrumentors import suggest

__all__ = ["suggestion"]


def suggestion(module: str) -> str:
    """Lines to paste: what to install, and what to call; or a span around the calls, where nothing else is to be had.

    Args:
        module: the name by which the library is imported.
    """
    found = suggest([module])
    if not found:
        return f'with causal_otel.span("{module}"):  # around its calls\n    ...'
    lines = [] if found[0].installed else [f"pip install {found[0].distribution}"]
    return "\n".join([*lines, f"export TRACING_INSTRUMENTORS={found[0].instrumentor}"])
