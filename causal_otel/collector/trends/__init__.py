"""What the store's sums mean to a person: figures for pages, the terminal, coding agents and Jaeger's metrics.

Each module asks a :class:`~causal_otel.collector.query.TraceReader` and knows nothing of pages.
"""
