"""The drivers and frameworks that are traced, one each, all on the seam in :mod:`causal_otel.instrument`."""
