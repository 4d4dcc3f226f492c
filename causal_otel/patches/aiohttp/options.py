"""The options of the patch for aiohttp's client."""

from __future__ import annotations

from dataclasses import dataclass

from causal_otel.patches._http_client.options import HttpClientOptions

__all__ = ["AiohttpOptions"]


@dataclass(frozen=True, kw_only=True)
class AiohttpOptions(HttpClientOptions):
    """Options of the aiohttp patch; see :class:`~causal_otel.instrument.options.ClientOptions`.

    The hooks are called with the span and aiohttp's ``ClientRequest``, once for each request on the wire.
    ``response_hook`` is called when the body has arrived, or the response is closed before, with the ``ClientResponse``
    as well. Or it is given the exception.

    Args:
        excluded: URLs, such as ``*.example.com/**`` or ``https://example.com:8443/v1/{id}``, or paths on any host,
            such as ``/health``. A port or scheme that is left out is any. Default: the setting ``excluded_urls``.
        propagate_to: to which hosts the context is carried: names, ``*.example.com`` for all names that end so, ``*``
            for every host, and ``internal`` for loopback, private addresses, names without a dot and those of local
            domains. A request to another host is recorded all the same.
        do_not_propagate_to: to which of them it is not.
        url_templates: patterns of URLs, as those of ``excluded``. The path of the first that fits a request is its
            ``url.template``, and names its span: ``GET /users/{id}``.
    """
