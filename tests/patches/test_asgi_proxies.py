"""Whom a request comes from where there are proxies: told by those that are trusted, and by nobody else."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_otel.patches._http_server.client_address import TrustedProxies
from causal_otel.patches.asgi import AsgiOptions, TracingMiddleware
from tests.patches.asgi_app import app
from tests.patches.asgi_requests import exchange, server, servers
from tests.patches.http_server import serve
from tests.patches.raw_http import connected, read
from tests.patches.test_asgi_connections import said, websocket
from tests.recording import Recording, recording
from tests.span_relations import attributes
from tests.waiting import wait_until

PATCHES = ["asgi"]
PROXY = ("10.0.0.9", 4711)
TRUSTED = {"asgi": AsgiOptions(trusted_proxies=("10.0.0.0/8", "2001:db8::/32"))}


async def seen(headers: dict[str, Any], client: Any = PROXY, patches: Any = None) -> dict[str, Any]:
    """What is recorded of a request that comes with these headers from ``client``."""
    raw = [(name.encode(), value.encode()) for name, text in headers.items() for value in text.split("\n")]
    with recording(patches or TRUSTED) as kept:
        sent = {"path": "/items/3", "client": client, "scheme": "http", "server": ("10.0.0.1", 8000), "headers": raw}
        await exchange(app, [], sent)
        return attributes(server(kept))


FORWARDED_FOR: dict[str, tuple[str, str]] = {
    "one hop": ("203.0.113.7", "203.0.113.7"),
    "a hop that is trusted": ("203.0.113.7, 10.1.1.1", "203.0.113.7"),
    "in several headers": ("203.0.113.7\n10.1.1.1", "203.0.113.7"),
    "with a port": ("203.0.113.7:5000", "203.0.113.7"),
    "IPv6 with a port": ("[2001:DB9::7]:5000", "2001:db9::7"),
    "IPv6 as it is": ("2001:db9:0::7, 2001:db8::5", "2001:db9::7"),
    "IPv4 in IPv6": ("203.0.113.7, ::ffff:10.1.1.1", "203.0.113.7"),
    "spoofed on the left": ("1.2.3.4, 203.0.113.7", "203.0.113.7"),
    "spoofed as trusted": ("10.6.6.6, 203.0.113.7, 10.1.1.1", "203.0.113.7"),
    "from inside": ("10.6.6.6, 10.1.1.1", "10.6.6.6"),
    "rubbish on the left": ("<script>, 203.0.113.7", "203.0.113.7"),
    "hidden behind a trusted hop": ("unknown, 10.1.1.1", "10.1.1.1"),
    "rubbish on the right": ("203.0.113.7, x", "10.0.0.9"),
    "empty": ("", "10.0.0.9"),
    "no address": ("256.1.1.1", "10.0.0.9"),
    "far too long": ("1.1.1.1, " * 1000 + "203.0.113.7", "10.0.0.9"),
}


@pytest.mark.parametrize("case", FORWARDED_FOR)
@pytest.mark.asyncio
async def test_the_client_is_the_first_that_is_not_trusted(case: str) -> None:
    """X-Forwarded-For is read from the right, as long as those who have written it are trusted."""
    header, client = FORWARDED_FOR[case]
    found = await seen({"x-forwarded-for": header})
    assert found["client.address"] == client
    assert (found["network.peer.address"], found["network.peer.port"]) == PROXY


FORWARDED: dict[str, tuple[str, str]] = {
    "one element": ("for=203.0.113.7;proto=https;by=10.0.0.9", "203.0.113.7"),
    "quoted, IPv6 and a port": ('For="[2001:db9::7]:4711"', "2001:db9::7"),
    "several": ('for="203.0.113.7:80" , for=10.1.1.1', "203.0.113.7"),
    "spoofed on the left": ("for=1.2.3.4, for=203.0.113.7", "203.0.113.7"),
    "a comma in quotes": ('for=1.2.3.4;host="a, for=6.6.6.6", for=203.0.113.7', "203.0.113.7"),
    "obfuscated": ("for=_hidden, for=10.1.1.1", "10.1.1.1"),
    "an unended quote": ('for="203.0.113.7', "10.0.0.9"),
    "malformed on the left": ('x y z, for=203.0.113.7', "10.0.0.9"),
    "without for": ("proto=https", "10.0.0.9"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORWARDED)
@pytest.mark.asyncio
async def test_forwarded_is_read_as_rfc_7239_says(case: str) -> None:
    """The standard header, with quoted values, obfuscated nodes, and what is malformed left alone as a whole."""
    header, client = FORWARDED[case]
    assert (await seen({"forwarded": header}))["client.address"] == client


@pytest.mark.asyncio
async def test_two_headers_that_disagree_are_not_believed() -> None:
    """A proxy writes one of them and passes on the other, which may be anybody's: nobody can say which is which."""
    agreed = await seen({"forwarded": "for=203.0.113.7", "x-forwarded-for": "203.0.113.7"})
    spoofed = await seen({"forwarded": "for=1.2.3.4;proto=https", "x-forwarded-for": "203.0.113.7"})
    assert agreed["client.address"] == "203.0.113.7"
    assert (spoofed["client.address"], spoofed["url.scheme"]) == ("10.0.0.9", "http")


@pytest.mark.asyncio
async def test_what_the_client_asked_for_is_told_by_a_trusted_proxy() -> None:
    """Scheme, host and port are those of the client's request; the path is as the server has it."""
    told = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https", "x-forwarded-host": "shop.example"}
    standard = {"forwarded": 'for=203.0.113.7;proto=HTTPS;host="shop.example:8443"', "host": "internal"}
    found, by_standard = await seen({**told, "host": "internal:8000"}), await seen(standard)
    assert (found["url.scheme"], found["server.address"], found["server.port"]) == ("https", "shop.example", 443)
    assert (by_standard["url.scheme"], by_standard["server.address"]) == ("https", "shop.example")
    assert by_standard["server.port"] == 8443


@pytest.mark.asyncio
async def test_a_list_of_schemes_is_one_a_hop() -> None:
    """Where each proxy adds a scheme and a host, those count that stand where the client does."""
    hops = {"x-forwarded-for": "1.2.3.4, 203.0.113.7, 10.1.1.1", "host": "internal"}
    found = await seen({**hops, "x-forwarded-proto": "http, https, http", "x-forwarded-host": "evil, shop.example, lb"})
    odd = await seen({**hops, "x-forwarded-proto": "http, https", "x-forwarded-host": "evil, shop.example"})
    assert (found["url.scheme"], found["server.address"]) == ("https", "shop.example")
    assert (odd["url.scheme"], odd["server.address"]) == ("http", "internal")


@pytest.mark.parametrize(
    ("scheme", "host"), [("javascript", "a b"), ("", ""), ("https://", "shop.example/<script>"), ("ftp", "user@h")]
)
@pytest.mark.asyncio
async def test_nonsense_of_a_trusted_proxy_changes_nothing(scheme: str, host: str) -> None:
    """A scheme that is none, or a host that is none, leaves what the server knows."""
    found = await seen({"x-forwarded-proto": scheme, "x-forwarded-host": host})
    assert (found["url.scheme"], found["server.address"]) == ("http", "10.0.0.1")


@pytest.mark.parametrize("client", [("198.51.100.1", 80), ("11.0.0.1", 80), ("not an address", 1), None])
@pytest.mark.asyncio
async def test_nobody_else_is_believed(client: Any) -> None:
    """Who connects without being trusted may send what they like: the request is as the server has it."""
    sent = {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https", "x-forwarded-host": "evil", "host": "shop"}
    for headers in (sent, {**sent, "forwarded": "for=1.2.3.4;host=evil;proto=https"}):
        found = await seen(headers, client)
        assert found.get("client.address") == (None if client is None else client[0])
        assert (found["url.scheme"], found["server.address"]) == ("http", "shop")


@pytest.mark.asyncio
async def test_without_the_option_nobody_is_believed() -> None:
    """By default the client is whoever has made the connection, and nothing is said of a peer."""
    found = await seen({"x-forwarded-for": "1.2.3.4", "forwarded": "for=1.2.3.4"}, patches=["asgi"])
    assert found["client.address"] == "10.0.0.9"
    assert "network.peer.address" not in found


@pytest.mark.parametrize("client", [None, ("", 0), ("/run/app.sock", 0)])
@pytest.mark.asyncio
async def test_a_unix_socket_is_trusted_by_name(client: Any) -> None:
    """A proxy on the same machine has no address: it is ``unix``."""
    options = AsgiOptions(trusted_proxies=("unix", "10.0.0.0/8"))
    found = await seen({"x-forwarded-for": "203.0.113.7, 10.1.1.1"}, client, patches={"asgi": options})
    assert found["client.address"] == "203.0.113.7"


@pytest.mark.asyncio
async def test_a_websocket_has_a_websocket_s_scheme() -> None:
    """A proxy that speaks TLS says https of a websocket, which is wss."""
    headers = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]
    with recording(TRUSTED) as kept:
        await exchange(app, said("bye"), websocket("red", headers=headers, client=PROXY))
        found = attributes(server(kept))
    assert (found["url.scheme"], found["client.address"]) == ("wss", "203.0.113.7")


@pytest.mark.asyncio
async def test_what_is_excluded_is_what_the_client_asked_for() -> None:
    """Patterns of URLs are compared with the client's URL, as url.* and server.* show it."""
    options = AsgiOptions(trusted_proxies=("10.0.0.0/8",), excluded=("https://admin.example.com/**",))
    headers = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"admin.example.com")]
    with recording({"asgi": options}) as kept:
        await exchange(app, [], {"path": "/items/3", "client": PROXY, "headers": headers})
        await exchange(app, [], {"path": "/items/3", "client": ("203.0.113.7", 1), "headers": headers})
    assert attributes(server(kept))["client.address"] == "203.0.113.7"


@pytest.mark.parametrize("believes", [True, False])
def test_uvicorn_may_believe_proxies_itself(believes: bool) -> None:
    """Whether uvicorn replaces the client or leaves that to us, it is the same; the peer is told where it is known."""
    options = AsgiOptions(trusted_proxies=("127.0.0.1", "10.0.0.0/8"))
    with recording({"asgi": options}) as kept, serve(app, proxy_headers=believes) as url:
        with connected(url) as connection:
            forwarded = "X-Forwarded-For: 1.2.3.4, 203.0.113.7, 10.1.1.1\r\nX-Forwarded-Proto: https"
            connection.sendall(f"GET /items/3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{forwarded}\r\n\r\n".encode())
            assert read(connection).startswith(b"HTTP/1.1 200")
        wait_until(lambda: servers(kept))
        found = attributes(server(kept))
    assert (found["client.address"], found["url.scheme"]) == ("203.0.113.7", "https")
    assert found.get("network.peer.address") == (None if believes else "127.0.0.1")


_ADDRESSES = ["10.1.1.1", "203.0.113.7", "[::1]", "::1"]
_CHUNKS = st.sampled_from(
    [*_ADDRESSES, "for=", "proto=https", "host=", ";", ",", " ", '"', "\\", "[", "]", ":", "_x", "é", "%", "="]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(_CHUNKS, max_size=12), st.lists(_CHUNKS, max_size=12), st.lists(_CHUNKS, max_size=4))
def test_no_header_breaks_it(forwarded: list[str], hops: list[str], rest: list[str]) -> None:
    """Whatever is sent, the client is an address that was written there, or nothing is told."""
    sent = {"forwarded": "".join(forwarded), "x-forwarded-for": "".join(hops)}
    sent |= {"x-forwarded-proto": "".join(rest), "x-forwarded-host": "".join(rest)}
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    scope = {"type": "http", "client": PROXY, "scheme": "http", "headers": raw}
    asked = TrustedProxies(("10.0.0.0/8",)).asked(scope, {})
    assert ip_address(asked["client"][0])
    assert asked["scheme"] in ("http", "https")


@pytest.mark.asyncio
async def test_the_application_s_scope_is_untouched(recorded: Recording) -> None:
    """What the application sees of its client is the server's matter, and not ours."""
    scopes: list[Any] = []

    async def keep(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(dict(scope))
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    headers = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-host", b"shop.example"), (b"host", b"internal")]
    await exchange(TracingMiddleware(keep), [], {"client": PROXY, "headers": headers})
    assert (scopes[0]["client"], scopes[0]["headers"]) == (PROXY, headers)
    assert attributes(server(recorded))["server.address"] == "internal"
