"""A gRPC trace service on loopback that does as told."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

__all__ = ["GrpcCollector", "Handler", "grpc_serving"]

Handler = Callable[[bytes, grpc.ServicerContext], bytes]


class GrpcCollector:
    """A gRPC service that does as told: of traces, if not told otherwise."""

    def __init__(self, credentials: Any = None, options: Any = (), service: str = "trace.v1.TraceService") -> None:
        self.requests: list[tuple[bytes, dict[str, str]]] = []
        self.handler: Handler = lambda request, context: ExportTraceServiceResponse().SerializeToString()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), options=options)
        handler = grpc.method_handlers_generic_handler(
            f"opentelemetry.proto.collector.{service}",
            {"Export": grpc.unary_unary_rpc_method_handler(self._export)},
        )
        self.server.add_generic_rpc_handlers((handler,))
        address = "127.0.0.1:0"
        if credentials is None:
            port = self.server.add_insecure_port(address)
        else:
            port = self.server.add_secure_port(address, credentials)
        self.url = f"http://127.0.0.1:{port}"
        self.server.start()

    def _export(self, request: bytes, context: Any) -> bytes:
        self.requests.append((request, dict(context.invocation_metadata())))
        return self.handler(request, context)

    def names(self) -> list[str]:
        """The names of all spans that have arrived, however they were answered."""
        messages = [ExportTraceServiceRequest.FromString(request) for request, _ in list(self.requests)]
        return [
            span.name
            for message in messages
            for group in message.resource_spans
            for scoped in group.scope_spans
            for span in scoped.spans
        ]


@contextmanager
def grpc_serving(options: Any = ()) -> Iterator[GrpcCollector]:
    """One for as long as the block lasts; ``options`` are the server's."""
    collector = GrpcCollector(options=options)
    try:
        yield collector
    finally:
        collector.server.stop(None).wait(10)
