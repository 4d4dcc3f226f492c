"""Which query API is at an address: it is asked what only one of them answers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from causal_otel.cli.remote.asking import Asked
from causal_otel.cli.stored import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.cli.source import Source

__all__ = ["connected"]


@contextmanager
def connected(url: str, token: str, *, timeout: tuple[float, float] | None = None) -> Iterator[Source]:
    """What can be asked for traces at an address.

    Args:
        url: of the query API; for our collector, that of its pages.
        token: to show; empty: none.
        timeout: how long connecting and an answer may take, in seconds; default: as long as big answers do.

    Raises:
        UsageError: It is no address.
        CommandError: Nobody answers there, or nobody that is known.
    """
    asked = Asked(url, token) if timeout is None else Asked(url, token, timeout=timeout)
    try:
        yield _recognised(asked)
    finally:
        asked.close()


def _recognised(asked: Asked) -> Source:
    from causal_otel.cli.remote.collector import CollectorSource
    from causal_otel.cli.remote.jaeger import JaegerSource
    from causal_otel.cli.remote.tempo import TempoSource

    # A page that is shown for every path, as Jaeger's is, answers 200 to whatever is asked: what it says counts.
    status = asked.get("/status.json").document()
    if isinstance(status, dict) and "store" in status and "writer" in status:
        return CollectorSource(asked)
    services = asked.get("/api/services").document()
    if isinstance(services, dict) and "data" in services and "errors" in services:
        return JaegerSource(asked)
    if asked.get("/api/echo", accept="*/*").body.strip() == b"echo":
        return TempoSource(asked)
    raise CommandError(
        f"{asked.shown} answers, but not as a query API of causal_otel's collector, Jaeger or Tempo: give the address "
        "of the pages, such as http://127.0.0.1:16686, not the one that spans are sent to"
    )
