"""Our exporters and our sampler against a true Jaeger 2 with the configurations of deploy/jaeger/."""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from causal_otel.testing.process import LOOPBACK
from tests.deploy.files import DEPLOY
from tests.interop.arrived import Sent, same, send, wait_for
from tests.interop.running import Jaeger, jaeger, needed, otelcol
from tests.waiting import wait_until

_DEVELOPMENT = DEPLOY / "jaeger" / "development.yaml"
_NOWHERE = f"http://{LOOPBACK}:1"
_PRODUCTION = DEPLOY / "jaeger" / "production.yaml"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """Jaeger as for development, with Badger."""
    with jaeger(tmp_path_factory.mktemp("badger")) as running:
        yield running


@pytest.fixture(scope="module")
def sent(found: Jaeger) -> Sent:
    """What has been sent to it by OTLP/HTTP; it is there."""
    told = send(1, OTEL_SERVICE_NAME="by-name", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{LOOPBACK}:{found.http_port}")
    _arrived(found, told, "by-name")
    return told


def _arrived(found: Jaeger, told: Sent, service: str) -> str:
    """Assert that the trace of ``GET /orders`` is there, whole; returns its id."""
    expected = told.of_trace(told.trace_of("GET /orders"))
    arrived = wait_for(found.query, expected[0]["trace"], len(expected))
    assert len(expected) == 5
    assert {span["service"] for span in arrived} == {service}
    same(arrived, expected, model=True)
    trace_id: str = expected[0]["trace"]
    return trace_id


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    ("beside", "warnings"),
    [({"TRACING_EXPORTER": "jaeger"}, 0), ({}, 0), ({"TRACING_EXPORTER": "jaeger", "OTLP_ENDPOINT": _NOWHERE}, 1)],
    ids=["alone", "without the exporter", "beside another endpoint"],
)
def test_a_host_and_a_port_are_enough(found: Jaeger, protocol: str, beside: dict[str, str], warnings: int) -> None:
    """JAEGER_HOST and JAEGER_PORT are enough, and beat OTLP_ENDPOINT, which one warning says."""
    service = f"host-{protocol}-{len(beside)}"
    told = send(
        2,
        OTEL_SERVICE_NAME=service,
        JAEGER_HOST=LOOPBACK,
        JAEGER_PORT=found.grpc_port if protocol == "grpc" else found.http_port,
        **beside,
        **({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"} if protocol == "grpc" else {}),
    )
    _arrived(found, told, service)
    assert told.complaints.count("OTLP_ENDPOINT") == warnings, told.complaints


def test_what_has_arrived_is_found_again(found: Jaeger, sent: Sent) -> None:
    """Jaeger's search finds the trace by service, operation, tags, times and durations, and not beside them.

    With Badger each condition may hold for another span of the trace.
    """
    trace_id = sent.trace_of("GET /orders")
    (request,) = sent.named("GET /orders")
    start, end = request["start"] // 1000, request["end"] // 1000
    duration = end - start
    service = {"service": "by-name", "start": start - 10**6, "end": end + 10**6}

    assert "by-name" in found.get("/api/services").json()["data"]
    operations = {each["name"] for each in found.get("/api/operations", service="by-name").json()["data"]}
    assert operations >= {"GET /orders", "SELECT orders", "process charge"}
    finds: list[dict[str, Any]] = [
        {},
        {"operation": "GET /orders"},
        {"operation": "process charge"},
        {"tags": '{"user.id":"user-1"}'},
        {"tags": '{"error":"true"}'},
        {"tags": '{"unicode":"größer 漢字 🦊 \u202e"}'},
        {"tags": '{"large":"9007199254740993"}'},
        {"minDuration": "20ms"},
        {"operation": "GET /orders", "minDuration": f"{duration - 1000}us", "maxDuration": f"{duration + 1000}us"},
    ]
    misses: list[dict[str, Any]] = [
        {"operation": "GET /nothing"},
        {"tags": '{"user.id":"user-2"}'},
        {"minDuration": "1h"},
        {"maxDuration": "1us"},
        {"start": start - 10**9, "end": start - 10**8},
    ]
    assert [asked for asked in finds if trace_id not in found.search(**{**service, **asked})] == []
    assert [asked for asked in misses if trace_id in found.search(**{**service, **asked})] == []


def test_jaegers_pages_get_the_tree(found: Jaeger, sent: Sent) -> None:
    """In the form of Jaeger's pages each span refers to its parent, errors are marked, and events are logs."""
    trace = found.trace(sent.trace_of("GET /orders"))
    assert trace is not None
    spans = {span["operationName"]: span for span in trace["spans"]}
    parents = {
        name: [reference["spanID"] for reference in span["references"] if reference["refType"] == "CHILD_OF"]
        for name, span in spans.items()
    }
    root = spans["GET /orders"]["spanID"]
    assert parents["SELECT orders"] == parents["POST"] == parents["send charge"] == [root]
    assert parents["process charge"] == [spans["send charge"]["spanID"]]
    tags = {tag["key"]: tag["value"] for tag in spans["POST"]["tags"]}
    assert (tags["error"], tags["span.kind"]) == (True, "client")
    fields = {field["key"]: field["value"] for log in spans["POST"]["logs"] for field in log["fields"]}
    assert (fields["event"], fields["exception.message"]) == ("exception", "kaputt 💥")


# -- production --------------------------------------------------------------------------------------------------------


def test_jaeger_accepts_the_configuration_with_elasticsearch(certs: Path, secrets: Path) -> None:
    """``jaeger validate`` knows every key of the production configuration, and does not know a wrong one."""
    program = needed("jaeger")
    text = _PRODUCTION.read_text(encoding="utf-8")
    for config, good in ((text, True), (text.replace("use_ilm:", "use_elm:"), False)):
        done = subprocess.run(
            [program, "validate", "--config", f"yaml:{config}"],
            env={"JAEGER_CERTS": str(certs), "JAEGER_SECRETS": str(secrets)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode == 0) is good, done.stderr


def test_through_the_collector_to_jaeger_with_certificates(tmp_path: Path, certs: Path, secrets: Path) -> None:
    """Over TLS to the Collector, over mutual TLS to Jaeger: whole traces arrive, and outlive a restart of Jaeger.

    Badger stands in the place of Elasticsearch; all else of deploy/jaeger/production.yaml is as it is.
    """
    config = yaml.safe_load(_PRODUCTION.read_text(encoding="utf-8"))
    storage = yaml.safe_load(_DEVELOPMENT.read_text(encoding="utf-8"))["extensions"]["jaeger_storage"]
    config["extensions"]["jaeger_storage"]["backends"] = {"elasticsearch": storage["backends"]["badger"]}
    path = tmp_path / "jaeger.yaml"
    path.write_text(yaml.safe_dump(config))
    credentials = base64.b64encode(b"shop:s3cret").decode()
    with jaeger(tmp_path / "badger", path, JAEGER_CERTS=str(certs)) as found:
        endpoint = f"localhost:{found.grpc_port}"
        with otelcol(tmp_path / "queue", endpoint, secrets, certs, OTELCOL_SAMPLING_PERCENTAGE="100") as collector:
            for protocol, port in (("http/protobuf", collector.http_port), ("grpc", collector.grpc_port)):
                service = f"chain-{protocol[:4]}"
                told = send(
                    3,
                    OTEL_SERVICE_NAME=service,
                    OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
                    OTEL_EXPORTER_OTLP_ENDPOINT=f"https://localhost:{port}",
                    OTEL_EXPORTER_OTLP_CERTIFICATE=str(certs / "ca.crt"),
                    OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Basic%20{credentials}",
                )
                trace_id = _arrived(found, told, service)
    with jaeger(tmp_path / "badger", path, JAEGER_CERTS=str(certs)) as again:
        wait_until(lambda: again.trace(trace_id) is not None)
        assert trace_id in again.search(service=service, start=(time.time_ns() // 1000) - 10**9)
