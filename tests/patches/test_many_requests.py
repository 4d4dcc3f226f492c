"""20,000 requests, hundreds at a time over sockets, that fail, are cancelled and work in threads: none is mixed up."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from causal_otel.engine.span_data import SpanData
from causal_otel.patches.asgi import AsgiOptions
from tests.patches.asgi_requests import SPAN_ID
from tests.patches.http_server import serve
from tests.patches.many_requests import EXPECTED, LEAVES, STREAMS, THREADS, storm
from tests.patches.raw_http import ask, connected, read
from tests.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

REQUESTS = 20_000
AT_A_TIME = 301
NOT_SAMPLED = 11
"""One in so many requests comes from a trace that is not sampled."""

NAMES = list(EXPECTED)


def _expected(number: int) -> tuple[str, ...]:
    """The spans of a request."""
    return EXPECTED[NAMES[number % len(NAMES)]] if number % NOT_SAMPLED else ()


class Fact(NamedTuple):
    """What is kept of a span, so that the span itself may go."""

    trace_id: int
    span_id: int
    parent: int
    text: str
    """Its name after its mark, as ``EXPECTED`` has them."""
    numbers: set[str]
    """Whose it says that it is."""


class Facts(SpanExporter):
    """What has ended, and how many spans were alive at most."""

    def __init__(self) -> None:
        self.kept: list[Fact] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            identity = span.get_span_context()
            assert identity is not None
            attributes = dict(span.attributes or {})
            told = [attributes.get(key) for key in ("number", "baggage", "url.path", "url.full")]
            numbers = {str(each).rpartition("/")[2] for each in told if each is not None}
            failed = span.status.status_code is trace.StatusCode.ERROR
            mark = "!" if failed else "?" if attributes.get("causal.cancelled") else ""
            parent = span.parent.span_id if span.parent is not None else 0
            text = f"{mark}{span.name.rpartition('.')[2]}"
            self.kept.append(Fact(identity.trace_id, identity.span_id, parent, text, numbers))
        return SpanExportResult.SUCCESS


@contextlib.contextmanager
def _recording() -> Iterator[Facts]:
    """All patches are installed, and nothing of ours fails meanwhile."""
    facts = Facts()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(facts))
    before = faults.counts()
    # On a busy machine a stream may be open for the ten seconds after which it would show up.
    patches: dict[str, Any] = {"asgi": AsgiOptions(progress_interval=None), "httpx": True, "threads": True}
    installed = causal_otel.install(patches=patches, tracer_provider=provider)
    try:
        yield facts
        assert faults.counts() == before, "something of ours failed and was contained"
    finally:
        installed.uninstall()
        provider.shutdown()


class Client:
    """One connection, which sends one request after the other by hand: nothing of it is traced."""

    def __init__(self, url: str) -> None:
        self._address = url.removeprefix("http://")
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, number: int) -> None:
        """Send the request of that number, and read the response unless it is one that is left."""
        name = NAMES[number % len(NAMES)]
        if self._open is None:
            self._open = await asyncio.open_connection(*self._address.split(":"))
        reader, writer = self._open
        sampled = int(number % NOT_SAMPLED != 0)
        parent = f"traceparent: 00-{number + 1:032x}-{SPAN_ID}-{sampled:02}\r\nbaggage: number={number}\r\n"
        writer.write(f"GET /{name}/{number} HTTP/1.1\r\nHost: {self._address}\r\n{parent}\r\n".encode())
        leaves = name in LEAVES
        if not leaves or name in STREAMS:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not leaves:
                await _read_body(reader, head)
                leaves = b" 500 " in head.splitlines()[0]  # after an exception uvicorn closes the connection
        if leaves:
            await self.close()

    async def close(self) -> None:
        """Close the connection; the next request has another."""
        if self._open is not None:
            _, writer = self._open
            self._open = None
            writer.close()
            with contextlib.suppress(OSError):  # what the server is sending meets a closed connection
                await writer.wait_closed()


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> None:
    if b"transfer-encoding: chunked" in head:
        await reader.readuntil(b"0\r\n\r\n")
    else:
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))


async def _ask_all(url: str) -> None:
    async def some(first: int) -> None:
        client = Client(url)
        for number in range(first, REQUESTS, AT_A_TIME):
            await client.ask(number)
        await client.close()

    async with asyncio.TaskGroup() as tasks:
        for first in range(AT_A_TIME):
            tasks.create_task(some(first))


def _trees(facts: list[Fact]) -> dict[int, tuple[str, ...]]:
    """By the number of a trace, its spans as ``EXPECTED`` has them."""
    names = {(fact.trace_id, fact.span_id): fact.text.lstrip("!?") for fact in facts}
    assert len(names) == len(facts), "a span was recorded twice"
    found: defaultdict[int, list[str]] = defaultdict(list)
    for fact in facts:
        sender = "sender" if fact.parent == int(SPAN_ID, 16) else "?"
        found[fact.trace_id - 1].append(f"{fact.text} < {names.get((fact.trace_id, fact.parent), sender)}")
    return {number: tuple(sorted(tree)) for number, tree in found.items()}


def _assert_trees(facts: list[Fact]) -> None:
    """Assert that each request has left its own spans, each below its parent, and none of another's."""
    strangers = [fact for fact in facts if not fact.numbers <= {str(fact.trace_id - 1)}]
    assert strangers == [], f"{len(strangers)} spans are in another request's trace"
    trees = _trees(facts)
    wrong = Counter(
        (NAMES[number % len(NAMES)], trees.get(number, ()))
        for number in range(REQUESTS)
        if trees.get(number, ()) != _expected(number)
    )
    assert wrong == {}
    assert trees.keys() <= set(range(REQUESTS))


def _current_in_threads(executor: ThreadPoolExecutor, threads: int) -> list[Any]:
    """What is current in each thread of a pool."""
    barrier = threading.Barrier(threads)

    def current() -> tuple[trace.Span, Any]:
        barrier.wait(60)
        return trace.get_current_span(), dict(baggage.get_all())

    return [job.result() for job in [executor.submit(current) for _ in range(threads)]]


def _served(url: str, facts: Facts) -> None:
    """What holds while the server is there."""
    asyncio.run(_ask_all(url))
    expected = sum(len(_expected(number)) for number in range(REQUESTS))
    wait_until(lambda: len(facts.kept) >= expected, lambda: f"{len(facts.kept)} of {expected} spans")
    _assert_trees(facts.kept)
    assert _current_in_threads(storm.state.pool, THREADS) == [(trace.INVALID_SPAN, {})] * THREADS
    # Where the loop and the pools have served many, a request that carries nothing is a root.
    for name in ("own_pool", "executor", "threaded", "to_thread"):
        facts.kept.clear()
        _assert_root(url, name, facts)
    facts.kept.clear()


def _assert_root(url: str, name: str, facts: Facts) -> None:
    """Ask an endpoint without any context, and assert that its spans are a trace of their own."""
    with connected(url) as connection:
        ask(connection, f"/{name}/0", headers=[("Connection", "close")])
        assert read(connection).startswith(b"HTTP/1.1 200")
    wait_until(lambda: len(facts.kept) >= len(EXPECTED[name]))
    [root] = [fact for fact in facts.kept if fact.parent == 0]
    assert root.text == f"GET /{name}/{{number}}"
    assert {fact.trace_id for fact in facts.kept} == {root.trace_id}


def test_many_requests() -> None:
    """Each span is in its request's trace, below the right parent, once; nothing stays current, and no span alive.

    Connections of a client keep the context in which they were opened, and so its spans, until they are closed.
    """
    before = _alive()  # tests of before may have recorded spans, which their exporters hold
    with _recording() as facts:
        with serve(storm, lifespan="on") as url:
            _served(url, facts)
        assert facts.kept == [], "spans have ended that nobody expected"
        wait_until(lambda: _alive() <= before, lambda: f"these are alive: {_alive() - before}")


def _alive() -> set[SpanData]:
    """The spans that somebody holds.

    By their types: to be asked for their class, Django's settings, if they are there, have to be configured.
    """
    gc.collect()
    return {each for each in gc.get_objects() if issubclass(type(each), SpanData)}
