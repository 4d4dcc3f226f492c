"""The addresses of the pages of an operation and of a service, for whatever page has their names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from causal_otel.collector.web.forms import NO_SYSTEM

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["operation_address", "service_address", "with_parameters"]


def operation_address(service: str, operation: str, *, kind: str = "", system: str | None = None, **more: str) -> str:
    """Where an operation has its page.

    Args:
        service: the service's name.
        operation: the span's name.
        kind: the span's kind; empty: any.
        system: what it talks to; empty: nothing that it tells of; None: anything.
        more: ``lookback``, ``start`` and so on, as that page reads them.
    """
    given = {"service": service, "operation": operation, "kind": kind}
    given |= {"system": "" if system is None else system or NO_SYSTEM}
    return with_parameters("/operation", {**given, **more}, keep=("operation",))


def service_address(service: str, **more: str) -> str:
    """Where a service has its page; ``more`` is as in :func:`operation_address`."""
    return with_parameters("/service", {"service": service, **more})


def with_parameters(path: str, parameters: Mapping[str, str], *, keep: Collection[str] = ()) -> str:
    """A path with those parameters that are not empty, and with those that are to be kept."""
    query = urlencode({name: value for name, value in parameters.items() if value or name in keep})
    return f"{path}?{query}" if query else path
