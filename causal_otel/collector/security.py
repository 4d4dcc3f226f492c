"""Who may ask: the token, the names that requests come under, other sites' pages, and the headers of every answer.

A page of another site can make a browser send requests to a collector on the same machine, under a name that the site
has pointed at 127.0.0.1 (DNS rebinding) or across origins. The first are recognised by their Host header, the second by
Origin; no answer has CORS headers. A token keeps out everybody else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from causal_otel.collector.config import is_loopback
from causal_otel.collector.failed_logins import FailedLogins
from causal_otel.collector.tokens import COOKIE_PREFIX, Tokens, cookie_of
from causal_otel.collector.web.templating import page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from causal_otel.collector.config import CollectorSettings

__all__ = [
    "HEADERS",
    "LOGGED_IN",
    "TOKEN_HEADER",
    "TOO_MANY",
    "TOO_MANY_SECONDS",
    "Access",
    "Guard",
    "login_routes",
    "shown_token",
]

LOGGED_IN = "causal_otel.logged_in"
"""In a scope: whether it was the cookie that let the request in, so that its page offers to log out."""

TOO_MANY = "too many wrong tokens have come from this address: wait a little"
TOO_MANY_SECONDS = 5
"""How long that is: a wrong token waits no longer."""

TOKEN_HEADER = "x-causal-otel-token"  # noqa: S105 - its name
"""What a client may send the token in, besides Authorization."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # With no-referrer browsers send "Origin: null" with the forms of our own pages, and Origin could not be checked.
    "Referrer-Policy": "same-origin",
}
"""What every answer has that does not say otherwise."""

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - to recognise them
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_FORM_LIMIT = 8192
_DRAIN_BYTES, _DRAIN_SECONDS = 64 * 1024 * 1024, 10.0


@dataclass(frozen=True)
class Access:
    """Decides who may ask.

    Args:
        tokens: what clients have to show, one of them; none: nothing.
        hosts: names that requests may come under besides this machine's own and IP addresses, in lower case; None: any.
        failed_logins: slows whoever shows wrong tokens, on all ports together.
    """

    tokens: Tokens = field(default_factory=Tokens, repr=False)
    hosts: frozenset[str] | None = frozenset()
    failed_logins: FailedLogins = field(default_factory=FailedLogins, repr=False, compare=False)

    @classmethod
    def of(cls, settings: CollectorSettings) -> Access:
        """What ``settings`` allow.

        Raises:
            TokensError: The file of tokens is bad.
            OSError: It cannot be read.

        A collector that listens on all addresses cannot know its names. Until it is told some, any will do: it has a
        token, and a page under a name of its own has neither the token nor the cookie.
        """
        tokens = Tokens(settings.token, Path(settings.token_file) if settings.token_file else None)
        if settings.host in _WILDCARDS and not settings.allowed_host:
            return cls(tokens, None)
        return cls(tokens, frozenset({settings.host.lower(), *settings.allowed_host}))

    def expects(self, host: str) -> bool:
        """Whether requests may come under this name: a Host header, with or without a port."""
        if self.hosts is None:
            return True
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return is_loopback(name) or name in self.hosts or _is_address(name)

    def admits(self, headers: Mapping[str, str], cookies: Mapping[str, str] | None = None) -> bool:
        """Whether one of them has a token; the headers' names are in lower case."""
        return not self.tokens or self.tokens.has(shown_token(headers)) or self.is_logged_in(cookies or {})

    def is_logged_in(self, cookies: Mapping[str, str]) -> bool:
        """Whether a browser has been given a cookie that stands for a token."""
        return self.tokens.cookie_in(cookies)


def shown_token(headers: Mapping[str, str]) -> str:
    """The token in a request's headers, right or wrong; empty: there is none."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else headers.get(TOKEN_HEADER, "")


def _is_address(name: str) -> bool:
    # A browser that was given an address has asked no name server: nobody can have rebound anything.
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def plain_refusal(scope: Scope, status: int, message: str) -> Response:
    """``message`` as plain text."""
    return PlainTextResponse(message + "\n", status_code=status)


class Guard:
    """ASGI middleware: answers itself what is not allowed, and adds :data:`HEADERS` to every answer.

    Args:
        app: what is guarded.
        access: who may ask.
        pages: whether people look at it: without a token they are sent to the login page.
        open_paths: those that need no token.
        refusal: makes the answer to what is refused, from the scope, the HTTP status and the reason.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        *,
        pages: bool = False,
        open_paths: tuple[str, ...] = (),
        refusal: Callable[[Scope, int, str], Response] = plain_refusal,
    ) -> None:
        self._app = app
        self._access = access
        self._pages = pages
        self._open_paths = ("/login", *open_paths) if pages else open_paths
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        connection = HTTPConnection(scope)
        refused = self._too_many(connection, scope) or self._refused(connection, scope)
        # Whoever takes HTML is sent to the login page instead of a 401, and learns as much from it.
        if refused is not None and refused.status_code in (401, 303) and _shows_something(connection):
            await self._access.failed_logins.failed(_address(connection))
        if refused is None:
            await self._app(scope, receive, send_with_headers)
        else:
            await _drain(receive)
            await refused(scope, receive, send_with_headers)

    def _too_many(self, connection: HTTPConnection, scope: Scope) -> Response | None:
        if not _shows_something(connection) or not self._access.failed_logins.busy(_address(connection)):
            return None
        refused = self._refusal(scope, 429, TOO_MANY)
        refused.headers["Retry-After"] = str(TOO_MANY_SECONDS)
        return refused

    def _refused(self, connection: HTTPConnection, scope: Scope) -> Response | None:
        host = connection.headers.get("host", "")
        if not self._access.expects(host):
            return self._refusal(
                scope,
                403,
                f"{host[:200]!r} is not a name of this collector; if it should be, start it with --allowed-host",
            )
        origin = connection.headers.get("origin")
        if origin is not None and scope["method"] not in _SAFE_METHODS and not _same_origin(origin, host):
            return self._refusal(scope, 403, "pages of other sites may not send this")
        if scope["path"] in self._open_paths or (self._pages and scope["path"].startswith("/static/")):
            return None
        if self._access.admits(connection.headers, connection.cookies):
            scope[LOGGED_IN] = self._access.is_logged_in(connection.cookies)
            return None
        if self._pages and scope["method"] == "GET" and "text/html" in connection.headers.get("accept", ""):
            wanted = scope["path"] + (f"?{query}" if (query := scope["query_string"].decode("latin-1")) else "")
            return RedirectResponse(f"/login?next={quote(wanted, safe='')}", status_code=303)
        refused = self._refusal(
            scope,
            401,
            f"a token is needed: send it in the header Authorization, after the word Bearer, or in {TOKEN_HEADER}",
        )
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused


def _shows_something(connection: HTTPConnection) -> bool:
    """Whether a request has a token, or a cookie of ours, which is made from the token and could be guessed as well."""
    return bool(shown_token(connection.headers)) or any(name.startswith(COOKIE_PREFIX) for name in connection.cookies)


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client is not None else ""


def _same_origin(origin: str, host: str) -> bool:
    # The scheme is not compared: behind a proxy that terminates TLS we see http where the browser sees https.
    scheme, _, authority = origin.partition("://")
    return scheme in ("http", "https") and authority.lower() == host.lower()


async def _drain(receive: Receive) -> None:
    """Read the rest of the request. If we closed the connection before, the client would see an error and try again."""
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b"")) + 1
                if message["type"] != "http.request" or not message.get("more_body", False):
                    break
    except TimeoutError:
        pass


# -- the login page -----------------------------------------------------------------------------------------------


def login_routes(access: Access) -> list[Route]:
    """``/login``, which trades the token for a cookie, and ``/logout``, which takes it back."""

    def show(request: Request) -> Response:
        wanted = _local(request.query_params.get("next", "/"))
        if access.admits(request.headers, request.cookies):
            return RedirectResponse(wanted, status_code=303)
        return page(request, "login.html", {"next": wanted, "failed": ""})

    async def login(request: Request) -> Response:
        fields = await _form(request)
        wanted, address = _local(fields.get("next", "/")), _address(request)
        if access.failed_logins.busy(address):
            return page(request, "login.html", {"next": wanted, "failed": TOO_MANY}, status=429)
        token = fields.get("token", "").strip()
        if not access.tokens.has(token):
            await access.failed_logins.failed(address)
            return page(request, "login.html", {"next": wanted, "failed": "That is not the token."}, status=401)
        access.failed_logins.succeeded(address)
        response = RedirectResponse(wanted, status_code=303)
        response.set_cookie(
            *cookie_of(token),
            httponly=True,
            samesite="strict",
            secure=_encrypted(request),
        )
        return response

    def logout(request: Request) -> Response:
        response = RedirectResponse("/login", status_code=303)
        for name in access.tokens.cookie_names():
            if name in request.cookies:
                response.delete_cookie(name, httponly=True, samesite="strict", secure=_encrypted(request))
        return response

    return [
        Route("/login", show, methods=["GET"]),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
    ]


def _encrypted(request: Request) -> bool:
    # Who lies about a proxy that does TLS only makes their own browser more careful with the cookie.
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))


async def _form(request: Request) -> dict[str, str]:
    """The fields of a short form. Starlette's reader would take one of any length, and from anybody."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_LIMIT:
            return {}
    return {key: values[-1] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _local(target: str) -> str:
    """``target`` if it is a path of ours, else the first page: nobody is sent to another site."""
    # Browsers take a backslash for a slash, and skip control characters.
    if not target.startswith("/") or target[1:2] in ("/", "\\") or not target.isprintable():
        return "/"
    return target
