"""What is known of a request before it is sent: what it is, where it goes, and whether the context goes along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from causal_otel.instrument.baggage import is_among
from causal_otel.instrument.exclusion import canonical_url, match_urls
from causal_otel.instrument.operation import Operation
from causal_otel.statements.urls import client_attributes, span_method

if TYPE_CHECKING:
    from causal_otel.instrument.exclusion import Excluded
    from causal_otel.patches._http_client.options import HttpClientOptions

__all__ = ["Key", "Server", "Servers", "Url", "is_excluded"]

_MOST = 512
"""How many pairs of a method and a server are remembered."""

Key = tuple[str, str, str | None, int | None]
"""A method, and the scheme, host and port of a URL: what tells servers apart."""


class Url(Protocol):
    """A URL, as httpx and yarl have it. As a text it is what is sent."""

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""

    @property
    def host(self) -> str | None:
        """The server's name or address, without brackets."""

    @property
    def port(self) -> int | None:
        """Its port; the scheme's own may be None."""

    @property
    def path(self) -> str:
        """Its path."""


class Server:
    """What all requests with one method to one server share.

    Attributes:
        host: its name or address.
        operation: what such a request is, without what only one of them has.
        carries: whether the context may be carried there.
    """

    __slots__ = ("carries", "host", "operation")

    def __init__(self, host: str, operation: Operation, carries: bool) -> None:
        self.host = host
        self.operation = operation
        self.carries = carries


class Servers:
    """Remembers them: a program talks to few.

    Args:
        options: say where the context may be carried, and which templates there are.
    """

    def __init__(self, options: HttpClientOptions) -> None:
        self._options = options
        self._known: dict[Key, Server] = {}
        self._templates: list[tuple[Excluded, str]] = [
            (match_urls((pattern,)), _path(pattern)) for pattern in options.url_templates
        ]
        self.has_templates = bool(self._templates)

    def of(self, key: Key, url: Url) -> Server:
        """The server that a request is about to be sent to.

        Args:
            key: what it is remembered by.
            url: where the request goes.
        """
        found = self._known.get(key)
        if found is None:
            found = self._make(key[0], url)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = found
        return found

    def _make(self, method: str, url: Url) -> Server:
        host = url.host or ""
        attributes = client_attributes(method, url.scheme, host, url.port)
        options = self._options
        carries = is_among(options.propagate_to, host) and not is_among(options.do_not_propagate_to, host)
        return Server(host, Operation(span_method(method), attributes), carries)

    def template(self, url: Url) -> str | None:
        """The template that the options have for a URL, if one fits."""
        if self._templates:
            canonical = _canonical(url)
            for fits, template in self._templates:
                if fits(canonical):
                    return template
        return None


def _canonical(url: Url) -> str:
    """A URL in the form that patterns are compared with."""
    return canonical_url(url.scheme, url.host or "", url.port, url.path)


def _path(pattern: str) -> str:
    """The path of a pattern of URLs."""
    _, _, rest = pattern.rpartition("://")
    return "/" + rest.partition("/")[2]


def is_excluded(excluded: Excluded | None, url: Url) -> bool:
    """Whether a request is excluded by its URL.

    Args:
        excluded: tells which URLs are; None: none is.
        url: where it goes.
    """
    return excluded is not None and excluded(_canonical(url))
