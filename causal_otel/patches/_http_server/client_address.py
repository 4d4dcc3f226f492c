"""Whom a request comes from, and what it asked for, where proxies are between: told by those alone that are trusted.

A proxy adds to the right of ``Forwarded`` (RFC 7239) or ``X-Forwarded-For`` from whom it has the request. Whoever sends
the request may write there what they like, so it is read from the right, as long as a trusted proxy has written it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple

from causal_otel.names import NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT

__all__ = ["TrustedProxies", "peer_attributes"]

_UNIX = "unix"
_LONGEST_ADDRESS = 100  # characters, with brackets, zone and port
_LONGEST = 4096  # characters of a header; nobody's is longer who means well
_HEADERS = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_SCHEMES = {"http": ("http", "ws"), "ws": ("http", "ws"), "https": ("https", "wss"), "wss": ("https", "wss")}
"""For what a proxy says: the scheme of a request, and that of a websocket."""

_PAIR = re.compile(
    r"""[ \t]*(?P<name>[\w!#$%&'*+.^`|~-]+)=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[\w!#$%&'*+.^`|~:\[\]-]*))"""
    r"[ \t]*(?P<end>[;,]|$)",
    re.ASCII,
)
_ADDRESS = re.compile(r"\[(?P<six>[^\]]+)\](?::\w+)?|(?P<four>[\d.]+)(?::\w+)?")


class _Told(NamedTuple):
    """What proxies say of a request."""

    client: str | None = None
    scheme: str | None = None
    host: str | None = None


class TrustedProxies:
    """The proxies that are believed.

    Args:
        allowed: addresses and networks, such as ``10.0.0.0/8``; ``unix``: whoever connects to a Unix socket.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        words = tuple(allowed)
        self._unix = _UNIX in words
        self._networks = tuple(ip_network(word) for word in words if word != _UNIX)

    def trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        """Whether who has that address is one of them; None: they have a Unix socket's."""
        return self._unix if address is None else any(address in network for network in self._networks)

    def asked(self, scope: Mapping[str, Any], headers: dict[str, str]) -> Mapping[str, Any]:
        """The scope as it would be without proxies: its client, its scheme, and the host in ``headers``.

        What nobody trusted says, or says in a way that cannot be read, is left as the server has it.

        Args:
            scope: of a request or a websocket. It is not changed.
            headers: the headers of interest, whose ``host`` is replaced.
        """
        peer = scope.get("client")
        host = peer[0] if peer else ""
        address = _address(host)
        if (host and address is None and "/" not in host) or not self.trusts(address):
            return scope
        told = self._told(_forwarding(scope))
        changes: dict[str, Any] = {}
        if told.client is not None:
            changes["client"] = (told.client, 0)
        if told.scheme is not None:
            changes["scheme"] = _SCHEMES[told.scheme][scope["type"] == "websocket"]
        if told.host:
            headers["host"] = told.host
        return {**scope, **changes}

    def _told(self, sent: Mapping[str, str]) -> _Told:
        elements = _elements(sent["forwarded"]) if "forwarded" in sent else []
        hops = _items(sent.get("x-forwarded-for"))
        by_forwarded, at = self._walk([element.get("for", "") for element in elements])
        by_hops, nth = self._walk(hops)
        if elements and hops and by_forwarded != by_hops:
            return _Told()  # a proxy has written one, and passed on the other, which may be anybody's: which is which?
        element = elements[at] if elements else {}
        scheme = (element.get("proto") or _beside(sent.get("x-forwarded-proto"), hops, nth)).lower()
        host = element.get("host") or _beside(sent.get("x-forwarded-host"), hops, nth)
        return _Told(by_forwarded or by_hops, scheme if scheme in _SCHEMES else None, host)

    def _walk(self, hops: Sequence[str]) -> tuple[str | None, int]:
        """The address furthest away that a trusted proxy has written, and where it stands from the right."""
        client, at = None, -1
        for nth in range(len(hops)):
            address = _address(hops[-1 - nth])
            if address is None:  # hidden, or no address: who it was, and whether they are trusted, is not known
                break
            client, at = str(address), -1 - nth
            if not self.trusts(address):
                break
        return client, at


def peer_attributes(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Who has made the connection, where the server tells; uvicorn has no port where it has believed a proxy itself."""
    peer = scope.get("client")
    if not peer or not peer[1]:
        return {}
    return {NETWORK_PEER_ADDRESS: peer[0], NETWORK_PEER_PORT: peer[1]}


def _forwarding(scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers of proxies; what was sent in several is one list."""
    found: dict[str, str] = {}
    for raw, value in scope.get("headers", ()):
        if raw in _HEADERS:
            name, text = raw.decode("latin-1"), value.decode("latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
    return {name: text for name, text in found.items() if len(text) <= _LONGEST}


def _items(text: str | None) -> list[str]:
    return [] if text is None else [item.strip() for item in text.split(",")]


def _beside(text: str | None, hops: Sequence[str], at: int) -> str:
    """What a header says of the hop that stands ``at`` from the right in another; a header of one value is of all."""
    items = _items(text)
    if len(items) == 1 or not hops:
        return items[-1] if items else ""
    return items[at] if len(items) == len(hops) else ""


def _elements(text: str) -> list[dict[str, str]]:
    """The elements of ``Forwarded``; none if it is malformed anywhere."""
    elements: list[dict[str, str]] = [{}]
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            return []
        value = pair["token"] if pair["quoted"] is None else re.sub(r"\\(.)", r"\1", pair["quoted"])
        elements[-1][pair["name"].lower()] = value
        if pair["end"] == ",":
            elements.append({})
        position = pair.end()
    return elements


@functools.lru_cache(1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in ``192.0.2.1``, ``192.0.2.1:4711``, ``2001:db8::1`` or ``[2001:db8::1]:4711``."""
    if len(text) > _LONGEST_ADDRESS:
        return None
    found = _ADDRESS.fullmatch(text)
    try:
        address = ip_address((found["six"] or found["four"]) if found else text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
