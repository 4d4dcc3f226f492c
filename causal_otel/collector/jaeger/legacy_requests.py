"""What requests of the older API have in common: numbers and truth values as Go reads them, indented answers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from causal_otel.collector.jaeger import parameters
from causal_otel.collector.jaeger.answers import Refused, json_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["answer", "boolean", "enveloped", "failure", "integer", "named"]


def enveloped(data: Any, *, total: int = 0, errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The envelope of an answer."""
    return {"data": data, "total": total, "limit": 0, "offset": 0, "errors": errors or None}


def failure(status: int, message: str) -> dict[str, Any]:
    """The envelope of an error."""
    return enveloped(None, errors=[{"code": status, "msg": message}])


def answer(request: Request, document: dict[str, Any]) -> Response:
    """A document, indented if the request says so."""
    pretty = request.query_params.get("prettyPrint", "") not in ("", "false")
    return json_answer(document, indent=4 if pretty else None)


@contextmanager
def named(prefix: str = "") -> Iterator[None]:
    """Refuse the request for what is malformed, with ``prefix`` before the reason."""
    try:
        yield
    except parameters.Malformed as error:
        raise Refused(400, f"{prefix}{error}") from None


def integer(params: QueryParams, name: str) -> int | None:
    """A whole number; None: there is none."""
    text = params.get(name)
    if not text:
        return None
    with named(f"unable to parse param '{name}': "):
        return parameters.parse_integer(text)


def boolean(params: QueryParams, name: str) -> bool:
    """A truth value; by default False."""
    text = params.get(name)
    with named(f"unable to parse param '{name}': "):
        return parameters.parse_boolean(text) if text else False
