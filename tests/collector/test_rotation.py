"""Tokens and certificates are changed while spans come in all the while: none is lost, no connection is dropped."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
import trustme
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from tests.collector.running import OTLP_HEADERS, Running, one_span, running
from tests.waiting import wait_until

OLD, NEW = "the-old-token", "the-new-token"


def _replace(path: Path, text: str | bytes) -> None:
    """Write a file as those do who care: beside it, and renamed."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(text.encode() if isinstance(text, str) else text)
    os.replace(partial, path)


class _Noted(SpanExporter):
    """An exporter that notes what became of each span, by its trace."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.delivered: list[int] = []
        self.failed: list[int] = []
        self._exporter = exporter

    def export(self, spans: tuple[ReadableSpan, ...]) -> SpanExportResult:  # type: ignore[override]
        result = self._exporter.export(spans)
        into = self.delivered if result is SpanExportResult.SUCCESS else self.failed
        into.extend(span.get_span_context().trace_id for span in spans)  # type: ignore[union-attr]
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


@contextmanager
def _sending(exporter: SpanExporter) -> Iterator[_Noted]:
    """Send a span after the other, from a thread, as long as the block lasts."""
    noted, stopping = _Noted(exporter), threading.Event()
    provider = TracerProvider(resource=Resource({"service.name": "rotating"}))
    provider.add_span_processor(SimpleSpanProcessor(noted))
    tracer = provider.get_tracer("tests")

    def send() -> None:
        while not stopping.wait(0.01):
            tracer.start_span("sent").end()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield noted
    finally:
        stopping.set()
        thread.join()
        provider.shutdown()


def _more(noted: _Noted, count: int = 10) -> None:
    """Wait until that many further spans were sent."""
    before = len(noted.delivered) + len(noted.failed)
    wait_until(lambda: len(noted.delivered) + len(noted.failed) >= before + count)


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _exporter(collector: Running, protocol: str, token: str) -> SpanExporter:
    if protocol == "grpc":
        return GrpcExporter(collector.grpc, insecure=True, headers=tuple(_bearer(token).items()))
    return HttpExporter(f"{collector.http}/v1/traces", headers=_bearer(token))


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_token_is_rotated_without_loss(tmp_path: Path, protocol: str) -> None:
    """Old token, both, new one: clients change over while both are good, and every span that was sent is there."""
    tokens = tmp_path / "tokens"
    _replace(tokens, f"# first\n{OLD}\n")
    with running(tmp_path / "traces", "--token-file", str(tokens)) as collector:
        assert collector.post(one_span(1), **_bearer(NEW)).status_code == 401
        with _sending(_exporter(collector, protocol, OLD)) as before:
            _more(before)
            _replace(tokens, f"{OLD}\n{NEW}\n")
            with _sending(_exporter(collector, protocol, NEW)) as after:  # the first request has the new token
                _more(before)
                _more(after)
                assert collector.get("/status.json", **_bearer(OLD)).json()["tokens"]["tokens"] == 2
        with _sending(_exporter(collector, protocol, NEW)) as last:
            _more(last)
            _replace(tokens, f"{NEW}\n")
            _more(last)
            wait_until(lambda: collector.post(one_span(1), **_bearer(OLD)).status_code == 401)
            _more(last)
        sent = [*before.delivered, *after.delivered, *last.delivered]
        assert len(sent) >= 60
        assert [*before.failed, *after.failed, *last.failed] == []
        for trace in sent:
            assert collector.get(f"/api/traces/{trace:032x}", **_bearer(NEW)).status_code == 200
        assert NEW not in collector.process.output()


def test_the_token_and_those_of_the_file_are_all_good(tmp_path: Path) -> None:
    """--token is good beside the file's; a page's cookie is as good as the token that it was given for."""
    tokens = tmp_path / "tokens"
    _replace(tokens, f"{OLD}\n")
    options = ("--token-file", str(tokens))
    with running(tmp_path / "traces", *options, environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": "fixed"}) as collector:
        for token, status in (("fixed", 200), (OLD, 200), (NEW, 401)):
            assert collector.get("/status.json", **_bearer(token)).status_code == status
        with httpx.Client(base_url=collector.pages, trust_env=False, timeout=30) as browser:
            assert browser.post("/login", data={"token": OLD}).status_code == 303
            assert browser.get("/status.json").status_code == 200
            _replace(tokens, f"{NEW}\n")
            wait_until(lambda: browser.get("/status.json").status_code == 401)
        assert collector.get("/status.json", **_bearer("fixed")).status_code == 200


@pytest.mark.long
@pytest.mark.parametrize("text", ["", "# none\n\n", "good\nnot good\n", None])
def test_a_bad_file_of_tokens_changes_nothing(tmp_path: Path, text: str | None) -> None:
    """A file that is empty, gone or has a line that is no token opens nothing to nobody; status and log tell why."""
    tokens = tmp_path / "tokens"
    _replace(tokens, f"{OLD}\n")
    with running(tmp_path / "traces", "--token-file", str(tokens)) as collector:
        if text is None:
            tokens.unlink()
        else:
            _replace(tokens, text)

        def error() -> str:
            response = collector.get("/status.json", **_bearer(OLD))
            assert response.status_code == 200
            found: str = response.json()["tokens"]["error"]
            return found

        wait_until(lambda: "the tokens from before stay valid" in error())
        assert str(tokens) in error()
        for given in ({}, _bearer("good"), _bearer(NEW)):
            assert collector.get("/status.json", **given).status_code == 401
        wait_until(lambda: "the tokens from before stay valid" in collector.process.output())
        assert "not good" not in collector.process.output()
        _replace(tokens, f"{NEW}\n")
        wait_until(lambda: collector.get("/status.json", **_bearer(NEW)).status_code == 200)
        assert collector.get("/status.json", **_bearer(NEW)).json()["tokens"]["error"] == ""


# -- certificates -------------------------------------------------------------------------------------------------


class _Files:
    """A certificate authority and the files of a certificate of it."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.root, self.chain, self.key = (directory / f"{name}.pem" for name in ("ca", "cert", "key"))
        self.authority.cert_pem.write_to_path(self.root)
        self.issue()

    def issue(self) -> int:
        """Put a new certificate in the place of the one there was; returns its serial number."""
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        _replace(self.chain, issued.cert_chain_pems[0].bytes())
        _replace(self.key, issued.private_key_pem.bytes())
        return _serial(issued.cert_chain_pems[0].bytes().decode())

    def served(self, address: str, server_name: str | None = "localhost") -> int:
        """The serial number of the certificate that a new connection is shown."""
        context = ssl.create_default_context(cafile=str(self.root))
        context.check_hostname = server_name is not None
        with (
            socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=server_name) as connection,
        ):
            found = connection.getpeercert(binary_form=True)
            assert found is not None
            return _serial(ssl.DER_cert_to_PEM_cert(found))

    def grpc(self, address: str) -> grpc.Channel:
        """A channel over a connection of its own."""
        credentials = grpc.ssl_channel_credentials(self.root.read_bytes())
        options = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.secure_channel(f"localhost:{urlsplit(address).port}", credentials, options=options)


def _serial(pem: str) -> int:
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(pem.encode()).serial_number


def _export(channel: grpc.Channel, number: int) -> None:
    call: Callable[..., bytes] = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    call(one_span(number), timeout=30, wait_for_ready=True)


def test_a_certificate_is_renewed_under_open_connections(tmp_path: Path) -> None:
    """New connections over HTTP and gRPC are shown the new certificate; those that were open go on as they were."""
    files = _Files(tmp_path)
    first = _serial(files.chain.read_text())
    options = ("--tls-cert", str(files.chain), "--tls-key", str(files.key))
    with running(tmp_path / "traces", *options) as collector:
        addresses = (collector.pages, collector.http, collector.grpc)
        assert {files.served(address) for address in addresses} == {first}
        context = ssl.create_default_context(cafile=str(files.root))
        limits = httpx.Limits(max_connections=1)
        url = collector.http.replace("127.0.0.1", "localhost") + "/v1/traces"
        with (
            files.grpc(collector.grpc) as channel,
            httpx.Client(verify=context, trust_env=False, timeout=30, limits=limits) as client,
        ):

            def port() -> int:
                """Send over the open connection; returns the port that it comes from."""
                response = client.post(url, content=one_span(1), headers=OTLP_HEADERS)
                assert response.status_code == 200
                found: int = response.extensions["network_stream"].get_extra_info("client_addr")[1]
                return found

            before = port()
            _export(channel, 2)
            second = files.issue()
            assert second != first
            assert {files.served(address) for address in addresses} == {second}
            assert files.served(collector.http, None) == second  # a client that names no server
            assert port() == before
            _export(channel, 3)
            with files.grpc(collector.grpc) as another:
                _export(another, 4)
        for number in (1, 2, 3, 4):
            with httpx.Client(verify=context, trust_env=False, timeout=30) as reader:
                pages = collector.pages.replace("127.0.0.1", "localhost")
                assert reader.get(f"{pages}/api/traces/{number:032x}").status_code == 200


def test_a_certificate_without_its_key_is_not_served(tmp_path: Path) -> None:
    """Until certificate and key belong together, and while a file is no certificate, the old pair is served."""
    files = _Files(tmp_path)
    first = _serial(files.chain.read_text())
    options = ("--tls-cert", str(files.chain), "--tls-key", str(files.key))
    with running(tmp_path / "traces", *options) as collector:
        addresses = (collector.pages, collector.http, collector.grpc)
        other = files.authority.issue_cert("localhost", "127.0.0.1")
        for text in (other.cert_chain_pems[0].bytes(), b"no certificate"):
            _replace(files.chain, text)
            assert {files.served(address) for address in addresses} == {first}
            wait_until(lambda: "the certificate from before is served" in collector.process.output())
        _replace(files.chain, other.cert_chain_pems[0].bytes())
        _replace(files.key, other.private_key_pem.bytes())
        last = _serial(other.cert_chain_pems[0].bytes().decode())
        assert {files.served(address) for address in addresses} == {last}
