"""The tracer: context, ids, span, tracer, provider. Imports the OpenTelemetry API and SDK, and nothing else of ours.

This package file stays empty on purpose: patches import :mod:`causal_otel.engine.context` and
:mod:`causal_otel._internal.faults`, which need the API only, so that ``import causal_otel`` does not load the SDK.
"""
