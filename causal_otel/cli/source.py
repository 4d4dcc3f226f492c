"""Where a command reads traces: the directory on this machine, or an address."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from causal_otel.cli.stored import UsageError, add_data_dir, stored, token
from causal_otel.collector.config import CollectorSettings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.query import Counted, Found, Query, Summary, TraceLogs

__all__ = ["Source", "add_source", "source"]


class Source(Protocol):
    """What the commands ask: a part of :class:`causal_otel.collector.query.TraceReader`."""

    def search(self, query: Query, *, seconds: float = ...) -> Found:
        """Find traces, in the order that the query asks for."""

    def count(self, query: Query, *, seconds: float = ...) -> Counted:
        """Count all traces that satisfy a query."""

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        """One for each of those traces that are there, in the order asked for."""

    def trace(self, trace_id: bytes) -> TracesData | None:
        """All spans of a trace, each once; None if there is none."""

    def logs(self, trace_id: bytes, *, most: int = ...) -> TraceLogs | None:
        """The log records of a trace; None if there is none."""


def add_source(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options that say where the traces are."""
    add_data_dir(parser)
    parser.add_argument(
        "--url",
        metavar="URL",
        help="ask a running collector instead, or a Jaeger or Tempo: the address of its query API, such as "
        "http://127.0.0.1:16686. A token is taken from CAUSAL_OTEL_COLLECTOR_TOKEN, or from the last line of "
        "CAUSAL_OTEL_COLLECTOR_TOKEN_FILE",
    )


@contextmanager
def source(arguments: argparse.Namespace) -> Iterator[Source]:
    """Where the traces are, by the options of :func:`add_source`.

    Raises:
        UsageError: Both are given, or the address is none.
        CommandError: Nothing can be read there; the message says what to do.
    """
    if arguments.url is None:
        with stored(arguments) as reader:
            yield reader
        return
    from causal_otel.cli.remote.detection import connected

    if arguments.data_dir is not None:
        raise UsageError("give either --data-dir or --url, not both")
    with connected(arguments.url, token(CollectorSettings.load({}))) as remote:
        yield remote
