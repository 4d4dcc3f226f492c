"""Traces are imported from a file of OTLP JSON, or refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.applications import Starlette
from starlette.testclient import TestClient

from causal_otel.collector import web
from causal_otel.collector.reading import Reading
from causal_otel.collector.receive import otlp_json
from causal_otel.collector.web import imports
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import broken, shop
from tests.collector.web.trace_site import (
    BROKEN,
    SHOP,
    application,
    visible,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


def test_an_upload_is_kept_and_shown(serve: Callable[[ASGIApp], str], open_page: OpenPage, tmp_path: Path) -> None:
    """A file of OTLP JSON is imported through the form, and its trace opens."""
    page = open_page(f"{serve(application(MemoryReader()))}/import")
    (tmp_path / "trace.json").write_bytes(otlp_json.dumps(shop()))
    page.set_input_files("#file", tmp_path / "trace.json")
    page.click("button.primary")
    page.wait_for_url(f"**/trace/{SHOP}")
    assert visible(page) == 23


def post(client: TestClient, data: bytes, **headers: str) -> Any:
    """Upload a file."""
    return client.post("/import", files={"file": ("t.json", data)}, headers=headers, follow_redirects=False)


def test_several_traces_in_a_file_are_listed() -> None:
    """With more than one trace, the page links to each."""
    both = TracesData(resource_spans=[*shop().resource_spans, *broken().resource_spans])
    client = TestClient(application(MemoryReader()))
    text = post(client, otlp_json.dumps(both)).text
    assert f"/trace/{SHOP}" in text
    assert f"/trace/{BROKEN}" in text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be read"),
        (b"not json", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "no spans"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"}]}]}]}', "no valid id"),
        (
            json.dumps(
                {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "0" * 32, "spanId": "1" * 16}]}]}]}
            ).encode(),
            "zeros only",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    """Nothing of it is kept, and the page says what is wrong."""
    reader = MemoryReader()
    answer = post(TestClient(application(reader)), data)
    assert answer.status_code == 400
    assert reason in answer.text
    assert not reader.recent(1).trace_ids


def test_uploads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too large is refused, whether by its size or by the form around it."""
    monkeypatch.setattr(imports, "FILE_LIMIT", 1000)
    client = TestClient(application(MemoryReader()))
    assert post(client, b" " * 1500).status_code == 413
    assert post(client, b" " * 200_000).status_code == 413


def test_other_sites_cannot_upload() -> None:
    """A form on another site is refused, though a browser sends it."""
    answer = post(TestClient(application(MemoryReader())), otlp_json.dumps(shop()), **{"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


def test_a_form_without_a_file_is_refused() -> None:
    """Forgetting the file is said so, and so is a form that is none."""
    client = TestClient(application(MemoryReader()))
    assert "No file was chosen" in client.post("/import", data={"x": "y"}).text
    broken_form = client.post("/import", content=b"x", headers={"content-type": "multipart/form-data; boundary=b"})
    assert broken_form.status_code == 400


def test_a_store_that_cannot_keep_is_told_of() -> None:
    """The user is told to try again if the store does not take the spans."""

    def put(_: bytes) -> Future[Any]:
        raise OSError("no space left")

    routes = web.routes(Reading(MemoryReader()), status=dict, put=put)
    answer = post(TestClient(Starlette(routes=routes)), otlp_json.dumps(shop()))
    assert answer.status_code == 503
    assert "no space left" in answer.text


def test_without_a_store_to_write_there_is_no_import() -> None:
    """The page says where imports are possible, and takes none."""
    client = TestClient(application(MemoryReader(), writable=False))
    assert "takes no imports" in client.get("/import").text
    assert post(client, otlp_json.dumps(shop())).status_code == 403
