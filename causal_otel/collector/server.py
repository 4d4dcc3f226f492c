"""Runs the collector: the store's writer, pages and APIs, OTLP/HTTP and OTLP/gRPC, in one process and event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import uvicorn

from causal_otel._internal.log import logger
from causal_otel.collector.app import query_app, receiver_app
from causal_otel.collector.certificates import Certificate
from causal_otel.collector.forward.forwarder import forwarder
from causal_otel.collector.forward.queue import Queue
from causal_otel.collector.heavy import Workers
from causal_otel.collector.receive.intake import Intake
from causal_otel.collector.receive.listening import authority, listen
from causal_otel.collector.remote_sampling import ServedStrategies
from causal_otel.collector.security import Access
from causal_otel.collector.span_metrics import SpanMetrics
from causal_otel.collector.status import Parts
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer
from causal_otel.collector.streams import EndStreams

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.types import ASGIApp

    from causal_otel.collector.config import CollectorSettings
    from causal_otel.collector.forward.forwarder import Forwarder

__all__ = ["serve"]

_LOG = logger(__name__)
_GRACE_SECONDS = 3
_CLOSE_SECONDS = 30.0
# An exporter is idle for less than this between two batches. If we closed its connection, it would have to retry.
_KEEP_ALIVE_SECONDS = 300
_SWITCH_SECONDS = 0.0005
"""Python's switch interval: after so long a thread that draws a page lets another one run. The default is ten times as
long, and a request with spans would wait for it about ten times, in the event loop and in the writer's thread."""

_GC_THRESHOLD = 20_000
"""Objects after which Python looks for garbage. Spans on their way into the store are many objects and no garbage: to
look through them as often as by default takes two hundredths of the time of taking them in."""

_READERS = 4
"""Pages and answers that are made at once. More would be no faster, because only one thread runs Python at a time.
Large traces are read in a further thread, one at a time, because each may take a gigabyte."""


async def serve(settings: CollectorSettings, listening: Callable[[dict[str, str]], None]) -> None:
    """Run a collector until SIGTERM or SIGINT; what was accepted until then is written.

    Args:
        settings: how.
        listening: called with the addresses once all of them answer: ``pages``, ``otlp_http`` and ``otlp_grpc``, which
            is absent without gRPC.

    Raises:
        PortInUse: A port is taken.
        StoreInUse: Another process writes to the directory.
        StrategiesError: The sampling file is bad.
        TokensError: The file of tokens is bad.
        OSError: An address cannot be listened on, or a file cannot be read or written.
    """
    sampling = ServedStrategies(Path(settings.sampling_file) if settings.sampling_file else None)
    access = Access.of(settings)
    certificate = Certificate(Path(settings.tls_cert), Path(settings.tls_key)) if settings.tls else None
    with contextlib.ExitStack() as stack:
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_SWITCH_SECONDS)
        stack.callback(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(_GC_THRESHOLD)
        pages_socket = stack.enter_context(listen(settings.host, settings.port, "--port"))
        otlp_socket = stack.enter_context(listen(settings.host, settings.otlp_http_port, "--otlp-http-port"))
        directory = Path(settings.data_dir)
        writer = Writer(directory, retention_days=settings.retention, max_bytes=settings.max_size)
        await asyncio.to_thread(writer.start)
        try:
            with Reader(directory) as reader, _forwarding(settings) as sending:
                metrics = SpanMetrics()
                intake = Intake(writer, metrics, sending)
                parts = Parts(
                    settings=settings,
                    writer=writer,
                    reader=reader,
                    intake=intake,
                    sampling=sampling,
                    access=access,
                    certificate=certificate,
                    forwarder=sending,
                )
                await _serve(parts, metrics, pages_socket, otlp_socket, listening)
        finally:
            await asyncio.to_thread(writer.close, _CLOSE_SECONDS)


async def _serve(
    parts: Parts,
    metrics: SpanMetrics,
    pages_socket: socket.socket,
    otlp_socket: socket.socket,
    listening: Callable[[dict[str, str]], None],
) -> None:
    settings, access, stopping = parts.settings, parts.access, asyncio.Event()
    anyio.to_thread.current_default_thread_limiter().total_tokens = _READERS
    workers = Workers(Path(settings.data_dir))
    pages = _Server(EndStreams(query_app(parts, metrics, access, workers), stopping), parts.certificate)
    otlp = _Server(receiver_app(parts, access), parts.certificate)
    scheme = "https" if settings.tls else "http"
    parts.addresses["pages"] = f"{scheme}://{authority(*pages_socket.getsockname()[:2])}"
    parts.addresses["otlp_http"] = f"{scheme}://{authority(*otlp_socket.getsockname()[:2])}"
    with _signals_set(stopping):
        async with workers, _grpc(parts, access), asyncio.TaskGroup() as group:
            running = [
                group.create_task(server.serve(sockets=[listener]))
                for server, listener in ((pages, pages_socket), (otlp, otlp_socket))
            ]
            started = [group.create_task(server.listening.wait()) for server in (pages, otlp)]
            await asyncio.wait(started)
            listening(parts.addresses)
            stop = group.create_task(stopping.wait())
            await asyncio.wait([stop, *running], return_when=asyncio.FIRST_COMPLETED)
            stopping.set()
            pages.should_exit = otlp.should_exit = True


@contextlib.contextmanager
def _forwarding(settings: CollectorSettings) -> Iterator[Forwarder | None]:
    """Send on what comes as long as the block lasts, if it is wanted. The store's lock is held: it is the queue's."""
    directory = Path(settings.data_dir) / "forward"
    if not settings.forward:
        left = Queue(directory, settings.forward_max_size)
        if left.waiting()[1]:
            _LOG.warning(
                "%s holds %d spans that were not sent on: --forward would send them, or delete it",
                *(directory, left.waiting()[1]),
            )
        left.close()
        yield None
        return
    sending = forwarder(settings.forward, settings.forward_header, directory, settings.forward_max_size)
    sending.start()
    try:
        yield sending
    finally:
        sending.close(_GRACE_SECONDS)


class _Server(uvicorn.Server):
    """A server that leaves signals alone and says when it listens."""

    def __init__(self, app: ASGIApp, certificate: Certificate | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,  # logging is the program's business
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                # By default uvicorn believes X-Forwarded-For of everybody on this machine, who could so pass for any
                # number of clients and never wait for a wrong token.
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self.config.load()
        if certificate is not None:
            self.config.ssl = certificate.context
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # uvicorn's would end the first server only, and raise again
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


# -- gRPC ---------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _grpc(parts: Parts, access: Access) -> AsyncIterator[None]:
    """OTLP/gRPC as long as the block lasts, if it is wanted and can be had."""
    settings = parts.settings
    if settings.otlp_grpc_port is None or find_spec("grpc") is None:
        yield
        return
    from causal_otel.collector.receive.otlp_grpc import grpc_server

    with listen(settings.host, settings.otlp_grpc_port, "--otlp-grpc-port") as probe:
        host, port = probe.getsockname()[:2]  # gRPC listens by itself, and says nothing of why it cannot
    server, port = grpc_server(parts.intake, access, host=host, port=port, certificate=parts.certificate)
    await server.start()
    parts.addresses["otlp_grpc"] = f"{'https' if settings.tls else 'http'}://{authority(host, port)}"
    try:
        yield
    finally:
        await server.stop(_GRACE_SECONDS)


# -- signals ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _signals_set(stopping: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set ``stopping`` as long as the block lasts; a second one does what it does elsewhere."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        stopping.set()
        restore()

    def restore() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        restore()
