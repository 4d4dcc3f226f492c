"""Django and Flask: the route that they have found, and the exceptions of which they make responses.

Both are told to the request's exchange, which is found in the environ or, under ASGI, in the scope: so Django's are
known behind :class:`~causal_otel.patches.asgi.TracingMiddleware` as well.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

from causal_otel.instrument.tracing import Tracing
from causal_otel.patches._http_server import contained
from causal_otel.patches.wsgi.protocol import EXCHANGE

__all__ = ["wrap_django_exception", "wrap_django_resolve", "wrap_flask_dispatch", "wrap_flask_exception"]


def _exchange_of(environ: Mapping[str, Any]) -> Any:
    """What becomes of the request of that environ or scope; None: it is not recorded."""
    found = environ.get(EXCHANGE)
    return environ.get("asgi.scope", {}).get(EXCHANGE) if found is None else found


# -- Django ---------------------------------------------------------------------------------------------------------


def _environ_of_django(request: Any) -> Mapping[str, Any]:
    """The environ of a ``WSGIRequest``, the scope of an ``ASGIRequest``; nothing of a request that a test has made."""
    found: Any = getattr(request, "environ", None)
    if found is None:
        found = getattr(request, "scope", None)
    return {} if found is None else found


def _django_route(request: Any, match: Any) -> None:
    environ = _environ_of_django(request)
    exchange = _exchange_of(environ)
    if exchange is not None:
        root = (environ.get("SCRIPT_NAME") or environ.get("root_path") or "").rstrip("/")
        route = match.route.removeprefix("^").removesuffix("$")  # of a route that is a regular expression
        exchange.found_route(f"{root}/{route}")


def _escaped(environ: Mapping[str, Any], error: BaseException) -> None:
    exchange = _exchange_of(environ)
    if exchange is not None:
        exchange.escaped(error)


def wrap_django_resolve(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``BaseHandler.resolve_request``, by which sync and async handlers find the view."""

    @functools.wraps(original)
    def resolve_request(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        match = original(self, request, *args, **kwargs)
        if tracing.active:
            contained("wsgi: Django's route", _django_route, request, match)
        return match

    return resolve_request


def wrap_django_exception(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``response_for_exception``, which is given whatever a view or a middleware raises."""

    @functools.wraps(original)
    def response_for_exception(request: Any, exc: BaseException, *args: Any, **kwargs: Any) -> Any:
        if tracing.active:
            contained("wsgi: Django's exception", _escaped, _environ_of_django(request), exc)
        return original(request, exc, *args, **kwargs)

    return response_for_exception


# -- Flask ----------------------------------------------------------------------------------------------------------


def _flask_request() -> Any:
    """The request that is current, which Flask's own proxy knows whatever its version keeps it in."""
    return sys.modules["flask.globals"].request


def _flask_route() -> None:
    request = _flask_request()
    rule = request.url_rule
    exchange = None if rule is None else _exchange_of(request.environ)
    if exchange is not None:
        exchange.found_route(f"{request.root_path.rstrip('/')}{rule.rule}")


def _flask_exception(arguments: tuple[Any, ...]) -> None:
    error = next(each for each in reversed(arguments) if isinstance(each, BaseException))
    _escaped(_flask_request().environ, error)


def wrap_flask_dispatch(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``Flask.full_dispatch_request``, before which the request was matched with the rules."""

    @functools.wraps(original)
    def full_dispatch_request(self: Any, *args: Any, **kwargs: Any) -> Any:
        if tracing.active:
            contained("wsgi: Flask's route", _flask_route)
        return original(self, *args, **kwargs)

    return full_dispatch_request


def wrap_flask_exception(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``Flask.handle_user_exception`` and ``handle_exception``: whatever was raised is the last argument."""

    @functools.wraps(original)
    def handle(self: Any, *args: Any, **kwargs: Any) -> Any:
        if tracing.active:
            contained("wsgi: Flask's exception", _flask_exception, (*args, *kwargs.values()))
        return original(self, *args, **kwargs)

    return handle
