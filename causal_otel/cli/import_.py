"""``causal-otel import``: lines of OTLP JSON into the store, by way of a running collector or straight."""

from __future__ import annotations

import sys
import time
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from causal_otel._internal.posix import lacking_posix
from causal_otel._internal.printable import printable
from causal_otel.cli.stored import CommandError, UsageError, add_data_dir, carry_out, token
from causal_otel.collector.config import CollectorSettings

if TYPE_CHECKING:
    import argparse
    import io
    from collections.abc import Callable, Iterator

    from causal_otel.collector.store.writer import Kept
    from causal_otel.transports.otlp_http import HttpTransport

__all__ = ["HELP", "configure", "run"]

HELP = "Read traces from files of OTLP JSON lines."

_FAILED = 1
_PATH = "/v1/traces"
_REQUEST_BYTES = 4 * 1024 * 1024
_MOST_COMPLAINTS = 20
_MOST_UNDER_WAY, _UNDER_WAY_BYTES = 256, 16 * 1024 * 1024
_NO_RETENTION_DAYS = 36_500
_REQUEST_AT_FAULT = ("400", "413")
_ANSWER_SECONDS, _CLOSE_SECONDS, _PATIENCE_SECONDS = 60.0, 60.0, 120.0
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "A line that cannot be read is named and the rest is imported; the exit status is then 1. While a collector "
        "runs, its address is needed: the file of a day has one writer. A token is taken from "
        "CAUSAL_OTEL_COLLECTOR_TOKEN, or from the last line of CAUSAL_OTEL_COLLECTOR_TOKEN_FILE."
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="what to read, plain or gzip; - is stdin")
    parser.add_argument("--endpoint", metavar="URL", help="send it to this collector, such as http://127.0.0.1:4318")
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Import; returns the exit status."""
    return carry_out("import", _import, arguments)


def _import(arguments: argparse.Namespace) -> int:
    if not arguments.endpoint and (problem := lacking_posix("import without --endpoint", "fcntl")):
        raise CommandError(problem)
    settings = CollectorSettings.load({"data_dir": arguments.data_dir})
    tally = _Tally()
    try:
        with _collector(arguments.endpoint, token(settings)) if arguments.endpoint else _store(settings) as put:
            for name in arguments.files:
                _import_file(name, put, tally)
    finally:
        print(f"{tally.spans} spans were imported.", file=sys.stderr)
        if tally.faults > _MOST_COMPLAINTS:
            print(f"{tally.faults - _MOST_COMPLAINTS} more complaints are not shown.", file=sys.stderr)
    return _FAILED if tally.faults else 0


@dataclass(frozen=True, slots=True)
class _Taken:
    """What became of a request's spans."""

    rejected: int
    message: str


class _Refused(Exception):
    """This request is not taken; others may be."""


@dataclass
class _Tally:
    """What was imported, and what was not."""

    spans: int = 0
    faults: int = 0

    def complain(self, message: str) -> None:
        self.faults += 1
        if self.faults <= _MOST_COMPLAINTS:
            print(f"causal-otel import: {printable(message)}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A request that was handed on."""

    place: str
    spans: int
    size: int
    taken: Future[_Taken]

    def settle(self, tally: _Tally) -> None:
        """Wait for what becomes of it."""
        try:
            taken = self.taken.result(_ANSWER_SECONDS)
        except _Refused as refused:
            tally.complain(f"{self.place}: {refused}")
            return
        except TimeoutError:
            raise CommandError(f"{self.place}: the disk does not take it within {_ANSWER_SECONDS:g} s") from None
        tally.spans += max(0, self.spans - taken.rejected)
        if taken.rejected:
            tally.complain(f"{self.place}: {taken.rejected} of its spans were rejected: {taken.message}")


def _import_file(name: str, put: Callable[[bytes], Future[_Taken]], tally: _Tally) -> None:
    from causal_otel.cli.otlp_lines import BadLine, in_parts, read_lines

    waiting: deque[_UnderWay] = deque()
    shown = "stdin" if name == "-" else name
    try:
        with _input(name) as stream:
            for number, trace in read_lines(stream):
                if isinstance(trace, BadLine):
                    tally.complain(f"{shown}, {trace}")
                    continue
                for part in in_parts(trace, _REQUEST_BYTES):
                    request = part.SerializeToString()
                    while waiting and sum(each.size for each in waiting) + len(request) > _UNDER_WAY_BYTES:
                        waiting.popleft().settle(tally)
                    spans = sum(len(scoped.spans) for group in part.resource_spans for scoped in group.scope_spans)
                    waiting.append(_UnderWay(f"{shown}, line {number}", spans, len(request), put(request)))
                    while waiting and (waiting[0].taken.done() or len(waiting) > _MOST_UNDER_WAY):
                        waiting.popleft().settle(tally)
    except OSError as error:  # the file's: what was read of it counts, and the next one may be better
        tally.complain(f"{shown}: {error.strerror or error}")
    while waiting:
        waiting.popleft().settle(tally)


@contextmanager
def _input(name: str) -> Iterator[io.BufferedReader]:
    if name == "-":
        yield cast("io.BufferedReader", sys.stdin.buffer)
        return
    with open(name, "rb") as stream:
        yield stream


@contextmanager
def _store(settings: CollectorSettings) -> Iterator[Callable[[bytes], Future[_Taken]]]:
    """Straight into the directory."""
    from causal_otel.collector.store.writer import StoreError, StoreInUse, Writer

    directory = Path(settings.data_dir)
    # Nothing is removed here, however old or much it is: how long to keep it is the collector's business.
    writer = Writer(directory, retention_days=_NO_RETENTION_DAYS, max_bytes=None)
    try:
        writer.start()
    except StoreInUse:
        raise CommandError(
            f"a collector is running on {directory}: give its address, such as --endpoint http://127.0.0.1:4318"
        ) from None
    except StoreError as error:
        raise CommandError(str(error)) from None

    def put(request: bytes) -> Future[_Taken]:
        taken: Future[_Taken] = Future()

        def tell(kept: Future[Kept]) -> None:
            error = kept.exception()
            if error is None:
                taken.set_result(_Taken(kept.result().rejected, kept.result().message))
            else:
                taken.set_exception(CommandError(str(error)) if isinstance(error, StoreError) else _Refused(str(error)))

        writer.put(request).add_done_callback(tell)
        return taken

    try:
        yield put
    finally:
        writer.close(_CLOSE_SECONDS)


@contextmanager
def _collector(endpoint: str, token: str) -> Iterator[Callable[[bytes], Future[_Taken]]]:
    """Through a running collector, or whatever takes OTLP/HTTP."""
    from causal_otel.transports.otlp_http import HttpTransport

    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"--endpoint: write an address such as http://127.0.0.1:4318, not {endpoint!r}")
    url = endpoint if parts.path.rstrip("/") else f"{parts.scheme}://{parts.netloc}{_PATH}"
    headers = {"authorization": f"Bearer {token}"} if token else {}
    transport = HttpTransport(url, headers=headers, compression="gzip")

    def put(request: bytes) -> Future[_Taken]:
        taken: Future[_Taken] = Future()
        try:
            taken.set_result(_sent(transport, url, request))
        except _Refused as refused:
            taken.set_exception(refused)
        return taken

    try:
        yield put
    finally:
        transport.close()


def _sent(transport: HttpTransport, url: str, request: bytes) -> _Taken:
    """Send it, again while the collector is busy."""
    from causal_otel.transports.transport import Verdict

    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        outcome = transport.send(request, time.monotonic() + _ANSWER_SECONDS)
        if outcome.verdict is Verdict.DELIVERED:
            return _Taken(outcome.rejected, outcome.detail)
        if outcome.verdict is Verdict.REFUSED and outcome.kind in _REQUEST_AT_FAULT:
            raise _Refused(f"the collector refuses it: {outcome.detail}")
        pause = min(outcome.retry_after or _PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        if outcome.verdict is not Verdict.BUSY or time.monotonic() + pause > until:
            hint = "; set CAUSAL_OTEL_COLLECTOR_TOKEN" if outcome.kind == "401" else ""
            raise CommandError(
                f"{url} does not take it: {outcome.kind} {outcome.detail}{hint}. "
                "Once that is put right, import again: what is kept already is not kept twice."
            )
        time.sleep(pause)
