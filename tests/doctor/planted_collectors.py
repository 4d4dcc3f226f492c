"""Planted between the application and its collector: names, ports, protocols, paths, tokens, TLS, proxies, clocks."""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import trustme

from tests.collector.running import running
from tests.doctor.planting import Case, Soil, plant
from tests.faults.grpc_collector import grpc_serving
from tests.faults.scripted import answer, hang, refused_port, scripted

__all__: list[str] = []

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


def _to(endpoint: str, *, paste: dict[str, str] | None = None, certificate: str = "", **variables: str) -> Case:
    """The environment alone, with this endpoint."""
    if certificate:
        variables["OTEL_EXPORTER_OTLP_CERTIFICATE"] = certificate
    return Case(variables={_ENDPOINT: endpoint, **variables}, paste=paste)


@plant("collector-away", "error", "causal-otel collector", quick=True)
def nobody_listens(soil: Soil) -> Iterator[Case]:
    """The port is bound and nobody listens."""
    with refused_port() as port:
        yield _to(f"http://127.0.0.1:{port}")


@plant("collector-name", "error", _ENDPOINT, "localhost")
def no_such_host(soil: Soil) -> Iterator[Case]:
    """The name is one of those that no name server may know (RFC 2606)."""
    yield _to("http://collector.invalid:4318")


@plant("collector-protocol", "error", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", quick=True)
def http_to_grpc(soil: Soil) -> Iterator[Case]:
    """HTTP is spoken to a port for gRPC."""
    with grpc_serving() as collector:
        yield _to(collector.url, paste={})


@plant("collector-protocol", "error", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
def grpc_to_http(soil: Soil) -> Iterator[Case]:
    """A port for HTTP is spoken to by gRPC."""
    yield _to(soil.endpoint, paste={}, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")


@plant("collector-path", "error", f"{_TRACES}=", "/v1/traces", quick=True)
def wrong_path(soil: Soil) -> Iterator[Case]:
    """The complete URL lacks its path."""
    yield Case(variables={_TRACES: soil.endpoint}, paste={})


@plant("collector-path", "error", _ENDPOINT)
def too_much_of_a_path(soil: Soil) -> Iterator[Case]:
    """The base URL has a path that the receiver has not."""
    yield _to(f"{soil.endpoint}/otlp", paste={})


@plant("collector-token", "error", "OTEL_EXPORTER_OTLP_HEADERS", "Bearer")
def wrong_token(soil: Soil) -> Iterator[Case]:
    """Our own collector wants another token."""
    with running(soil.directory / "traces", environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": "the-right-token"}) as collector:
        yield _to(
            collector.http, paste={"TOKEN": "the-right-token"}, OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20old"
        )


@plant("collector-token", "error", "OTEL_EXPORTER_OTLP_HEADERS")
def forbidden(soil: Soil) -> Iterator[Case]:
    """A gateway refuses what it does not know."""
    with scripted(answer(403, {}, b"unknown tenant")) as collector:
        yield _to(collector.endpoint)


@plant("collector-other", "error", "curl")
def a_login_page(soil: Soil) -> Iterator[Case]:
    """A page for people is what answers."""
    with scripted(answer(200, {"Content-Type": "text/html"}, b"<html>Sign in</html>")) as collector:
        yield _to(collector.endpoint)


@plant("collector-slow", "error", "curl")
def no_answer(soil: Soil) -> Iterator[Case]:
    """The connection is taken, and nothing comes."""
    with scripted(hang) as collector:
        yield _to(collector.endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="0.5")


@plant("collector-proxy", "error", "NO_PROXY", "127.0.0.1", quick=True)
def a_proxy_in_the_way(soil: Soil) -> Iterator[Case]:
    """A proxy of the environment is asked for what is on this machine."""
    with refused_port() as port:
        yield _to(soil.endpoint, paste={}, HTTP_PROXY=f"http://127.0.0.1:{port}", http_proxy=f"http://127.0.0.1:{port}")


@plant("collector-proxy", "error", "NO_PROXY")
def a_proxy_that_refuses(soil: Soil) -> Iterator[Case]:
    """A proxy wants credentials of its own."""
    with scripted(answer(407)) as proxy:
        yield _to(soil.endpoint, paste={}, http_proxy=proxy.endpoint)


@plant("clock", "warning", "timedatectl")
def a_clock_that_is_slow(soil: Soil) -> Iterator[Case]:
    """The collector's clock is an hour behind."""
    with scripted(answer(200, {"Date": formatdate(time.time() - 3600, usegmt=True)})) as collector:
        yield _to(collector.endpoint)


@plant("collector-unwilling", "error", "curl")
def full(soil: Soil) -> Iterator[Case]:
    """The collector's disk is full."""
    with scripted(answer(503, {}, b"no room")) as collector:
        yield _to(collector.endpoint)


@plant("signal-refused", "warning", "OTEL_METRICS_EXPORTER=none", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
def no_place_for_metrics(soil: Soil) -> Iterator[Case]:
    """The back end takes spans, and knows no metrics."""
    elsewhere = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{soil.endpoint}/none"}
    yield Case(variables={_ENDPOINT: soil.endpoint, **elsewhere}, paste={})


# -- TLS ---------------------------------------------------------------------------------------------------------------


def _tls(authority: trustme.CA, name: str, expires: datetime.datetime | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=expires).configure_cert(context)
    return context


def _trusted(authority: trustme.CA, directory: Path) -> str:
    """The file of an authority's certificate."""
    path = str(directory / "ca.pem")
    authority.cert_pem.write_to_path(path)
    return path


@plant("collector-certificate", "error", "OTEL_EXPORTER_OTLP_CERTIFICATE")
def unknown_authority(soil: Soil) -> Iterator[Case]:
    """The certificate is of an authority that nobody was told of."""
    authority = trustme.CA()
    file = _trusted(authority, soil.directory)
    with scripted(tls=_tls(authority, "127.0.0.1")) as collector:
        yield _to(collector.endpoint, paste={"/etc/ssl/collector-ca.pem": file})


@plant("collector-certificate", "error", f"{_ENDPOINT}=https://localhost:")
def another_name(soil: Soil) -> Iterator[Case]:
    """The certificate is for another name of the same machine."""
    authority = trustme.CA()
    with scripted(tls=_tls(authority, "localhost")) as collector:
        yield _to(collector.endpoint, paste={}, certificate=_trusted(authority, soil.directory))


@plant("collector-certificate", "error", "date", "renew")
def expired(soil: Soil) -> Iterator[Case]:
    """The certificate has not been renewed."""
    authority = trustme.CA()
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    with scripted(tls=_tls(authority, "127.0.0.1", yesterday)) as collector:
        yield _to(collector.endpoint, certificate=_trusted(authority, soil.directory))


@plant("collector-scheme", "error", f"{_ENDPOINT}=https://")
def plain_to_tls(soil: Soil) -> Iterator[Case]:
    """The endpoint says http, and the port speaks TLS."""
    authority = trustme.CA()
    with scripted(tls=_tls(authority, "127.0.0.1")) as collector:
        plain = collector.endpoint.replace("https", "http")
        yield _to(plain, paste={}, certificate=_trusted(authority, soil.directory))


@plant("collector-scheme", "error", f"{_ENDPOINT}=http://")
def tls_to_plain(soil: Soil) -> Iterator[Case]:
    """The endpoint says https, and the port speaks none."""
    yield _to(soil.endpoint.replace("http", "https"), paste={})


@plant("client-certificate", "error", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY")
def no_client_certificate(soil: Soil) -> Iterator[Case]:
    """The collector wants to know who sends."""
    authority = trustme.CA()
    context = _tls(authority, "127.0.0.1")
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    client = authority.issue_cert("client@example.org")
    client.private_key_pem.write_to_path(str(soil.directory / "client-key.pem"))
    for part in client.cert_chain_pems:
        part.write_to_path(str(soil.directory / "client.pem"), append=True)
    with scripted(tls=context) as collector:
        yield _to(
            collector.endpoint,
            paste={"/etc/ssl/": f"{soil.directory}/"},
            certificate=_trusted(authority, soil.directory),
        )
