"""OTLP over TLS, by HTTP and gRPC: whose certificates are checked and shown, also through a proxy."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import certifi
import grpc  # type: ignore[import-untyped]
import pytest
import trustme

from causal_otel.transports.otlp_grpc import GrpcTransport
from causal_otel.transports.otlp_http import HttpTransport
from causal_otel.transports.transport import Verdict
from tests.export.requests import PAYLOAD, soon
from tests.faults.grpc_collector import GrpcCollector
from tests.faults.scripted import scripted, trickle_headers

pytestmark = pytest.mark.usefixtures("no_otel_variables")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    """The transports' TLS arguments."""
    client = authority.issue_cert("client@example.org")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    for part in client.cert_chain_pems:
        part.write_to_path(tmp_path / "client.pem", append=True)
    return {
        "certificate": str(tmp_path / "ca.pem"),
        "client_certificate": str(tmp_path / "client.pem"),
        "client_key": str(tmp_path / "key.pem"),
    }


@contextmanager
def _connect_proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that tunnels one connection, and where to."""
    targets: list[str] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        client, _ = listener.accept()
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        targets.append(head.split()[1].decode())
        host, _, port = targets[0].rpartition(":")
        with client, socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", targets
        thread.join(10)
        assert not thread.is_alive(), "the connection is still open"


class TestTls:
    def test_http(self, authority: trustme.CA, files: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """The server's certificate is checked against the given one and ours is shown; without, nothing is sent."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = ssl.CERT_REQUIRED
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.configure_trust(context)
        with scripted(tls=context) as collector:
            assert HttpTransport(collector.url).send(PAYLOAD, soon()).verdict is Verdict.UNREACHABLE
            alone = HttpTransport(collector.url, certificate=files["certificate"])
            assert alone.send(PAYLOAD, soon()).verdict is Verdict.UNREACHABLE
            assert not collector.requests
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
            transport = HttpTransport(collector.url, **files)
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            transport.close()
            # What the exporter's own variable names beats those of requests too, as with --forward.
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", files["certificate"])
            transport = HttpTransport(collector.url, **{**files, "certificate": ""})
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            transport.close()
            with _connect_proxy() as (url, targets):
                monkeypatch.setenv("HTTPS_PROXY", url)
                transport = HttpTransport(collector.url, **files)
                assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
                transport.close()
            assert targets == [collector.url.split("/")[2]]

    def test_trickling_headers(self, authority: trustme.CA, files: dict[str, Any]) -> None:
        """Over TLS, too, headers that never end are left at the deadline."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        with scripted(trickle_headers, tls=context) as collector:
            transport = HttpTransport(collector.url, certificate=files["certificate"])
            outcome = transport.send(PAYLOAD, soon(0.5))
        assert (outcome.verdict, outcome.kind) == (Verdict.UNREACHABLE, "timeout")

    def test_grpc(self, authority: trustme.CA, files: dict[str, Any]) -> None:
        """The same over gRPC."""
        certificate = authority.issue_cert("127.0.0.1")
        credentials = grpc.ssl_server_credentials(
            [(certificate.private_key_pem.bytes(), b"".join(part.bytes() for part in certificate.cert_chain_pems))],
            authority.cert_pem.bytes(),
            require_client_auth=True,
        )
        collector = GrpcCollector(credentials)
        url = collector.url.replace("http", "https")
        alone = GrpcTransport(url, insecure=False, certificate=files["certificate"])
        assert alone.send(PAYLOAD, soon(3)).verdict is Verdict.UNREACHABLE
        transport = GrpcTransport(url, insecure=False, **files)
        assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
        assert len(collector.requests) == 1
        alone.close()
        transport.close()
        collector.server.stop(None).wait(10)
