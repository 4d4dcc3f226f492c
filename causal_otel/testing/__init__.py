"""For tests: the pytest plugin with its fixture ``traces``, and throwaway servers, real ones, which the demo shares.

    from causal_otel.testing import Traces  # the type of the fixture
    from causal_otel.testing.servers import bolt, postgres, valkey

The servers come with the extra ``demo``, each ends with the block that it is used in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from causal_otel.testing.traces import Traces

__all__ = ["Traces"]


def __getattr__(name: str) -> Any:
    """``Traces``: what it needs is imported by those who use it only."""
    if name != "Traces":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from causal_otel.testing.traces import Traces

    return Traces
