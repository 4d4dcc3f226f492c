"""Why it took so long: what spans are told of tasks and waits, the critical path of a trace, and its explanation.

:mod:`~causal_otel.causality.spans`, :mod:`~causal_otel.causality.critical_path` and
:mod:`causal_otel.causality.explanation` work on anybody's spans and import nothing of the tracer.
"""
