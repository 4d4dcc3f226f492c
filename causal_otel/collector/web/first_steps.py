"""Where to send traces: what the pages tell whoever has none yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

__all__ = ["otlp_endpoint"]

_DEFAULT = "http://127.0.0.1:4318"
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - to recognise them


def otlp_endpoint(request: Request, status: Callable[[], dict[str, Any]]) -> str:
    """The address of OTLP/HTTP, under the name that this collector was just asked by if it listens on all addresses."""
    address = status().get("addresses", {}).get("otlp_http", _DEFAULT)
    parts = urlsplit(address)
    if parts.hostname not in _WILDCARDS:
        return str(address)
    host = request.url.hostname or "127.0.0.1"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port}"
