"""``db.query.parameter.*``: what databases' patches record of a query's parameters where the user asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.names import DB_QUERY_PARAMETER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.instrument.tracing import Tracing

__all__ = ["query_parameters"]

_LONGEST = 256  # characters of a parameter
_LONGEST_BYTES = 4096  # of which four characters may come


def query_parameters(tracing: Tracing[Any], given: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """The attributes of a query's parameters, none of them long.

    Args:
        tracing: the handle, whose redaction looks at what is cut.
        given: their names or positions, and their values.
    """
    found = {}
    for name, value in given:
        key = f"{DB_QUERY_PARAMETER}.{name}"
        found[key] = tracing.shortened(key, _text(value), _LONGEST)
    return found


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return repr(bytes(value[:_LONGEST_BYTES]))
    try:
        return str(value)
    except Exception:  # of a class of the user's
        return f"<{type(value).__name__}>"
