"""What is known of a request before it is sent: what it is, where it goes, and whether the context goes along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.instrument.baggage import is_among
from causal_otel.instrument.exclusion import canonical_url, match_urls
from causal_otel.instrument.operation import Operation
from causal_otel.statements.urls import client_attributes, span_method

if TYPE_CHECKING:
    from httpx import URL, Request

    from causal_otel.instrument.exclusion import Excluded
    from causal_otel.patches.httpx.options import HttpxOptions

__all__ = ["Server", "Servers", "is_excluded"]

_MOST = 512
"""How many pairs of a method and a server are remembered."""


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

    def __init__(self, options: HttpxOptions) -> None:
        self._options = options
        self._known: dict[tuple[str, str, str, int | None], Server] = {}
        self._templates: list[tuple[Excluded, str]] = [
            (match_urls((pattern,)), _path(pattern)) for pattern in options.url_templates
        ]
        self.has_templates = bool(self._templates)

    def of(self, request: Request) -> Server:
        """The server that ``request`` is about to be sent to."""
        url: Any = request.url
        # The parts as httpx has parsed them, which are private: the public properties decode them once more.
        parsed = getattr(url, "_uri_reference", url)
        key = request.method, parsed.scheme, parsed.host, parsed.port
        found = self._known.get(key)
        if found is None:
            found = self._make(request.method, url)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = found
        return found

    def _make(self, method: str, url: URL) -> Server:
        attributes = client_attributes(method, url.scheme, url.host, url.port)
        options = self._options
        carries = is_among(options.propagate_to, url.host) and not is_among(options.do_not_propagate_to, url.host)
        return Server(url.host, Operation(span_method(method), attributes), carries)

    def template(self, request: Request) -> str | None:
        """The template of a request's URL, if it brings one or one of the options' fits."""
        own = request.extensions.get("url_template")
        if own is not None:
            return str(own)
        if self._templates:
            url = _canonical(request.url)
            for fits, template in self._templates:
                if fits(url):
                    return template
        return None


def _canonical(url: URL) -> str:
    """A URL in the form that patterns are compared with."""
    return canonical_url(url.scheme, url.host, url.port, url.path)


def _path(pattern: str) -> str:
    """The path of a pattern of URLs."""
    _, _, rest = pattern.rpartition("://")
    return "/" + rest.partition("/")[2]


def is_excluded(excluded: Excluded | None, request: Request) -> bool:
    """Whether a request is excluded by its URL.

    Args:
        excluded: tells which URLs are; None: none is.
        request: the request.
    """
    return excluded is not None and excluded(_canonical(request.url))
