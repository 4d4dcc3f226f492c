"""Carries encoded requests to OTLP receivers, for the exporter and for the collector's forwarding."""
