"""The collector as a whole: processes that are started, sent to by real exporters, asked, stopped and killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
import trustme
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from causal_otel.testing.process import Process, process
from tests.collector.running import OTLP_HEADERS, Running, now, one_span, running
from tests.collector.spans import request, span, traces
from tests.waiting import wait_until

TOKEN = "a-long-and-random-token"


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A collector for the tests that change nothing but its traces."""
    with running(tmp_path_factory.mktemp("traces")) as found:
        yield found


_TELLING = """
import sys
set_interval = sys.setswitchinterval
sys.setswitchinterval = lambda seconds: (print(f"threads switch after {seconds} s", flush=True), set_interval(seconds))
from causal_otel.cli import main
sys.exit(main())
"""


def test_threads_take_short_turns(tmp_path: Path) -> None:
    """Before it listens, threads that draw pages are told to let others run ten times as often as Python's default."""
    with running(tmp_path, command=(sys.executable, "-c", _TELLING, "collector")) as collector:
        first, second, *_ = collector.process.output().splitlines()
    assert first == "threads switch after 0.0005 s"
    assert sys.getswitchinterval() >= 10 * 0.0005
    assert not second.startswith("threads")


def _kill(child: Process) -> None:
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(20) == -signal.SIGKILL


# -- what is sent to it -------------------------------------------------------------------------------------------


def _exported(exporter: SpanExporter) -> int:
    """Send a span with an official exporter; returns its trace id."""
    provider = TracerProvider(resource=Resource({"service.name": "official"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("tests").start_as_current_span("exported") as exported:
        found: int = exported.get_span_context().trace_id
    provider.shutdown()
    return found


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_official_http_exporter(collector: Running, compression: Compression) -> None:
    """What OpenTelemetry's HTTP exporter sends can be read as soon as it has returned."""
    trace = _exported(HttpExporter(f"{collector.http}/v1/traces", compression=compression))
    assert collector.trace(trace) == ["exported"]


def test_official_grpc_exporter(collector: Running) -> None:
    """What OpenTelemetry's gRPC exporter sends can be read as soon as it has returned."""
    assert collector.trace(_exported(GrpcExporter(collector.grpc, insecure=True))) == ["exported"]


_OURS = """\
import causal_otel, sys
causal_otel.install(service_name="ours", headers={"authorization": "Bearer " + sys.argv[1]})
with causal_otel.span("outer"):
    with causal_otel.span("inner"):
        print(causal_otel.current_trace_id())
causal_otel.uninstall()
"""


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_our_own_exporter(collector: Running, tmp_path: Path, protocol: str) -> None:
    """A program that calls install() needs nothing but the address."""
    endpoint = collector.grpc if protocol == "grpc" else collector.http
    environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with process([sys.executable, "-c", _OURS, "unused"], name="program", env=environ) as child:
        assert child.wait(60) == 0, child.output()
        trace = int(child.output().strip(), 16)
    assert collector.trace(trace) == ["inner", "outer"]


def test_many_clients_at_once(collector: Running) -> None:
    """Requests of many clients at the same time are all acknowledged and all there."""
    bodies = [one_span(0x1000 + number, f"span {number}") for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        assert {response.status_code for response in pool.map(collector.post, bodies)} == {200}
    for number in range(100):
        assert collector.trace(0x1000 + number) == [f"span {number}"]


# -- what is asked of it ------------------------------------------------------------------------------------------


def test_pages_and_apis_answer(collector: Running) -> None:
    """The query port has the pages, both API families, their description, the status and the metrics."""
    collector.post(request(traces(span("asked", trace=0x2000, start=now()), service="answering")))
    assert "text/html" in collector.get("/", accept="text/html").headers["content-type"]
    assert "answering" in collector.get("/api/services").json()["data"]
    assert "answering" in collector.get("/api/v3/services").json()["services"]
    assert collector.get("/openapi.json").json()["openapi"].startswith("3.")
    assert collector.get("/api/sampling?service=a").json()["strategyType"] == "PROBABILISTIC"
    assert collector.get("/nowhere").status_code == 404
    assert collector.get("/api/nowhere").status_code == 404


def test_status_tells_what_is_kept(collector: Running) -> None:
    """/status.json has the addresses, what came in, what is kept and for how long."""
    collector.post(one_span(0x2001))
    status = collector.get("/status.json").json()
    assert status["addresses"] == {"pages": collector.pages, "otlp_http": collector.http, "otlp_grpc": collector.grpc}
    assert status["requests"]["http"]["accepted"] >= 1
    assert status["store"]["retention_days"] == 30
    assert status["store"]["spans"] == sum(day["spans"] for day in status["store"]["days"]) >= 1
    assert status["process"]["resident_bytes"] > 1_000_000


def test_metrics_follow_what_comes_in(collector: Running) -> None:
    """/metrics is Prometheus' text: span metrics that only grow, and how the collector is."""
    name = (
        'traces_span_metrics_calls_total{service_name="counted",span_name="GET /\\"x\\"",span_kind="SPAN_KIND_SERVER"'
    )
    name += ',status_code="STATUS_CODE_ERROR"}'

    def send() -> None:
        spans = [span('GET /"x"', trace=0x2002, start=now(), kind=2, error=True) for _ in range(3)]
        assert collector.post(request(traces(*spans, service="counted"))).status_code == 200

    send()
    before = collector.metrics()
    assert before[name] == 3
    send()
    collector.post(b"\xff")
    after = collector.metrics()
    assert after[name] == 6
    assert after['causal_receiver_requests_total{transport="http",outcome="invalid"}'] >= 1
    assert after["causal_store_spans_ingested_total"] == before["causal_store_spans_ingested_total"] + 3
    assert after["causal_store_bytes"] > 0
    assert after["process_resident_memory_bytes"] > 1_000_000
    headers = collector.get("/metrics").headers
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_sampling_file_is_served_and_followed(tmp_path: Path) -> None:
    """The strategies of the file are served; when it changes they change, when it breaks the status says where."""
    path = tmp_path / "strategies.json"
    path.write_text('{"default_strategy": {"type": "probabilistic", "param": 0.5}}')
    with running(tmp_path / "traces", "--sampling-file", str(path)) as sampler:

        def rate() -> float:
            answer = sampler.get("/api/sampling?service=a").json()
            found: float = answer["probabilisticSampling"]["samplingRate"]
            return found

        assert rate() == 0.5
        path.write_text('{"default_strategy": {"type": "probabilistic", "param": 0.125}}')
        wait_until(lambda: rate() == 0.125)
        path.write_text('{"default_strategy":\n {"type": "probabilistic", "param": 7}}')
        wait_until(lambda: "line 2: param" in sampler.get("/status.json").json()["sampling"]["error"])
        assert rate() == 0.125


# -- how it starts, stops and dies --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_well(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end it with status 0 and no complaint, even while a page follows live; all is kept."""
    with running(tmp_path) as collector:
        assert collector.post(one_span(1)).status_code == 200
        with httpx.stream(
            "GET", f"{collector.pages}/ui/live", headers={"accept": "text/event-stream"}, trust_env=False, timeout=30
        ) as stream:
            texts = stream.iter_text()
            assert next(texts)
            os.kill(collector.process.pid, number)
            list(texts)  # it ends, and not as a broken connection
        assert collector.process.wait(20) == 0
        assert collector.process.output().splitlines()[-1] == "Ctrl-C stops it."
    with running(tmp_path) as collector:
        assert collector.trace(1) == ["work"]


def test_kill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """After kill -9 in the middle of sending every span that was acknowledged is there, once."""
    acknowledged: set[int] = set()
    with running(tmp_path) as victim, ThreadPoolExecutor(4) as pool:

        def send(number: int) -> None:
            try:
                if victim.post(one_span(number)).status_code == 200:
                    acknowledged.add(number)
            except httpx.TransportError:
                pass

        sending = [pool.submit(send, number) for number in range(1, 2000)]
        wait_until(lambda: len(acknowledged) >= 50)
        _kill(victim.process)
        for future in sending:
            future.cancel()
    with running(tmp_path) as successor:
        assert [number for number in acknowledged if successor.trace(number) != ["work"]] == []
        assert successor.post(one_span(5000)).status_code == 200


def test_two_collectors_cannot_share_a_directory(tmp_path: Path) -> None:
    """A second collector over the same traces is refused with the reason, and the first goes on."""
    with running(tmp_path) as first:
        output = _fails(1, "--data-dir", str(tmp_path), "--port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0")
        assert str(tmp_path) in output
        assert first.post(one_span(1)).status_code == 200


def test_two_collectors_side_by_side(tmp_path: Path) -> None:
    """Two collectors with directories of their own do not know of each other."""
    with running(tmp_path / "a") as first, running(tmp_path / "b") as second:
        first.post(one_span(1))
        second.post(one_span(2))
        assert (first.trace(1), first.trace(2)) == (["work"], [])
        assert (second.trace(1), second.trace(2)) == ([], ["work"])


def _fails(status: int, *options: str) -> str:
    """Run the command, which has to end by itself with that status; returns what it has said."""
    code = "import sys; from causal_otel.cli import main; sys.exit(main())"
    with process([sys.executable, "-c", code, "collector", *options], name="causal-otel collector") as child:
        assert child.wait(60) == status, child.output()
        return child.output()


def test_port_in_use_is_explained(collector: Running, tmp_path: Path) -> None:
    """A taken port ends the command with the option that chooses another, and says if a collector is there."""
    ports = [re.sub(r".*:", "", address) for address in (collector.pages, collector.http, collector.grpc)]
    free = {"--port": "0", "--otlp-http-port": "0", "--otlp-grpc-port": "0", "--data-dir": str(tmp_path)}
    for option, port in zip(free, ports, strict=False):
        output = _fails(1, *(text for pair in {**free, option: port}.items() for text in pair))
        assert output.startswith(f"causal-otel collector: port {port} of 127.0.0.1 is in use")
        assert option in output
        assert ("a collector is running already" in output) == (option == "--otlp-http-port")


def test_other_program_on_the_otlp_port(tmp_path: Path) -> None:
    """Whatever is on the OTLP port and does not speak OTLP is not taken for a collector."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        output = _fails(
            1, "--port", "0", "--otlp-grpc-port", "0", "--otlp-http-port", port, "--data-dir", str(tmp_path)
        )
    assert f"port {port} of 127.0.0.1 is in use; choose another one with --otlp-http-port" in output


def test_grpc_can_be_switched_off(tmp_path: Path) -> None:
    """With --otlp-grpc-port off there is no gRPC, and the output says so."""
    with running(tmp_path, "--otlp-grpc-port", "off") as collector:
        assert collector.grpc == "off"
        assert "otlp_grpc" not in collector.get("/status.json").json()["addresses"]


def test_full_disk_is_answered_with_when_to_try_again(tmp_path: Path) -> None:
    """While the disk takes no more, a request is answered 503 with Retry-After; what was kept before stays readable."""
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))"
    limited = f"import os, resource, sys; {limit}; os.execvp(sys.argv[1], sys.argv[1:])"
    with running(tmp_path, wrapper=(sys.executable, "-c", limited)) as collector:
        assert collector.post(one_span(1)).status_code == 200
        noise = os.urandom(3 * 2**20).hex()
        response = collector.post(request(traces(span("large", trace=2, start=now(), tags={"noise": noise}))))
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert collector.trace(1) == ["work"]
        assert collector.trace(2) == []


# -- token and TLS ------------------------------------------------------------------------------------------------


def test_token_guards_every_port(tmp_path: Path) -> None:
    """With a token set, pages, APIs and both OTLP ports ask for it; exporters send it as a header."""
    with running(tmp_path, environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": TOKEN}) as collector:
        bearer = {"authorization": f"Bearer {TOKEN}"}
        for path in ("/", "/api/services", "/api/v3/services", "/metrics", "/status.json", "/openapi.json"):
            assert collector.get(path).status_code == 401
            assert collector.get(path, **bearer).status_code == 200
        assert collector.get("/login").status_code == 200
        assert collector.post(one_span(1)).status_code == 401
        trace = _exported(HttpExporter(f"{collector.http}/v1/traces", headers=bearer))
        assert collector.get(f"/api/traces/{trace:032x}", **bearer).status_code == 200
        trace = _exported(GrpcExporter(collector.grpc, insecure=True, headers=tuple(bearer.items())))
        assert collector.get(f"/api/traces/{trace:032x}", **bearer).status_code == 200
        assert TOKEN not in collector.process.output()
        assert TOKEN not in json.dumps(collector.get("/status.json", **bearer).json())


def test_reachable_with_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an address that others reach, everything is served over TLS, gRPC too, and the cookie is Secure."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would beat the exporter's own setting
        monkeypatch.delenv(variable, raising=False)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(paths["ca"])
    certificate.cert_chain_pems[0].write_to_path(paths["cert"])
    certificate.private_key_pem.write_to_path(paths["key"])
    options = ("--host", "0.0.0.0", "--tls-cert", str(paths["cert"]), "--tls-key", str(paths["key"]))
    bearer = {"authorization": f"Bearer {TOKEN}"}
    with running(tmp_path / "traces", *options, environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": TOKEN}) as collector:
        addresses = (collector.pages, collector.http, collector.grpc)
        assert all(address.startswith("https://0.0.0.0:") for address in addresses)
        pages, http, grpc_url = (address.replace("0.0.0.0", "localhost") for address in addresses)
        context = ssl.create_default_context(cafile=str(paths["ca"]))
        with httpx.Client(verify=context, trust_env=False, timeout=30) as client:
            first = _exported(HttpExporter(f"{http}/v1/traces", headers=bearer, certificate_file=str(paths["ca"])))
            credentials = grpc.ssl_channel_credentials(paths["ca"].read_bytes())
            second = _exported(GrpcExporter(grpc_url, credentials=credentials, headers=tuple(bearer.items())))
            for trace in (first, second):
                assert client.get(f"{pages}/api/traces/{trace:032x}", headers=bearer).status_code == 200
            assert client.post(f"{http}/v1/traces", headers=OTLP_HEADERS).status_code == 401
            login = client.post(f"{pages}/login", data={"token": TOKEN})
            assert "secure" in login.headers["set-cookie"].lower()


def test_bad_certificate_is_explained(tmp_path: Path) -> None:
    """Files that are no certificate and key end the command with their options' names."""
    path = tmp_path / "cert.pem"
    path.write_text("no certificate")
    free = ("--port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0", "--data-dir", str(tmp_path / "traces"))
    output = _fails(1, *free, "--tls-cert", str(path), "--tls-key", str(path))
    assert output.startswith("causal-otel collector: --tls-cert and --tls-key cannot be used: ")
