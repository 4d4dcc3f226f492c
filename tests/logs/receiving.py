"""A receiver of log records and spans."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Receiver", "records_of"]


class Receiver:
    """An OTLP/HTTP receiver in a thread, which keeps the requests of each path, and what headers each path got last."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        self.headers: dict[str, dict[str, str]] = {}
        kept, headers = self.bodies, self.headers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                headers[self.path] = {name.lower(): value for name, value in self.headers.items()}
                kept.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def unpacked(self) -> list[tuple[str, bytes]]:
        """The requests, with their bodies as they were before they were compressed."""
        return [(path, gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body) for path, body in self.bodies]

    def logs(self) -> list[Any]:
        """The records, each with its scope and resource."""
        return records_of(body for path, body in self.bodies if path == "/v1/logs")

    def spans(self) -> dict[str, Any]:
        """The spans by name."""
        messages = [ExportTraceServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/traces"]
        return {
            span.name: span
            for message in messages
            for group in message.resource_spans
            for scoped in group.scope_spans
            for span in scoped.spans
        }


def records_of(bodies: Any) -> list[Any]:
    """The records of encoded requests, each with its scope and resource."""
    return [
        (record, scoped.scope.name, {it.key: it.value.string_value for it in group.resource.attributes})
        for body in bodies
        for group in ExportLogsServiceRequest.FromString(body).resource_logs
        for scoped in group.scope_logs
        for record in scoped.log_records
    ]
