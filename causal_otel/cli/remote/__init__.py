"""Traces behind an address: a running collector of ours, or a team's Jaeger or Tempo.

:func:`~causal_otel.cli.remote.detection.connected` asks which of them it is.
"""
