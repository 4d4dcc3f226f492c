"""ASGI's words, and what the patch leaves in a scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from causal_otel.patches._http_server import EXCHANGE

__all__ = ["EXCHANGE", "MOUNTED", "App", "Message", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[Any]]

MOUNTED = "causal_otel.mounted"
"""In a scope: the paths of the mounts that led here, with their parameters' names (``root_path`` has the values)."""
