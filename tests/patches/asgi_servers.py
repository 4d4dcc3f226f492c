"""The servers behind which the tests' application is served, each in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causal_otel.testing.process import claim_port, http_status, process

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

__all__ = ["SERVERS", "served"]

ROOT = Path(__file__).parents[2]

SERVERS = {
    "uvicorn": ("uvicorn", "tests.patches.asgi_app:app", "--port", "{port}"),
    "uvicorn, wsproto": ("uvicorn", "tests.patches.asgi_app:app", "--port", "{port}", "--ws", "wsproto"),
    "hypercorn": ("hypercorn", "tests.patches.asgi_app:app", "--bind", "127.0.0.1:{port}"),
    "hypercorn, trio": ("hypercorn", "tests.patches.asgi_app:app", "-k", "trio", "--bind", "127.0.0.1:{port}"),
    "granian": ("granian", "tests.patches.asgi_app:app", "--interface", "asgi", "--port", "{port}"),
}


@contextmanager
def served(name: str, receiver: ReceivedSpans) -> Iterator[str]:
    """The application behind a server of its own; its base URL."""
    port = claim_port(None, name)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", *(word.format(port=port) for word in SERVERS[name])]

    def ready(_: Any) -> bool:
        return http_status(f"{url}/openapi.json") == 200

    environment = {
        **os.environ,
        "TESTS_INSTALL": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_METRICS_EXPORTER": "none",
    }
    with process(command, name=name, env=environment, cwd=ROOT, ready=ready):
        yield url
