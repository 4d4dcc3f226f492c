"""Who watches over a collector learns whether it lives, and whether it can keep what comes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from causal_otel.collector.store.writer import QueueFull, Writer
from tests.collector.running import Running, one_span, running
from tests.collector.spans import request, span, traces


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A collector with a token."""
    with running(tmp_path_factory.mktemp("traces"), environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": "a-token"}) as found:
        yield found


@pytest.mark.parametrize("port", ["pages", "http"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "body"), [("/health", "ok\n"), ("/ready", "ready\n")])
def test_no_token_is_needed(guarded: Running, port: str, method: str, path: str, body: str) -> None:
    """Both answer on the ports of the pages and of OTLP/HTTP, without the token that everything else asks for."""
    response = httpx.request(method, getattr(guarded, port) + path, trust_env=False, timeout=30)
    assert (response.status_code, response.text) == (200, "" if method == "HEAD" else body)
    assert guarded.get("/status.json").status_code == 401
    assert guarded.post(one_span(1)).status_code == 401


def test_not_ready_while_nothing_can_be_kept(tmp_path: Path) -> None:
    """When spans could not be written, /ready is 503 with the reason until some could; /health stays 200."""
    directory = tmp_path / "traces"
    with running(directory) as collector:
        assert collector.get("/ready").status_code == 200
        shutil.rmtree(directory)
        assert collector.post(one_span(1)).status_code == 503
        for port in (collector.pages, collector.http):
            response = httpx.get(f"{port}/ready", trust_env=False, timeout=30)
            assert response.status_code == 503
            assert str(directory) in response.text
            assert httpx.get(f"{port}/health", trust_env=False, timeout=30).status_code == 200


def test_not_ready_while_too_much_waits(tmp_path: Path) -> None:
    """A writer whose queue is full says so, and one that has caught up does not."""
    body = request(traces(span()))
    writer = Writer(tmp_path, queue_bytes=len(body))
    waiting = writer.put(body)
    with pytest.raises(QueueFull):
        writer.put(request(traces(span("another"))))
    assert writer.not_ready() == "too many spans are waiting to be written"
    writer.start()
    assert waiting.result(30).spans == 1
    assert writer.not_ready() == ""
    writer.close(30)
