"""``causal-otel doctor`` names each planted misconfiguration first, and the fix that it gives mends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from causal_otel.doctor.examination import KINDS
from tests.doctor import planted_applications, planted_collectors
from tests.doctor.examining import APPLICATION, examine
from tests.doctor.planting import PLANTS, Plant, Soil
from tests.services.received import ReceivedSpans

__all__ = ["planted_applications", "planted_collectors"]


def _parameters() -> list[object]:
    return [pytest.param(each, id=each.name, marks=() if each.quick else pytest.mark.long) for each in PLANTS]


@pytest.mark.parametrize("planted", _parameters())
def test_what_is_planted_is_named_first(planted: Plant, tmp_path: Path, receiver: ReceivedSpans) -> None:
    """The first finding is what was planted, with its severity, exit status and a fix; pasted, the fix mends it."""
    with planted.set_up(Soil(tmp_path, receiver.endpoint)) as case:
        report = examine(tmp_path, *case.arguments, **case.variables)
        first = report.first
        assert (first["code"], first["severity"]) == (planted.code, planted.severity), report
        assert report.status == (planted.severity == "error")
        assert all(word in first["fix"] for word in planted.words), first
        assert first["what"].endswith(".")
        if case.paste is not None:
            fix = first["fix"]
            for placeholder, known in case.paste.items():
                fix = fix.replace(placeholder, known)
            mended = examine(tmp_path, *case.arguments, pasted=fix, **case.variables)
            assert (mended.findings, mended.status) == ([], 0), (fix, mended)


def test_more_than_twenty_are_planted() -> None:
    """So many are tried, and most kinds of findings are among them; the others need a process that runs."""
    assert len(PLANTS) >= 20
    assert {each.code for each in PLANTS} <= {kind.code for kind in KINDS}


def test_a_healthy_application_has_no_findings(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """Of an application that is well, has a name and sends to a receiver that answers, nothing is found: status 0."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    report = examine(tmp_path, "uvicorn", "shop:app", OTEL_SERVICE_NAME="shop", OTLP_ENDPOINT=receiver.endpoint)
    assert (report.findings, report.status, report.complaint) == ([], 0, "")
    assert "shop:app: imported" in report.looked_at
    assert any(re.match("traced: .*asgi", line) for line in report.looked_at)
    (span,) = receiver.spans()
    assert (span["name"], span["resource"]["service.name"]) == ("test span", "causal-otel-doctor")
    assert (span["parent_span_id"], span["status"]["code"]) == (None, "UNSET")
    assert span["end"] - span["start"] == 1_000_000
