"""The context written to carriers and read from them by the global propagator, which may be the user's and raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causal_otel._internal import faults

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from opentelemetry.propagators.textmap import Getter

__all__ = ["extract", "inject", "injected"]

# opentelemetry.propagate is imported where it is used: importing it makes the propagators that OTEL_PROPAGATORS names,
# and raises where there is no such propagator.


def inject(carrier: MutableMapping[str, Any], context: Context | None = None) -> None:
    """Write ``context`` (default: the current one) into ``carrier``. Never raises; a failure may leave a part there.

    Args:
        carrier: such as headers.
        context: what to write.
    """
    try:
        from opentelemetry import propagate

        propagate.inject(carrier, context)
    except Exception:
        faults.report("propagator: inject")


def injected(context: Context) -> dict[str, str]:
    """The headers that carry ``context``. Never raises."""
    carrier: dict[str, Any] = {}
    inject(carrier, context)
    return {name: value for name, value in carrier.items() if isinstance(name, str) and isinstance(value, str)}


def extract(carrier: Mapping[str, Any], context: Context | None = None, getter: Getter[Any] | None = None) -> Context:
    """``context``, and what ``carrier`` adds, such as a remote parent. Never raises; after a failure ``context`` alone.

    Args:
        carrier: such as headers.
        context: what else is current; default: what is now.
        getter: reads values out of the carrier; default: the API's for mappings.
    """
    try:
        from opentelemetry import propagate

        found = propagate.extract(carrier, context) if getter is None else propagate.extract(carrier, context, getter)
        if not isinstance(found, Context):
            raise TypeError(f"extract() returned {found!r}, which is no Context")
        return found
    except Exception:
        faults.report("propagator: extract")
        return Context() if context is None else context
