"""ASGI's words, and what the patch leaves in a scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["EXCHANGE", "MOUNTED", "App", "Message", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[Any]]

EXCHANGE = "causal_otel.exchange"
"""In a scope: the request is traced already, by the :class:`~causal_otel.patches.asgi.exchange.Exchange` it holds; None
if it is not recorded."""

MOUNTED = "causal_otel.mounted"
"""In a scope: the paths of the mounts that led here, with their parameters' names (``root_path`` has the values)."""
