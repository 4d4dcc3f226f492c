"""What runs in a worker, see :mod:`.workers`.

It reads a line of JSON for each request, and answers with a line of JSON and the body of the answer. It ends when
nobody can ask any more. Its pages and APIs are the collector's own, over its own reader of the same files.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from causal_otel._internal.log import logger
from causal_otel.collector.app import reading_routes
from causal_otel.collector.compression import Compression
from causal_otel.collector.reading import Reading
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.troubles import Trouble
from causal_otel.collector.web.errors import EXCEPTION_HANDLERS
from causal_otel.collector.web.templating import load_templates

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message

__all__ = ["main"]

_LOG = logger(__name__)
_GC_THRESHOLD = 200_000
"""A large trace is a few hundred thousand objects, which stay for the next click: a fifth of its page's time would go
into looking through them again and again while it is built."""


def main(directory: str) -> None:
    """Answer what is asked on the standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the collector, which ends this process
    load_templates("trace.html")
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    # What anything prints goes to the log, not between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked: dict[str, Any] = {}
    with Reader(Path(directory)) as reader, asyncio.Runner() as runner:
        app = Starlette(
            routes=reading_routes(Reading(reader), status=lambda: {"addresses": asked.get("addresses", {})}, put=None),
            exception_handlers=EXCEPTION_HANDLERS,
        )
        app.state.troubles = lambda: [Trouble(**each) for each in asked.get("troubles", ())]
        compressed = Compression(app)
        answers.write(b"ready\n")
        answers.flush()
        for line in sys.stdin.buffer:
            asked.clear()
            asked.update(json.loads(line))
            status, headers, body = runner.run(_answer(compressed, asked))
            head = {"status": status, "headers": headers, "length": len(body)}
            answers.write(json.dumps(head).encode() + b"\n")
            answers.write(body)
            answers.flush()


async def _answer(app: ASGIApp, asked: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    path = str(asked["path"])
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": asked["scheme"],
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": str(asked["query"]).encode("latin-1"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in asked["headers"]],
        "client": None,
        "server": None,
        "causal_otel.logged_in": asked["logged_in"],
    }
    status, headers, body = 500, list[tuple[str, str]](), bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
        else:
            body.extend(message.get("body", b""))

    try:
        await app(scope, receive, send)
    except Exception:  # it has been answered by then
        _LOG.exception("a page could not be made: %s", path)
    return status, headers, bytes(body)
