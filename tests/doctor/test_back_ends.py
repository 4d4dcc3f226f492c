"""The test span is looked for again, where the traces are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collector.running import running
from tests.doctor.examining import examine
from tests.faults.scripted import refused_port
from tests.services.received import ReceivedSpans

pytestmark = pytest.mark.long

_TOKEN = "a-token-of-the-tests"


def test_found_again(tmp_path: Path) -> None:
    """Our collector, by HTTP and by gRPC, with a token: the test span is there at once, and nothing is found."""
    variables = {
        "CAUSAL_OTEL_COLLECTOR_TOKEN": _TOKEN,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{_TOKEN}",
    }
    with running(tmp_path / "traces", environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": _TOKEN}) as collector:
        for protocol, endpoint in (("http/protobuf", collector.http), ("grpc", collector.grpc)):
            endpoint = endpoint if "://" in endpoint else f"http://{endpoint}"
            report = examine(
                tmp_path,
                "--url",
                collector.pages,
                OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
                OTLP_ENDPOINT=endpoint,
                **variables,
            )
            assert (report.findings, report.status) == ([], 0), report
            assert any(f"found again at {collector.pages}" in line for line in report.looked_at)


def test_kept_by_somebody_else(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """Spans that are sent to one place and looked for in another are not found: the first finding."""
    with running(tmp_path / "traces") as collector:
        report = examine(tmp_path, "--url", collector.pages, OTLP_ENDPOINT=receiver.endpoint)
    assert (report.codes(), report.status) == (["span-not-found"], 0)
    assert collector.pages in report.first["what"]
    assert "--url" in report.first["fix"]


def test_a_query_api_that_does_not_answer(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """Whether the span has arrived is not known then, which is said and is no finding."""
    with refused_port() as port:
        report = examine(tmp_path, "--url", f"http://127.0.0.1:{port}", OTLP_ENDPOINT=receiver.endpoint)
    assert (report.findings, report.status) == ([], 0)
    assert any("does not answer" in line for line in report.looked_at)
