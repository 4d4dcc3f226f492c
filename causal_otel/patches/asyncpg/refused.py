"""Functions that ask the server nothing, and raise at once where the connection is closed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.patches.asyncpg.operations import ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.calls import Args, Describe, Kwargs, Wrapper
    from causal_otel.instrument.tracing import Tracing

__all__ = ["if_refused", "refused"]


def refused(
    tracing: Tracing[Any], describe: Describe, instance: Any, args: Args, kwargs: Kwargs, error: BaseException
) -> None:
    """Tell of a call that has failed and that nothing was done for before: so its span begins where it ends."""
    try:
        Plumbing(tracing, describe, (tracing, instance, args, kwargs), ERRORS).end(error=error)
    except Exception:
        faults.report("asyncpg: a refusal")


def if_refused(describe: Describe) -> Wrapper:
    """A wrapper for such a function. Nothing is done for it unless it raises."""

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            try:
                return original(self, *args, **kwargs)
            except Exception as error:
                refused(tracing, describe, self, args, kwargs, error)
                raise

        return call

    return wrap
