"""Pages of figures that there is no time to read all of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from causal_otel.collector.app import reading_routes
from causal_otel.collector.reading import Reading
from causal_otel.collector.store.days import DAY, day_of
from tests.collector.store.endless import Hurried, keep_failures, plant_endless_day
from tests.collector.web.sites import status_document

TODAY = day_of(time.time_ns())

PAGES = (
    "/operations?lookback=7d",
    "/errors?lookback=7d",
    "/error?type=ValueError&lookback=7d",
    "/runtime?lookback=7d",
    "/service?service=shop&lookback=7d",
    "/operation?service=shop&operation=ask&lookback=7d",
    "/map?lookback=7d",
)
DOCUMENTS = ("/operations.json?lookback=7d", "/errors.json?lookback=7d", "/map.json?lookback=7d")
JAEGER = ("/api/dependencies?endTs={now}&lookback=604800000", "/api/metrics/calls?service=shop&lookback=604800000")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a failure at noon of each of the last days, that of today just now."""
    return keep_failures(tmp_path_factory.mktemp("store"), TODAY)


@pytest.fixture
def client(directory: Path) -> Iterator[TestClient]:
    """The pages over this store."""
    with Hurried(directory) as reader:
        yield TestClient(Starlette(routes=reading_routes(Reading(reader), status=status_document, put=None)))


def _said(day: int) -> str:
    return time.strftime("figures of before %b %d 00:00 UTC are missing", time.gmtime(day * DAY / 10**9))


@pytest.mark.parametrize("address", PAGES)
def test_a_page_tells_what_it_had_no_time_for(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Since when its figures are whole, above those that were read."""
    plant_endless_day(monkeypatch, TODAY - 1)
    answer = client.get(address)
    assert answer.status_code == 200
    assert "Partial result" in answer.text
    assert _said(TODAY) in answer.text


@pytest.mark.parametrize("address", PAGES)
def test_a_page_for_which_there_was_time_says_nothing(client: TestClient, address: str) -> None:
    """All figures are there."""
    answer = client.get(address)
    assert answer.status_code == 200
    assert "Partial result" not in answer.text


@pytest.mark.parametrize("address", PAGES)
def test_a_page_without_any_figures_does_not_say_that_there_are_none(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Nothing failed, nothing was called: that is not known."""
    plant_endless_day(monkeypatch, TODAY)
    answer = client.get(address)
    assert answer.status_code == 200
    assert "figures are missing, or too low" in answer.text
    assert 'class="card empty"' not in answer.text


def test_documents_tell_it_too(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a time that figures are incomplete before; none if they are not."""
    plant_endless_day(monkeypatch, TODAY - 1)
    for address in DOCUMENTS:
        assert client.get(address).json()["incomplete_before_unix_nano"] == TODAY * DAY
        assert "incomplete_before_unix_nano" not in client.get(address.replace("7d", "1s")).json()


def test_jaeger_is_not_answered_by_half(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers cannot say that they are incomplete: so it is told what to ask for instead."""
    plant_endless_day(monkeypatch, TODAY - 1)
    for address in JAEGER:
        answer = client.get(address.format(now=time.time_ns() // 10**6))
        assert answer.status_code == 503
        assert "ask for a shorter lookback" in answer.text
