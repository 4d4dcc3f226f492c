"""grpc.aio on a real server: one CLIENT span a call, one SERVER span for what is served, in one trace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import pytest
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import SpanKind

from causal_otel.engine.context import suppress
from causal_otel.patches.grpc import PATCH, GrpcOptions
from tests.metrics.measuring import measured
from tests.patches.checks import assert_undone
from tests.patches.grpc_calls import Passing, PassingStream, ended, pair, span_id
from tests.patches.grpc_services import PAUSE, SECRET, requests, served
from tests.recording import Recording, recording
from tests.span_relations import assert_span, untimed

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.asyncio


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """Nothing is excepted."""
    with recording(["grpc"]) as record:
        yield record


async def test_attributes(recorded: Recording) -> None:
    """Both sides tell system, method and status; the client where it went, the server where it came from."""
    async with served() as (shop, port):
        found: list[bytes] = []

        async def call() -> None:
            found.append(await shop.Get(SECRET.encode()))

        client, server, root = await pair(recorded, "shop.Shop/Get", call)
    common = {"rpc.system.name": "grpc", "rpc.method": "shop.Shop/Get", "rpc.response.status_code": "OK"}
    assert untimed(assert_span(client, root)) == {**common, "server.address": "127.0.0.1", "server.port": port}
    assert assert_span(server, client) == {**common, "client.address": "127.0.0.1"}
    assert found == [span_id(server).to_bytes(8, "big")]  # which is current in the handler
    assert SECRET not in client.to_json() + server.to_json()


@pytest.mark.parametrize("intercepted", [False, True])
async def test_every_kind(recorded: Recording, intercepted: bool) -> None:
    """Of all four kinds, however messages are sent and read, each call is one span a side, with the same responses."""
    interceptors = [Passing(), PassingStream()] if intercepted else []
    async with served(client_interceptors=interceptors) as (shop, _):

        async def listed(of: Any) -> None:
            assert len([item async for item in of(b"3")]) == 3

        async def summed() -> None:
            assert await shop.Sum(requests(1, 2, 3)) == b"6"

        async def echoed() -> None:
            assert [item async for item in shop.Echo(requests(1, 2))] == [b"1", b"2"]

        async def written() -> None:
            call = shop.ReadAndWrite()
            await call.write(b"a")
            assert await call.read() == b"a"
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF

        async def threaded() -> None:
            assert len(await shop.GetInThread(b"")) == 8

        for method, call in (
            ("List", lambda: listed(shop.List)),
            ("Sum", summed),
            ("Echo", echoed),
            ("ReadAndWrite", written),
            ("GetInThread", threaded),
            ("ListInThread", lambda: listed(shop.ListInThread)),
        ):
            client, server, root = await pair(recorded, f"shop.Shop/{method}", call)
            for span, parent in ((client, root), (server, client)):
                found = assert_span(span, parent, lasts=PAUSE)
                assert (found["rpc.method"], found["rpc.response.status_code"]) == (f"shop.Shop/{method}", "OK")


@pytest.mark.parametrize("intercepted", [False, True])
@pytest.mark.parametrize(
    ("request_", "code", "error"),
    [
        (b"abort NOT_FOUND", "NOT_FOUND", None),
        (b"abort INTERNAL", "INTERNAL", "INTERNAL"),
        (b"set UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"),
        (b"set RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", None),
        (b"raise", "UNKNOWN", "ValueError"),
    ],
)
async def test_statuses(recorded: Recording, request_: bytes, code: str, error: str | None, intercepted: bool) -> None:
    """Every status but OK is an error of the client; of the server only those that are its own fault."""
    async with served(client_interceptors=[Passing()] if intercepted else []) as (shop, _):

        async def call() -> None:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await shop.Get(request_)
            assert caught.value.code().name == code

        client, server, root = await pair(recorded, "shop.Shop/Get", call)
    assert assert_span(client, root, error=code)["rpc.response.status_code"] == code
    assert assert_span(server, client, error=error)["rpc.response.status_code"] == code
    assert [event.name for event in server.events] == (["exception"] if error == "ValueError" else [])
    assert SECRET not in client.to_json()


async def test_unsampled() -> None:
    """An unsampled call carries its trace as not sampled, so that the server records nothing either."""
    with recording(["grpc"], sampler=sampling.ALWAYS_OFF) as recorded:
        async with served() as (shop, _):
            assert b"traceparent" in await shop.Get(b"metadata")
        assert recorded.spans == []


async def test_excluded_and_suppressed() -> None:
    """Excluded methods have no spans on either side; OTLP's own services never have; nor has what is suppressed."""
    with recording({"grpc": GrpcOptions(excluded=("shop.Shop/G*",))}) as recorded:
        async with served() as (shop, _):
            await shop.Get(b"")
            with suppress():
                await shop.Sum(requests(1))
            export = shop.channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            with pytest.raises(grpc.aio.AioRpcError):
                await export(b"")
        await asyncio.sleep(0.05)
        assert [span.name for span in recorded.spans if span.kind is SpanKind.CLIENT] == []


async def test_undoing_is_exact() -> None:
    """Everything that is replaced is put back as it was; a server that was made meanwhile goes on without spans."""
    assert_undone(PATCH)
    with recording(["grpc"]) as recorded:
        serving = served()
        shop, _ = await serving.__aenter__()
    assert len(await shop.Get(b"")) == 8
    await serving.__aexit__(None, None, None)
    assert recorded.spans == []


async def test_many_at_once(recorded: Recording) -> None:
    """Calls of tasks are children of their own spans, on both sides."""
    async with served() as (shop, _):

        async def task(number: int) -> bytes:
            with recorded.tracer.start_as_current_span(f"task {number}"):
                answer: bytes = await shop.Get(b"")
                return answer

        answers = await asyncio.gather(*map(task, range(20)))
        spans = await ended(recorded, *[f"task {number}" for number in range(20)], *["shop.Shop/Get"] * 40)
    by_id = {span_id(span): span for span in spans}
    for number, answer in enumerate(answers):
        server = by_id[int.from_bytes(answer, "big")]
        assert server.parent is not None
        client = by_id[server.parent.span_id]
        assert client.parent is not None
        caller = by_id[client.parent.span_id]
        assert caller.name == f"task {number}"
        assert assert_span(client, caller)["rpc.response.status_code"] == "OK"
        assert assert_span(server, client)["rpc.response.status_code"] == "OK"


async def test_metrics() -> None:
    """How long calls take is measured on both sides, by method and status."""
    with measured(["grpc"]) as measurements:
        async with served() as (shop, port):
            await shop.Get(b"")
            with pytest.raises(grpc.aio.AioRpcError):
                await shop.Get(b"abort INTERNAL")
        for side, where in (("client", {"server.address": "127.0.0.1", "server.port": port}), ("server", {})):
            points = measurements.points(f"rpc.{side}.call.duration")
            found = [dict(point.attributes) for point in points]
            common = {"rpc.system.name": "grpc", "rpc.method": "shop.Shop/Get", **where}
            assert sorted(found, key=len) == [
                {**common, "rpc.response.status_code": "OK"},
                {**common, "rpc.response.status_code": "INTERNAL", "error.type": "INTERNAL"},
            ]
