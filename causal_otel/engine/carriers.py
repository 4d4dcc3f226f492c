"""The context written to carriers and read from them by the global propagator, which may be the user's and raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter

from causal_otel._internal import faults
from causal_otel.engine.context import SPAN_KEY, with_span

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Span

__all__ = ["extract", "extracted", "inject", "injected", "is_w3c"]

_propagate: Any = None
_w3c: Any = None
_latest: tuple[TextMapPropagator | None, bool] = None, False


def is_w3c() -> bool:
    """Whether the global propagator is W3C's, so that :mod:`causal_otel.engine.w3c` does what it does."""
    global _latest
    propagator = (_propagate or _loaded()).get_global_textmap()
    # Known by identity: Logfire's propagator is a dataclass, and so not hashable.
    if _latest[0] is not propagator:
        _latest = propagator, _w3c.is_w3c(propagator)
    return _latest[1]


def _loaded() -> Any:
    """``opentelemetry.propagate``, imported when it is first used.

    Importing it makes the propagators that OTEL_PROPAGATORS names, and raises where there is no such propagator.
    """
    global _propagate, _w3c
    from opentelemetry import propagate

    from causal_otel.engine import w3c

    _propagate, _w3c = propagate, w3c
    return propagate


class _Headers(Getter["Mapping[str, str]"]):
    """Shows headers by their names in lower case to a propagator."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        value = carrier.get(key.lower())
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return list(carrier)


_headers = _Headers()


def inject(carrier: MutableMapping[str, Any], context: Context | None = None) -> None:
    """Write ``context`` (default: the current one) into ``carrier``. Never raises; a failure may leave a part there.

    Args:
        carrier: such as headers.
        context: what to write.
    """
    try:
        propagate = _propagate or _loaded()
        propagate.inject(carrier, context)
    except Exception:
        faults.report("propagator: inject")


def injected(context: Context, span: Span | None = None) -> dict[str, str]:
    """The headers that carry ``context``. Never raises.

    Args:
        context: what to write.
        span: what is to be current in it; None: what is.
    """
    carrier: dict[str, Any] = {}
    try:
        if is_w3c():
            _w3c.write(carrier, context if span is None else {**context, SPAN_KEY: span})
            return carrier
    except Exception:
        faults.report("propagator: inject")
        return {}
    inject(carrier, context if span is None else with_span(span, context))
    return {name: value for name, value in carrier.items() if isinstance(name, str) and isinstance(value, str)}


def extract(carrier: Mapping[str, Any], context: Context | None = None, getter: Getter[Any] | None = None) -> Context:
    """``context``, and what ``carrier`` adds, such as a remote parent. Never raises; after a failure ``context`` alone.

    Args:
        carrier: such as headers.
        context: what else is current; default: what is now.
        getter: reads values out of the carrier; default: the API's for mappings.
    """
    try:
        propagate = _propagate or _loaded()
        found = propagate.extract(carrier, context) if getter is None else propagate.extract(carrier, context, getter)
        if not isinstance(found, dict):  # a plain one serves as well: see with_span()
            raise TypeError(f"extract() returned {found!r}, which is no Context")
        return cast("Context", found)
    except Exception:
        faults.report("propagator: extract")
        return Context() if context is None else context


def extracted(headers: Mapping[str, str], context: Context) -> Context:
    """``context``, and what headers add to it, such as a remote parent. Never raises.

    Args:
        headers: by their names in lower case.
        context: what else is current.
    """
    try:
        if is_w3c():
            found: Context = _w3c.read(headers, context, _headers)
            return found
    except Exception:
        faults.report("propagator: extract")
        return context
    return extract(headers, context, _headers)
