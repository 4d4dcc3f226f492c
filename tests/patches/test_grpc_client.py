"""The client's side of grpc.aio: how long its calls last, what travels with them, where they go."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import pytest
from opentelemetry.trace import SpanKind

from causal_otel.patches.grpc import GrpcOptions
from causal_otel.patches.grpc.methods import server_of
from tests.patches.grpc_calls import Passing, ended, pair, span_id
from tests.patches.grpc_services import PAUSE, served
from tests.recording import Recording, recording
from tests.span_relations import assert_span, traceparent
from tests.waiting import cancelled_after

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext


pytestmark = pytest.mark.asyncio


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """Nothing is excepted."""
    with recording(["grpc"]) as record:
        yield record


async def test_deadline(recorded: Recording) -> None:
    """A call that takes longer than it may is an error of the client, and as long as it had."""
    async with served() as (shop, _):

        async def call() -> None:
            with pytest.raises(grpc.aio.AioRpcError):
                await shop.Get(b"sleep 60", timeout=0.2)

        client, server, root = await pair(recorded, "shop.Shop/Get", call)
    found = assert_span(client, root, error="DEADLINE_EXCEEDED", lasts=0.15)
    assert found["rpc.response.status_code"] == "DEADLINE_EXCEEDED"
    # The client gives up a moment before the server's own clock says so.
    assert (server.attributes or {})["rpc.response.status_code"] in ("DEADLINE_EXCEEDED", "CANCELLED")


@pytest.mark.parametrize("intercepted", [False, True])
async def test_cancelled(recorded: Recording, intercepted: bool) -> None:
    """A call that is cancelled is no error, on neither side."""
    async with served(client_interceptors=[Passing()] if intercepted else []) as (shop, _):
        await shop.channel.channel_ready()
        client, server, root = await pair(
            recorded, "shop.Shop/Get", lambda: cancelled_after(0.2, shop.Get(b"sleep 60"))
        )
    assert_span(client, root, cancelled=True, lasts=0.2)
    assert_span(server, client, cancelled=True)


def _assert_over(span: ReadableSpan, parent: SpanContext | None) -> None:
    """Assert that it was cancelled, or that nobody has waited for its end."""
    told = span.attributes or {}
    assert "causal.cancelled" in told or "causal.abandoned" in told
    assert_span(span, parent, cancelled="causal.cancelled" in told, abandoned="causal.abandoned" in told)


async def test_stream_that_is_left(recorded: Recording) -> None:
    """A stream that is cancelled or left is over with its channel at the latest, and no error."""
    async with served() as (shop, _):
        call = shop.Forever(b"")
        async for _ in call:
            break
        call.cancel()
        left = shop.Forever(b"")
        async for _ in left:
            break
        del left
    gc.collect()
    spans = await ended(recorded, *["shop.Shop/Forever"] * 4)
    clients = {span_id(span): span for span in spans if span.kind is SpanKind.CLIENT}
    for client in clients.values():
        _assert_over(client, None)
    for server in (span for span in spans if span.kind is SpanKind.SERVER):
        assert server.parent is not None
        _assert_over(server, clients[server.parent.span_id].context)


async def test_stream_counts_its_waits_only(recorded: Recording) -> None:
    """What the program does between two responses is not in the client's span."""
    async with served() as (shop, _):
        with recorded.tracer.start_as_current_span("root") as outer:
            async for _ in shop.List(b"2"):
                await asyncio.sleep(0.2)
        spans = await ended(recorded, "shop.Shop/List", "shop.Shop/List", "root")
    (client,) = (span for span in spans if span.kind is SpanKind.CLIENT)
    assert_span(client, outer, lasts=PAUSE)
    root = recorded.only("root")
    assert root.end_time is not None
    assert client.end_time is not None
    assert root.end_time - client.end_time >= 0.3e9


async def test_metadata(recorded: Recording) -> None:
    """The context goes along in a copy of the metadata, also past interceptors; a traceparent in it is replaced."""
    passing = Passing()
    async with served(client_interceptors=[passing]) as (shop, _):
        given = [("a", "b"), ("traceparent", "00-00000000000000000000000000000001-0000000000000001-01")]
        for metadata in (tuple(given), list(given), grpc.aio.Metadata(*given)):
            before = list(metadata)
            names = await shop.Get(b"metadata", metadata=metadata)
            assert b"'a'" in names
            assert list(metadata) == before
    assert len(passing.seen) == 3
    clients = [span for span in recorded.spans if span.kind is SpanKind.CLIENT]
    for span, seen in zip(clients, passing.seen, strict=True):
        (header,) = (value for name, value in seen if name == "traceparent")
        assert header == traceparent(span)
        assert assert_span(span, None)["rpc.response.status_code"] == "OK"


async def test_not_propagated() -> None:
    """A host that is left out is not told the trace; the call is recorded."""
    with recording({"grpc": GrpcOptions(do_not_propagate_to=("127.0.0.1",))}) as recorded:
        async with served() as (shop, _):
            assert b"traceparent" not in await shop.Get(b"metadata")
            client, server = sorted(
                await ended(recorded, "shop.Shop/Get", "shop.Shop/Get"), key=lambda span: span.kind.value
            )[::-1]
        assert client.kind is SpanKind.CLIENT
        assert_span(client, None)
        assert_span(server, None)


async def test_server_that_is_not_there(recorded: Recording) -> None:
    """A call that reaches no server is one failed span."""
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/shop.Shop/Get")(b"")
    (span,) = recorded.spans
    found = assert_span(span, None, error="UNAVAILABLE")
    assert (found["server.address"], found["server.port"]) == ("127.0.0.1", 1)


async def test_channels_made_before() -> None:
    """A channel, and a method of it, that were there before are traced; its target is not known then."""
    async with served() as (shop, _):
        with recording(["grpc"]) as recorded:
            await shop.Get(b"")
            (span,) = recorded.spans
        found = assert_span(span, None)
        assert (found["rpc.response.status_code"], "server.address" in found) == ("OK", False)
        await shop.Get(b"")


@pytest.mark.parametrize(
    ("target", "address", "port"),
    [
        ("shop:50051", "shop", 50051),
        ("dns:///shop.example.com:443", "shop.example.com", 443),
        ("dns://8.8.8.8/shop:1", "shop", 1),
        ("ipv4:10.0.0.7:50051,10.0.0.8:50051", "10.0.0.7", 50051),
        ("ipv6:[::1]:50051", "::1", 50051),
        ("[::1]:50051", "::1", 50051),
        ("shop", "shop", None),
        ("unix:/run/shop.sock", "/run/shop.sock", None),
        ("unix:///run/shop.sock", "/run/shop.sock", None),
    ],
)
async def test_targets(target: str, address: str, port: int | None) -> None:
    """Of a channel's target the address and the port are told, as gRPC's name resolution writes them."""
    found = server_of(target).attributes
    assert (found["server.address"], found.get("server.port")) == (address, port)
