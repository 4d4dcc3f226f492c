"""A request that has come by proxies that are trusted: its scope as it would be without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from causal_otel.names import NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT
from causal_otel.patches._http_server.client_address import HEADERS, TrustedProxies

__all__ = ["peer_attributes", "without_proxies"]

_NAMES = {name.encode(): name for name in HEADERS}
_OF_WEBSOCKETS = {"http": "ws", "https": "wss"}
_OF_REQUESTS = {"ws": "http", "wss": "https"}


def without_proxies(proxies: TrustedProxies, scope: Mapping[str, Any], headers: dict[str, str]) -> Mapping[str, Any]:
    """The scope, with the client and the scheme that ``proxies`` tell of.

    Args:
        proxies: those that are trusted.
        scope: of a request or a websocket. It is not changed.
        headers: the headers of interest, whose ``host`` is replaced.
    """
    peer = scope.get("client")
    sent = ((_NAMES[raw], value.decode("latin-1")) for raw, value in scope.get("headers", ()) if raw in _NAMES)
    told = proxies.told(peer[0] if peer else "", sent)
    changes: dict[str, Any] = {}
    if told.client is not None:
        changes["client"] = (told.client, 0)
    if told.scheme is not None:  # a proxy may say https of a websocket, or wss
        other = _OF_WEBSOCKETS if scope["type"] == "websocket" else _OF_REQUESTS
        changes["scheme"] = other.get(told.scheme, told.scheme)
    if told.host:
        headers["host"] = told.host
    return {**scope, **changes} if changes else scope


def peer_attributes(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Who has made the connection, where the server tells; uvicorn has no port where it has believed a proxy itself."""
    peer = scope.get("client")
    if not peer or not peer[1]:
        return {}
    return {NETWORK_PEER_ADDRESS: peer[0], NETWORK_PEER_PORT: peer[1]}
