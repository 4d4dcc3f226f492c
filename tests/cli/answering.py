"""A server that answers as it is told, for what no program here can be: it stands for other people's back ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

__all__ = ["Answering", "answering"]


@dataclass
class Answering:
    """The server under way.

    Attributes:
        url: its address.
        asked: the path of each request, its parameters, and its headers in lower case.
    """

    url: str
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)

    def questions(self, path: str) -> list[dict[str, str]]:
        """The parameters of the requests to a path."""
        return [parameters for each, parameters, _ in self.asked if each == path]


@contextlib.contextmanager
def answering(
    answers: Mapping[str, tuple[int, str, bytes]], *, otherwise: tuple[int, str, bytes] = (404, "text/plain", b"no")
) -> Iterator[Answering]:
    """Answer each path with a status, a content type and a body for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            parameters = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.asked.append((parts.path, parameters, headers))
            status, kind, body = answers.get(parts.path, otherwise)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", body.decode())
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Answering(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()
