"""How operations and services went over time: pure functions over :class:`~causal_otel.collector.query.TraceReader`."""
