"""Profiles: what code ran inside a span, and what profilers of others have to know of this process.

:mod:`~causal_otel.profiling.sampler` looks some times a second at the threads that work for a recorded span, and the
span has the result as an attribute (``TRACING_PROFILING=true``). :mod:`~causal_otel.profiling.process_context` tells
profilers outside of this process, such as OpenTelemetry's eBPF profiler, which service it is.
"""
