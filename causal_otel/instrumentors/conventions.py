"""The stable semantic conventions, which OpenTelemetry's instrumentors follow only where a variable asks for them.

They read it once in a process, when the first of them is applied.
"""

from __future__ import annotations

import os

__all__ = ["switch_on"]

_VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
_STABLE = "http,database"


def switch_on() -> str:
    """Have the instrumentors use the stable names of attributes, unless the user's variable says which.

    Returns:
        Why they do not, in words; empty: they do, or do as the variable says.
    """
    if os.environ.get(_VARIABLE):
        return ""
    from opentelemetry.instrumentation._semconv import _OpenTelemetrySemanticConventionStability as Stability

    if not Stability._initialized:
        os.environ[_VARIABLE] = _STABLE  # for as long as it takes to read it: child processes choose for themselves
        try:
            Stability._initialize()  # type: ignore[no-untyped-call]
        finally:
            del os.environ[_VARIABLE]
    if any(mode.value in _STABLE.split(",") for mode in Stability._OTEL_SEMCONV_STABILITY_SIGNAL_MAPPING.values()):
        return ""
    return (
        "OpenTelemetry's instrumentors use the old names of attributes, because one was applied before install(): set "
        f"{_VARIABLE}={_STABLE}"
    )
