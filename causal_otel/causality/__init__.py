"""Why it took so long: the critical path of a trace and its explanation, from what spans say of tasks and waits.

:mod:`causal_otel.causality.spans` and :mod:`causal_otel.causality.critical_path` work on anybody's spans and import
nothing of the tracer. Importing the package imports nothing.
"""
