"""Jaeger's two query APIs, as its own user interfaces and Grafana call them."""
