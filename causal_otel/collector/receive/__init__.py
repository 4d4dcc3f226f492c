"""Receiving: the sockets, OTLP over HTTP and gRPC, and the intake that acknowledges what is on disk."""
