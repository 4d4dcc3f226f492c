"""The context that a request carries, in a copy of it: the caller's request and its headers stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.engine import carriers

if TYPE_CHECKING:
    from httpx import Headers, Request
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

__all__ = ["Item", "carried", "copied", "items", "with_headers"]

Item = tuple[bytes, bytes, bytes]
"""A header as httpx keeps it: as it is sent, in lower case, and its value."""

_TRACEPARENT, _TRACESTATE = b"traceparent", b"tracestate"
_new = object.__new__


def carried(where: Context, span: Span | None) -> list[Item]:
    """The headers that carry a context.

    Args:
        where: the context.
        span: what is to be current in it; None: what is.
    """
    carrier = carriers.injected(where, span)
    return [(name.encode(), name.lower().encode(), value.encode()) for name, value in carrier.items()]


def copied(given: Headers, added: list[Item]) -> Headers:
    """A copy of headers, with others in place of those of the same names.

    Args:
        given: the headers, which stay as they are.
        added: what is added.
    """
    names = [name for _, name, _ in added]
    if _TRACEPARENT in names:
        names.append(_TRACESTATE)  # it belongs to a traceparent that is replaced
    kept: list[Item] | None = getattr(given, "_list", None)
    if kept is None:  # the list is private
        made = type(given)([item for item in given.raw if item[0].lower() not in names])
        for name, _, value in added:
            made[name.decode()] = value.decode()
        return made
    headers: Headers = _new(type(given))
    state = headers.__dict__
    state.update(given.__dict__)
    state["_list"] = [*[item for item in kept if item[1] not in names], *added]
    return headers


def items(headers: Any) -> list[Item]:
    """A snapshot of headers: of the private list, which costs less than public methods; empty if there is none."""
    return list(getattr(headers, "_list", ()))


def with_headers(request: Request, headers: Headers, extensions: dict[str, Any] | None = None) -> Request:
    """A copy of ``request`` that shares its body.

    Args:
        request: the request.
        headers: those of the copy.
        extensions: those of the copy; None: it shares the request's.
    """
    # Not copy.copy(): the state that a request gives for copying leaves its body out.
    made: Request = _new(type(request))
    state = made.__dict__
    state.update(request.__dict__)
    state["headers"] = headers
    if extensions is not None:
        state["extensions"] = extensions
    return made
