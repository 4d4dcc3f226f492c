"""Sending everything on that was received, to another OTLP back end, from a queue on disk."""
