"""Requests that end up with a proxy, or at a port that is another protocol's: told in one sentence."""

from __future__ import annotations

import socket

import pytest

from causal_otel.transports._http_failures import no_answer
from causal_otel.transports.otlp_grpc import GrpcTransport
from causal_otel.transports.otlp_http import HttpTransport
from causal_otel.transports.transport import Verdict
from tests.export.requests import PAYLOAD, soon
from tests.faults.grpc_collector import grpc_serving
from tests.faults.scripted import Collector, answer, hang, refused_port, scripted


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("status", "verdict"),
    [(407, Verdict.MISCONFIGURED), (403, Verdict.MISCONFIGURED), (502, None)],
)
def test_refusing_proxy_of_http(
    monkeypatch: pytest.MonkeyPatch, scheme: str, status: int, verdict: Verdict | None
) -> None:
    """A proxy that refuses a request or a tunnel is named, without credentials, and with its status."""
    with scripted(answer(status)) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.endpoint.replace("//", "//user:word@"))
        monkeypatch.setenv("NO_PROXY", "")
        transport = HttpTransport(f"{scheme}://collector.invalid/v1/traces")
        outcome = transport.send(PAYLOAD, soon())
        transport.close()
        assert f"the proxy {proxy.endpoint}" in outcome.detail
    assert outcome.kind == str(status)
    assert outcome.verdict is (verdict or (Verdict.BUSY if scheme == "http" else Verdict.UNREACHABLE))
    assert "word" not in str(outcome)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_absent_proxy(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A proxy that cannot be reached is what cannot be reached, and not the collector."""
    with refused_port() as port:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://user:word@127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "")
        outcome = HttpTransport(f"{scheme}://collector.invalid/v1/traces").send(PAYLOAD, soon())
    assert outcome.verdict is Verdict.UNREACHABLE
    assert outcome.detail.startswith(f"the proxy http://127.0.0.1:{port} cannot be reached: ")
    assert "refused" in outcome.detail
    assert "word" not in str(outcome)


class ThroughSession(HttpTransport):
    """As with a credential provider's session, which nobody may go around."""

    def _direct_post(self) -> None:
        return None


@pytest.mark.parametrize("kind", [HttpTransport, ThroughSession])
def test_sent_to_a_grpc_port(kind: type[HttpTransport]) -> None:
    """What a gRPC server says to HTTP is told in one sentence, with the setting and the port that are right."""
    with grpc_serving() as collector:
        outcome = kind(f"{collector.url}/v1/traces").send(PAYLOAD, soon())
        port = collector.url.rpartition(":")[2]
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert str(outcome) == (
        f"no_http: port {port} speaks HTTP/2, as gRPC does, and was sent HTTP/1.1; set "
        "OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or send to the port for HTTP, which is 4318 by default"
    )


@pytest.mark.parametrize(
    ("first", "detail"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "the answer is no HTTP: it begins with 'SSH-2.0-OpenSSH_9.9..'"),
        (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00", "speaks HTTP/2"),
    ],
)
def test_something_else_that_stays_open(first: bytes, detail: str) -> None:
    """What is no HTTP is known by its first bytes, though no line and no connection ever ends."""

    def act(collector: Collector, connection: socket.socket) -> bool:
        connection.sendall(first)
        return hang(collector, connection)

    with scripted(act) as collector:
        outcome = HttpTransport(collector.url).send(PAYLOAD, soon(60.0))
    assert (outcome.verdict, outcome.kind) == (Verdict.MISCONFIGURED, "no_http")
    assert detail in outcome.detail
    assert str(outcome).isprintable()


def test_plain_http_to_a_port_with_tls() -> None:
    """A server that explains that its port is for HTTPS is understood."""
    said = b"Client sent an HTTP request to an HTTPS server."
    with scripted(answer(400, {}, said)) as collector:
        outcome = HttpTransport(collector.url).send(PAYLOAD, soon())
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "https://" in outcome.advice


def test_silence_on_the_port_of_grpc() -> None:
    """Where a gRPC server breaks off without a word, its port is what tells."""
    lost = ConnectionResetError("reset by peer")
    usual = no_answer(lost, "http://c:4317/v1/traces", "", late=False)
    assert (usual.verdict, usual.kind) == (Verdict.UNREACHABLE, "ConnectionResetError")
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in usual.advice
    assert no_answer(lost, "http://c:4318/v1/traces", "", late=False).advice == ""
    assert no_answer(ConnectionRefusedError(), "http://c:4317/v1/traces", "", late=False).advice == ""


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_sent_to_an_http_port(status: int) -> None:
    """What an HTTP server says to gRPC is told in one sentence, with the setting and the port that are right."""
    with scripted(answer(status)) as collector:
        transport = GrpcTransport(collector.endpoint, insecure=True)
        outcome = transport.send(PAYLOAD, soon())
        transport.close()
        port = collector.endpoint.rpartition(":")[2]
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert str(outcome) == (
        f"UNAVAILABLE: port {port} speaks HTTP/1.1, and was sent gRPC; set "
        "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or send to the port for gRPC, which is 4317 by default"
    )


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(407, Verdict.MISCONFIGURED), (403, Verdict.MISCONFIGURED), (502, Verdict.UNREACHABLE)],
)
def test_refusing_proxy(monkeypatch: pytest.MonkeyPatch, status: int, verdict: Verdict) -> None:
    """A proxy that refuses a tunnel is named, without credentials; one for another host is not."""
    with scripted(answer(status)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.endpoint.replace("//", "//user:word@"))
        for name in ("https_proxy", "grpc_proxy", "no_grpc_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        transport = GrpcTransport("http://collector.invalid:4317", insecure=True)
        outcome = transport.send(PAYLOAD, soon())
        transport.close()
        assert outcome.detail == f"the proxy {proxy.endpoint} refused the connection: {status}"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with refused_port() as port:
            near = GrpcTransport(f"http://127.0.0.1:{port}", insecure=True)
            assert "proxy" not in str(near.send(PAYLOAD, soon()))
            near.close()
    assert outcome.verdict is verdict
    assert "word" not in str(outcome)
