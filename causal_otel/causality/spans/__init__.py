"""Anybody's spans: what must be known of one (the protocols), and what each tells of itself.

A file a concept: the measured parts of a span's time, what it talks to, stalls of an event loop, calls one after the
other. Nothing here reads a whole trace; :mod:`causal_otel.causality.explanation` does.
"""

from __future__ import annotations

from causal_otel.causality.spans.protocols import CallSpan, CallT, Event, Link, Scope, Span, SpanT, Trace

__all__ = ["CallSpan", "CallT", "Event", "Link", "Scope", "Span", "SpanT", "Trace"]
