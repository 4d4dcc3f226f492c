"""grpc.aio on a real server: one CLIENT span a call, one SERVER span for what is served, in one trace."""

from __future__ import annotations

import asyncio
import gc
from time import perf_counter
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import pytest
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import SpanKind, StatusCode

from causal_otel.engine.context import suppress
from causal_otel.patches.grpc import PATCH, GrpcOptions
from causal_otel.patches.grpc.methods import server_of
from tests.metrics.measuring import measured
from tests.patches.checks import assert_undone
from tests.patches.grpc_services import SECRET, requests, served
from tests.recording import Recording, recording
from tests.span_relations import assert_span, traceparent, untimed
from tests.waiting import cancelled_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

pytestmark = pytest.mark.asyncio


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """Nothing is excepted."""
    with recording(["grpc"]) as record:
        yield record


def span_id(span: ReadableSpan) -> int:
    """A span's id."""
    found = span.get_span_context()
    assert found is not None
    return found.span_id


async def _ended(recorded: Recording, *names: str) -> list[ReadableSpan]:
    """The spans, once as many have ended: a server's may end after the client has its answer."""
    for _ in range(2000):
        if sorted(recorded.names()) == sorted(names):
            return recorded.spans
        await asyncio.sleep(0.005)
    raise AssertionError(f"wanted {names}, have {recorded.names()}")


async def _pair(
    recorded: Recording, method: str, call: Callable[[], Awaitable[Any]]
) -> tuple[ReadableSpan, ReadableSpan, Any]:
    """The client's span, inside a root, and the server's, below it, of one call; with the root."""
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root:
        began = perf_counter()
        await call()
        elapsed = perf_counter() - began
        spans = await _ended(recorded, method, method)
    client, server = sorted(spans, key=lambda span: span.kind is SpanKind.SERVER)
    assert (client.kind, server.kind) == (SpanKind.CLIENT, SpanKind.SERVER)
    assert client.start_time is not None
    assert client.end_time is not None
    assert (client.end_time - client.start_time) / 1e9 <= elapsed
    return client, server, root


async def test_attributes(recorded: Recording) -> None:
    """Both sides tell system, method and status; the client where it went, the server where it came from."""
    async with served() as (shop, port):
        found: list[bytes] = []

        async def call() -> None:
            found.append(await shop.Get(SECRET.encode()))

        client, server, root = await _pair(recorded, "shop.Shop/Get", call)
    common = {"rpc.system.name": "grpc", "rpc.method": "shop.Shop/Get", "rpc.response.status_code": "OK"}
    assert untimed(assert_span(client, root)) == {**common, "server.address": "127.0.0.1", "server.port": port}
    assert assert_span(server, client) == {**common, "client.address": "127.0.0.1"}
    assert found == [span_id(server).to_bytes(8, "big")]  # which is current in the handler
    assert SECRET not in client.to_json() + server.to_json()


@pytest.mark.parametrize("intercepted", [False, True])
async def test_every_kind(recorded: Recording, intercepted: bool) -> None:
    """Of all four kinds, however messages are sent and read, each call is one span a side, with the same responses."""
    interceptors = [_Passing(), _PassingStream()] if intercepted else []
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
            client, server, root = await _pair(recorded, f"shop.Shop/{method}", call)
            assert_span(client, root)
            assert_span(server, client)
            assert (client.attributes or {})["rpc.response.status_code"] == "OK"


class _Passing(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Remembers the metadata that it has seen."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        self.seen.append(tuple(details.metadata))
        return await continuation(details, request)


class _PassingStream(grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(details, request)


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
    async with served(client_interceptors=[_Passing()] if intercepted else []) as (shop, _):

        async def call() -> None:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await shop.Get(request_)
            assert caught.value.code().name == code

        client, server, root = await _pair(recorded, "shop.Shop/Get", call)
    assert assert_span(client, root, error=code)["rpc.response.status_code"] == code
    assert assert_span(server, client, error=error)["rpc.response.status_code"] == code
    assert [event.name for event in server.events] == (["exception"] if error == "ValueError" else [])
    assert SECRET not in client.to_json()


async def test_handler_in_a_thread_that_aborts(recorded: Recording) -> None:
    """The status of a handler that is a plain function is known as well."""
    async with served() as (shop, _):

        async def call() -> None:
            with pytest.raises(grpc.aio.AioRpcError):
                await shop.GetInThread(b"INTERNAL")

        client, server, _ = await _pair(recorded, "shop.Shop/GetInThread", call)
    assert assert_span(server, client, error="INTERNAL")["rpc.response.status_code"] == "INTERNAL"


async def test_deadline(recorded: Recording) -> None:
    """A call that takes longer than it may is an error of the client, and as long as it had."""
    async with served() as (shop, _):

        async def call() -> None:
            with pytest.raises(grpc.aio.AioRpcError):
                await shop.Get(b"sleep 60", timeout=0.2)

        client, server, root = await _pair(recorded, "shop.Shop/Get", call)
    found = assert_span(client, root, error="DEADLINE_EXCEEDED", lasts=0.15)
    assert found["rpc.response.status_code"] == "DEADLINE_EXCEEDED"
    # The client gives up a moment before the server's own clock says so.
    assert (server.attributes or {})["rpc.response.status_code"] in ("DEADLINE_EXCEEDED", "CANCELLED")


@pytest.mark.parametrize("intercepted", [False, True])
async def test_cancelled(recorded: Recording, intercepted: bool) -> None:
    """A call that is cancelled is no error, on neither side."""
    async with served(client_interceptors=[_Passing()] if intercepted else []) as (shop, _):
        await shop.channel.channel_ready()
        client, server, root = await _pair(
            recorded, "shop.Shop/Get", lambda: cancelled_after(0.2, shop.Get(b"sleep 60"))
        )
    assert_span(client, root, cancelled=True, lasts=0.2)
    assert_span(server, client, cancelled=True)


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
    spans = await _ended(recorded, *["shop.Shop/Forever"] * 4)
    assert all(span.status.status_code is StatusCode.UNSET for span in spans)
    for span in spans:
        attributes = span.attributes or {}
        assert attributes.get("causal.cancelled") or attributes.get("causal.abandoned")


async def test_stream_counts_its_waits_only(recorded: Recording) -> None:
    """What the program does between two responses is not in the client's span."""
    async with served() as (shop, _):
        with recorded.tracer.start_as_current_span("root"):
            async for _ in shop.List(b"2"):
                await asyncio.sleep(0.2)
        spans = await _ended(recorded, "shop.Shop/List", "shop.Shop/List", "root")
    (client,) = (span for span in spans if span.kind is SpanKind.CLIENT)
    root = recorded.only("root")
    assert root.end_time is not None
    assert client.end_time is not None
    assert root.end_time - client.end_time >= 0.3e9


async def test_metadata(recorded: Recording) -> None:
    """The context goes along in a copy of the metadata, also past interceptors; a traceparent in it is replaced."""
    passing = _Passing()
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


async def test_not_propagated() -> None:
    """A host that is left out is not told the trace; the call is recorded."""
    with recording({"grpc": GrpcOptions(do_not_propagate_to=("127.0.0.1",))}) as recorded:
        async with served() as (shop, _):
            assert b"traceparent" not in await shop.Get(b"metadata")
            client, server = sorted(
                await _ended(recorded, "shop.Shop/Get", "shop.Shop/Get"), key=lambda span: span.kind.value
            )[::-1]
        assert (client.kind, server.parent) == (SpanKind.CLIENT, None)


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


async def test_unknown_method(recorded: Recording) -> None:
    """A method that a server does not have is no name of a span there: any client may call as it likes."""
    async with served() as (shop, _):
        with pytest.raises(grpc.aio.AioRpcError):
            await shop.Missing(b"")
        spans = await _ended(recorded, "shop.Shop/Missing", "grpc")
    client, server = sorted(spans, key=lambda span: span.kind is SpanKind.SERVER)
    assert assert_span(client, None, error="UNIMPLEMENTED")["rpc.method"] == "shop.Shop/Missing"
    found = assert_span(server, client, error="UNIMPLEMENTED")
    assert (found["rpc.method"], found["rpc.method_original"]) == ("_OTHER", "shop.Shop/Missing")


async def test_server_that_is_not_there(recorded: Recording) -> None:
    """A call that reaches no server is one failed span."""
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/shop.Shop/Get")(b"")
    (span,) = recorded.spans
    found = assert_span(span, None, error="UNAVAILABLE")
    assert (found["server.address"], found["server.port"]) == ("127.0.0.1", 1)


async def test_message_that_cannot_be_read(recorded: Recording) -> None:
    """A call that never gets to its handler has a span all the same."""
    async with served() as (shop, _):
        with pytest.raises(grpc.aio.AioRpcError):
            await shop.Broken(b"no number")
        spans = await _ended(recorded, "shop.Shop/Broken", "shop.Shop/Broken")
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
        spans = await _ended(recorded, *["shop.Shop/Get"] * 4)
    servers = [span for span in spans if span.kind is SpanKind.SERVER]
    assert {(span.attributes or {}).get("error.type") for span in servers} == {None, "PermissionError"}


async def test_server_started_inside_a_span(recorded: Recording) -> None:
    """A call without a trace is a root, whatever was current where the server was started."""
    with recorded.tracer.start_as_current_span("start"):
        async with served() as (shop, _):
            with suppress():
                await shop.Get(b"")
            server = (await _ended(recorded, "shop.Shop/Get"))[0]
    assert_span(server, None)


async def test_channels_made_before() -> None:
    """A channel, and a method of it, that were there before are traced; its target is not known then."""
    async with served() as (shop, _):
        with recording(["grpc"]) as recorded:
            await shop.Get(b"")
            (span,) = recorded.spans
        assert_span(span, None)
        assert "server.address" not in (span.attributes or {})
        await shop.Get(b"")


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
        spans = await _ended(recorded, *[f"task {number}" for number in range(20)], *["shop.Shop/Get"] * 40)
    by_id = {span_id(span): span for span in spans}
    for number, answer in enumerate(answers):
        server = by_id[int.from_bytes(answer, "big")]
        assert server.parent is not None
        client = by_id[server.parent.span_id]
        assert client.parent is not None
        assert by_id[client.parent.span_id].name == f"task {number}"


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
