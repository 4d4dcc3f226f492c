"""The Flask application of ``test_wsgi_servers.py``, which is installed where INSTALL says."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from typing import Any

import flask

import causal_otel
from tests.servers.installing import install

if os.environ["INSTALL"] == "import":
    install()

app = flask.Flask("shop")
app.logger.setLevel(logging.CRITICAL)
app.wsgi_app = causal_otel.WsgiMiddleware(app.wsgi_app)  # type: ignore[method-assign]


@app.get("/")
def ready() -> str:
    return ""


@app.get("/items/<int:number>")
def item(number: int) -> dict[str, int]:
    with causal_otel.span("work"):
        return {"pid": os.getpid()}


@app.get("/status/<int:status>")
def status(status: int) -> tuple[str, int]:
    return "", status


@app.get("/boom")
def boom() -> str:
    raise ValueError("went wrong")


@app.get("/stream")
def stream() -> flask.Response:
    def parts() -> Iterator[bytes]:
        while True:
            with causal_otel.span("part"):
                pass
            yield b"x" * 1000

    return flask.Response(parts())


@app.get("/file")
def file() -> flask.Response:
    return flask.send_file(io.BytesIO(b"x" * 100_000), mimetype="text/plain")


def bare(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"plain"]


plain = causal_otel.WsgiMiddleware(bare)
