"""``causal-otel mcp``: answers coding agents' questions about traces over MCP, on stdin and stdout."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from causal_otel._internal.extras import missing
from causal_otel.cli.source import add_source, source
from causal_otel.cli.stored import CommandError, UsageError, carry_out
from causal_otel.collector.mcp import PACKAGES
from causal_otel.settings import SettingError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.cli.remote.collector import CollectorSource
    from causal_otel.cli.source import Source
    from causal_otel.collector.figures import OperationStatistics
    from causal_otel.collector.mcp.sources import Traces
    from causal_otel.collector.query import Found, Query, Summary
    from causal_otel.collector.trends.errors import Errors
    from causal_otel.collector.trends.periods import Period

__all__ = ["HELP", "configure", "run"]

HELP = "Answer coding agents' questions about traces, over MCP on stdin and stdout."

_UNUSABLE = 2
_AT_ONCE = 2
"""Calls that are answered at the same time; only one thread runs Python at a time."""

_FURTHEST = 500
"""Traces that every back end which can be asked by --url gives at once."""

_Answer = TypeVar("_Answer")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "An agent starts it: the command of its configuration is causal-otel, the argument mcp. It writes nothing, and "
        "ends when its stdin does."
    )
    add_source(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until stdin ends; returns the exit status."""
    if problem := missing(PACKAGES, "mcp"):
        print(f"causal-otel mcp: {problem}", file=sys.stderr)
        return _UNUSABLE
    return carry_out("mcp", _serve, arguments)


def _serve(arguments: argparse.Namespace) -> int:
    _check(arguments)
    if sys.stdin.isatty():
        print("causal-otel mcp speaks MCP: an agent starts it, not a person. Ctrl-C ends it.", file=sys.stderr)
    # The thread that waits for stdin could not be stopped in any other way.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(_answer(arguments))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse at once what no later question could make right. A collector need not run yet."""
    if arguments.url is None:
        return
    if arguments.data_dir is not None:
        raise UsageError("give either --data-dir or --url, not both")
    from causal_otel.cli.remote.asking import Asked

    Asked(arguments.url, "").close()


async def _answer(arguments: argparse.Namespace) -> None:
    from anyio import CapacityLimiter, to_thread
    from mcp.server.stdio import stdio_server

    from causal_otel.collector.mcp.server import server

    limiter = CapacityLimiter(_AT_ONCE)

    async def ask(work: Callable[[Traces], str]) -> str:
        return await to_thread.run_sync(_asked, arguments, work, limiter=limiter)

    serving = server(ask)
    async with stdio_server() as (read, write):
        await serving.run(read, write, serving.create_initialization_options())


def _asked(arguments: argparse.Namespace, work: Callable[[Traces], _Answer]) -> _Answer:
    """What ``work`` returns. Traces are looked for anew each time: a collector may have started or ended meanwhile."""
    with _refusing(), source(arguments) as found:
        return work(found if arguments.url is None else _remote(found))


@contextmanager
def _refusing() -> Iterator[None]:
    """What a command would complain of is told to the model."""
    from causal_otel.collector.mcp.answers import Refused

    try:
        yield
    except (CommandError, SettingError, OSError) as error:
        raise Refused(str(error)) from None


def _remote(found: Source) -> Traces:
    from causal_otel.cli.remote.collector import CollectorSource

    return _Collector(found) if isinstance(found, CollectorSource) else _Remote(found)


class _Remote:
    """See :class:`causal_otel.collector.mcp.sources.Traces`: a source that may refuse each question."""

    furthest = _FURTHEST

    def __init__(self, found: Source) -> None:
        self._source = found

    def search(self, query: Query, *, seconds: float = 2.0) -> Found:
        with _refusing():
            return self._source.search(query, seconds=seconds)

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        with _refusing():
            return self._source.summaries(trace_ids)

    def trace(self, trace_id: bytes) -> TracesData | None:
        with _refusing():
            return self._source.trace(trace_id)


class _Collector(_Remote):
    """A collector of ours, which has counted everything already.

    See :class:`causal_otel.collector.mcp.sources.Counted` and :class:`causal_otel.collector.mcp.sources.Grouped`.
    """

    def __init__(self, found: CollectorSource) -> None:
        super().__init__(found)
        self._collector = found
        self.since = 0

    def bounded(self) -> _Collector:
        return self  # the collector bounds it, and its document says what it had no time for

    def statistics(self, start: int, end: int, service: str | None = None) -> list[OperationStatistics]:
        from causal_otel.collector.trends.documents import read_operations
        from causal_otel.collector.trends.periods import Period

        with _refusing():
            return read_operations(self._figures("operations", service, Period(start, end)))

    def errors(self, service: str | None, operation: str, period: Period) -> Errors:
        from causal_otel.collector.trends.documents import read_errors

        with _refusing():
            return read_errors(self._figures("errors", service, period, operation))

    def _figures(self, name: str, service: str | None, period: Period, operation: str = "") -> dict[str, Any]:
        from causal_otel.collector.trends.documents import INCOMPLETE

        document = self._collector.figures(name, service, period, operation)
        self.since = document.get(INCOMPLETE, 0)
        return document

    def span_count(self, trace_ids: Sequence[bytes]) -> int:
        return 0  # it tells that with the trace only
