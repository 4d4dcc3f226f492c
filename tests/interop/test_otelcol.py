"""Spans through a true OpenTelemetry Collector with deploy/otelcol/collector.yaml, over TLS and with credentials."""

from __future__ import annotations

import base64
import os
import re
import signal
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from causal_otel.testing.process import claim_port
from tests.collector.running import Running, running
from tests.deploy.files import DEPLOY
from tests.interop.arrived import fetched, same, send, wait_for
from tests.interop.running import Otelcol, needed, otelcol
from tests.waiting import wait_until

_CREDENTIALS = f"authorization=Basic%20{base64.b64encode(b'shop:s3cret').decode()}"

_DECIDED = "otelcol_processor_tail_sampling_global_count_traces_sampled_total"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, certs: Path) -> Iterator[Running]:
    """Our collector, where the Collector's spans go, over TLS."""
    needed("otelcol")
    with running(tmp_path_factory.mktemp("traces"), *_tls(certs)) as collector:
        yield collector


def _tls(certs: Path) -> tuple[str, ...]:
    return ("--tls-cert", str(certs / "server.crt"), "--tls-key", str(certs / "server.key"))


def _endpoint(collector: Running) -> str:
    return f"localhost:{collector.grpc.rpartition(':')[2]}"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, ours: Running, certs: Path, secrets: Path) -> Iterator[Otelcol]:
    """The Collector of deploy/, which sends to ours."""
    folder = tmp_path_factory.mktemp("queue")
    with otelcol(folder, _endpoint(ours), secrets, certs, OTELCOL_SAMPLING_PERCENTAGE="100") as collector:
        yield collector


def _to(collector: Otelcol, protocol: str, certs: Path) -> dict[str, str]:
    port = collector.grpc_port if protocol == "grpc" else collector.http_port
    return {
        "OTEL_SERVICE_NAME": f"everything-{protocol.partition('/')[0]}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://localhost:{port}",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certs / "ca.crt"),
        "OTEL_EXPORTER_OTLP_HEADERS": _CREDENTIALS,
    }


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_everything_of_a_span_arrives(theirs: Otelcol, ours: Running, certs: Path, protocol: str) -> None:
    """Every span, parent, attribute, event, link and status comes through the Collector as it was."""
    sent = send(1, **_to(theirs, protocol, certs))
    expected = sent.of_trace(sent.trace_of("GET /orders"))
    arrived = wait_for(ours.pages, expected[0]["trace"], len(expected))
    assert len(expected) == 5
    assert {span["service"] for span in arrived} == {f"everything-{protocol.partition('/')[0]}"}
    same(arrived, expected)


def test_nobody_is_let_in_without_credentials(theirs: Otelcol, certs: Path) -> None:
    """A request without credentials, or with wrong ones, is answered 401; one with a foreign authority's TLS fails."""
    context = ssl.create_default_context(cafile=str(certs / "ca.crt"))
    url = f"https://localhost:{theirs.http_port}/v1/traces"
    wrong = base64.b64encode(b"shop:wrong").decode()
    for headers in ({}, {"authorization": f"Basic {wrong}"}):
        response = httpx.post(
            url,
            content=b"",
            headers={"content-type": "application/x-protobuf", **headers},
            verify=context,
            trust_env=False,
            timeout=60,
        )
        assert response.status_code == 401
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.post(url, content=b"", trust_env=False, timeout=60)


def test_errors_and_slow_traces_are_kept_and_the_rest_by_share(
    tmp_path: Path, ours: Running, certs: Path, secrets: Path
) -> None:
    """Every error and slow trace is kept, none of the rest at 0 %, and few of 200 health checks and busy requests."""
    with otelcol(tmp_path / "queue", _endpoint(ours), secrets, certs, OTELCOL_SAMPLING_PERCENTAGE="0") as collector:
        sent = send(2, 200, **_to(collector, "http/protobuf", certs))
        failed = sent.of_trace(sent.trace_of("GET /orders"))
        same(wait_for(ours.pages, failed[0]["trace"], len(failed)), failed)
        same(wait_for(ours.pages, sent.trace_of("GET /slow"), 1), sent.named("GET /slow"))
        # All traces were decided in the same round or before: what is not here now was left out.
        _counted(collector, _DECIDED, 603)
    kept = Counter(span["name"] for span in sent.spans if fetched(ours.pages, span["trace"]))
    assert kept["GET /orders/{id}"] == 0
    assert kept["GET /health"] <= 20
    assert kept["GET /feed"] <= 60


def test_what_waits_survives_the_collector(tmp_path: Path, certs: Path, secrets: Path) -> None:
    """What waits for the back end is on disk: a Collector that was killed sends it after its next start."""
    port = claim_port(None, "back end")
    endpoint = f"localhost:{port}"
    with otelcol(tmp_path / "queue", endpoint, secrets, certs, OTELCOL_SAMPLING_PERCENTAGE="100") as collector:
        sent = send(3, **_to(collector, "http/protobuf", certs))
        expected = sent.of_trace(sent.trace_of("GET /orders"))
        _counted(collector, "otelcol_exporter_queue_size", 1)
        os.kill(collector.process.pid, signal.SIGKILL)
        collector.process.wait(60)
    with (
        running(tmp_path / "traces", *_tls(certs), "--otlp-grpc-port", str(port)) as back,
        otelcol(tmp_path / "queue", endpoint, secrets, certs),
    ):
        same(wait_for(back.pages, expected[0]["trace"], len(expected)), expected)


def _counted(collector: Otelcol, name: str, count: int) -> None:
    """Wait until the sum of what the Collector itself has under ``name`` is as much as ``count``."""

    def enough() -> bool:
        text = httpx.get(f"http://{collector.own_metrics}/metrics", trust_env=False, timeout=60).text
        return sum(float(value) for value in re.findall(rf"^{name}{{[^}}]*}} (\S+)$", text, re.MULTILINE)) >= count

    wait_until(enough)


def test_the_configuration_for_tempo_is_the_same() -> None:
    """The Collector of the Tempo variant differs in where it sends to, by the variable that the configuration reads."""
    text = (DEPLOY / "otelcol" / "collector.yaml").read_text(encoding="utf-8")
    assert "${env:OTELCOL_TRACES_ENDPOINT:-jaeger:4317}" in text
