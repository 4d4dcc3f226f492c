"""WSGI's words (PEP 3333), and what the patch leaves in an environ."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from causal_otel.patches._http_server import EXCHANGE

__all__ = ["EXCHANGE", "App", "Environ", "StartResponse"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[..., Iterable[bytes]]
