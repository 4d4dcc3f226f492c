"""The context in environment variables: the one that this process was started with, and those of processes it starts.

As OpenTelemetry's environment carrier has it, a header's name is written in capitals with ``_`` for ``-``:
``TRACEPARENT``, ``TRACESTATE``, ``BAGGAGE``; other propagators than W3C's have their own.

The caller's span is the parent of one local root only, the first. A program that lives for long, such as a worker that
a deployment has started, would otherwise put whatever it does by itself into that trace for ever.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.environment_variables import OTEL_PROPAGATORS

from causal_otel._internal import faults, process
from causal_otel.engine import carriers
from causal_otel.engine.context import SPAN_KEY, attach, current, current_span, detached_from

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from causal_otel.engine.context import Activation

__all__ = ["Caller", "callers", "environ", "parent_of_first_root"]

_W3C = ("traceparent", "tracestate", "baggage")

callers: list[Context] = []
"""What the first root of this process begins in, if anything: ask this before anything else."""


def environ(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a program that is to go on with the current trace: ``subprocess.run(..., env=environ())``.

    ``TRACEPARENT``, ``TRACESTATE`` and ``BAGGAGE`` tell the current context (OpenTelemetry's environment carrier).
    Outside any trace they are left out, whatever this process was started with. A program that calls
    :func:`causal_otel.install` begins its first trace below the current span then.

    Args:
        base: the other variables; default: those of this process.
    """
    stale = {_variable(header) for header in (*_W3C, *_fields())}
    kept = {name: value for name, value in (os.environ if base is None else base).items() if name not in stale}
    told = carriers.injected(current())
    return {**kept, **{_variable(header): value for header, value in told.items()}}


class Caller:
    """Whoever has started this process, if the environment tells; in force until :meth:`forget`.

    Its span will be the parent of the first root. What else it tells, such as baggage, is current from now on in the
    code that makes this object. What is malformed is ignored.

    Args:
        admit: leaves in headers what may be read of them.
    """

    def __init__(self, admit: Callable[[dict[str, str]], None]) -> None:
        self._activation: Activation | None = None
        callers.clear()
        try:
            self._read(admit)
        except Exception:
            faults.report("the environment's context")

    def _read(self, admit: Callable[[dict[str, str]], None]) -> None:
        names = (*_W3C, *_fields()) if OTEL_PROPAGATORS in os.environ else _W3C
        headers = {name: os.environ[_variable(name)] for name in names if _variable(name) in os.environ}
        admit(headers)
        if not headers:
            return
        found = carriers.extract(headers, Context())
        span = current_span(found)
        if span is not None and span.get_span_context().is_valid:
            callers.append(Context({SPAN_KEY: span}))
        others = {key: value for key, value in found.items() if key != SPAN_KEY}
        if others:
            self._activation = attach(Context({**current(), **others}))

    def forget(self) -> None:
        """It is no longer the caller."""
        callers.clear()
        if self._activation is not None:
            self._activation.end()


def parent_of_first_root(where: Context) -> Context | None:
    """What a root that is to begin in ``where`` begins in, if it is the first one and the process has a caller."""
    if detached_from(where) is not None:
        return None
    try:
        return Context({**where, **callers.pop()})
    except IndexError:  # another thread was faster
        return None


def _fields() -> set[str]:
    """The headers that the propagator may write."""
    try:
        from opentelemetry import propagate

        return propagate.get_global_textmap().fields
    except Exception:
        faults.report("propagator: fields")
        return set()


def _variable(header: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", header.upper())


process.at_fork(in_child=callers.clear)  # which has begun nothing, and its parent is whoever has forked it
