"""The seam between drivers and the tracer: what a patch is made of, ours and yours.

A patch declares (:class:`Patch`) which versions of which distributions it supports, and which of their functions are
replaced (:class:`Wrap`). What each call is, an :class:`Operation` says; :func:`client_call`, :func:`traced_call` and
:func:`plumbing_call` make the replacement. Everything else is done here, for all patches alike: whether anybody wants
to know, when a call is over, its span, its failure, its hooks and metrics, and undoing it all. See
docs/explanation/architecture.md, and docs/how-to/write-a-patch.md for the steps.
"""

from __future__ import annotations

from causal_otel.instrument.afterwards import after
from causal_otel.instrument.calls import argument, client_call, inside, plumbing_call, suppressed, traced_call
from causal_otel.instrument.declaration import Connect, Patch, Wrap
from causal_otel.instrument.errors import Errors, error_name
from causal_otel.instrument.measured import Instrument, Measured
from causal_otel.instrument.messages import Processing, carry, delivering, processing, queue_wait, sending
from causal_otel.instrument.operation import Observation, Observer, Operation, Running
from causal_otel.instrument.options import ClientOptions, Options
from causal_otel.instrument.tracing import Tracing

__all__ = [
    "ClientOptions",
    "Connect",
    "Errors",
    "Instrument",
    "Measured",
    "Observation",
    "Observer",
    "Operation",
    "Options",
    "Patch",
    "Processing",
    "Running",
    "Tracing",
    "Wrap",
    "after",
    "argument",
    "carry",
    "client_call",
    "delivering",
    "error_name",
    "inside",
    "plumbing_call",
    "processing",
    "queue_wait",
    "sending",
    "suppressed",
    "traced_call",
]
