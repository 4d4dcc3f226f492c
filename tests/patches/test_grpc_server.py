"""The server's side of grpc.aio: what is served, and what never gets to its handler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import pytest
from opentelemetry.trace import SpanKind

from causal_otel.engine.context import suppress
from tests.patches.grpc_calls import ended, pair
from tests.patches.grpc_services import PAUSE, SECRET, served
from tests.recording import Recording, recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.asyncio


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """Nothing is excepted."""
    with recording(["grpc"]) as record:
        yield record


async def test_handler_in_a_thread_that_aborts(recorded: Recording) -> None:
    """The status of a handler that is a plain function is known as well."""
    async with served() as (shop, _):

        async def call() -> None:
            with pytest.raises(grpc.aio.AioRpcError):
                await shop.GetInThread(b"INTERNAL")

        client, server, root = await pair(recorded, "shop.Shop/GetInThread", call)
    for span, parent in ((client, root), (server, client)):
        assert assert_span(span, parent, error="INTERNAL", lasts=PAUSE)["rpc.response.status_code"] == "INTERNAL"


async def test_unknown_method(recorded: Recording) -> None:
    """A method that a server does not have is no name of a span there: any client may call as it likes."""
    async with served() as (shop, _):
        with pytest.raises(grpc.aio.AioRpcError):
            await shop.Missing(b"")
        spans = await ended(recorded, "shop.Shop/Missing", "grpc")
    client, server = sorted(spans, key=lambda span: span.kind is SpanKind.SERVER)
    assert assert_span(client, None, error="UNIMPLEMENTED")["rpc.method"] == "shop.Shop/Missing"
    found = assert_span(server, client, error="UNIMPLEMENTED")
    assert (found["rpc.method"], found["rpc.method_original"]) == ("_OTHER", "shop.Shop/Missing")


async def test_message_that_cannot_be_read(recorded: Recording) -> None:
    """A call that never gets to its handler has a span all the same."""
    async with served() as (shop, _):
        with pytest.raises(grpc.aio.AioRpcError):
            await shop.Broken(b"no number")
        spans = await ended(recorded, "shop.Shop/Broken", "shop.Shop/Broken")
    client, server = sorted(spans, key=lambda span: span.kind is SpanKind.SERVER)
    assert_span(client, None, error="UNKNOWN")
    assert_span(server, client, abandoned=True)


class _Refusing(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Sees whether a span is current, and refuses what it is told to."""

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        if "refuse" in dict(details.invocation_metadata):
            raise PermissionError(SECRET)
        return await continuation(details)


async def test_interceptor_of_the_server(recorded: Recording) -> None:
    """The program's own interceptors run inside the span, and one that raises fails it."""
    async with served(interceptors=(_Refusing(),)) as (shop, _):
        await shop.Get(b"")
        with pytest.raises(grpc.aio.AioRpcError):
            await shop.Get(b"", metadata=(("refuse", "yes"),))
        spans = await ended(recorded, *["shop.Shop/Get"] * 4)
    well, refused_server = (span for span in spans if span.kind is SpanKind.SERVER)
    called, refused = (span for span in spans if span.kind is SpanKind.CLIENT)
    assert_span(called, None)
    assert assert_span(well, called)["rpc.response.status_code"] == "OK"
    assert_span(refused, None, error="UNKNOWN")
    assert_span(refused_server, refused, error="PermissionError")


async def test_server_started_inside_a_span(recorded: Recording) -> None:
    """A call without a trace is a root, whatever was current where the server was started."""
    with recorded.tracer.start_as_current_span("start"):
        async with served() as (shop, _):
            with suppress():
                await shop.Get(b"")
            server = (await ended(recorded, "shop.Shop/Get"))[0]
    assert assert_span(server, None)["rpc.response.status_code"] == "OK"
