"""A plain WSGI application with spans of its own: nothing but the end of the process exports them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import causal_otel

causal_otel.install(schedule_delay=60.0, patches=[])


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    if environ["PATH_INFO"] != "/work":
        return []
    with causal_otel.span("work"):
        return [json.dumps({"pid": os.getpid()}).encode()]
