"""The figures of pages as JSON: the time that is asked for, and what is said of one that cannot be understood."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.trends.documents import figures
from causal_otel.collector.trends.periods import Period
from causal_otel.collector.web.templating import utc
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MINUTE
from tests.collector.web.failing import failing
from tests.collector.web.sites import site

NOW = time.time_ns()
_MOMENT = "%Y-%m-%dT%H:%M:%S"
READER = MemoryReader(failing(NOW, count=40))


def asked(path: str, **parameters: str) -> Any:
    """What is answered."""
    return TestClient(site(READER)).get(path, params=parameters).json()


@pytest.mark.parametrize("name", ["operations", "errors", "map"])
@pytest.mark.parametrize("service", [None, "bank", "nobody"])
def test_the_figures_are_those_of_the_time(name: str, service: str | None) -> None:
    """Of a start and an end, and of a look-back, which both have whole hours."""
    given = {} if service is None else {"service": service}
    found = asked(f"/{name}.json", start=utc(NOW - 46 * HOUR, _MOMENT), end=utc(NOW, _MOMENT), **given)
    period = Period(found["start_unix_nano"], found["end_unix_nano"])
    assert found == json.loads(json.dumps(figures(READER, name, service, period)))
    recent = asked(f"/{name}.json", lookback="46h", **given)
    begun = 0 if name != "map" else HOUR  # which tells when the hour begins that is the first
    assert 46 * HOUR <= recent["end_unix_nano"] - recent["start_unix_nano"] <= 46 * HOUR + begun
    assert abs(recent["end_unix_nano"] - time.time_ns()) < 10 * MINUTE


@pytest.mark.parametrize(
    ("parameters", "field", "said"),
    [
        ({"lookback": "soon"}, "lookback", "is not a duration"),
        ({"lookback": "800d"}, "start", "longer than a year"),
        ({"start": "yesterday"}, "start", "write the time in UTC"),
        ({"end": "<b>"}, "end", "write the time in UTC"),
        ({"start": "2026-11-02", "end": "2026-11-01"}, "start", "the end is before the start"),
    ],
)
@pytest.mark.parametrize("name", ["operations", "errors", "map"])
def test_what_cannot_be_understood_is_told(name: str, parameters: dict[str, str], field: str, said: str) -> None:
    """By the field, as a search tells it, and as a bad request."""
    answer = TestClient(site(READER)).get(f"/{name}.json", params=parameters)
    assert answer.status_code == 400
    assert said in answer.json()["mistakes"][field]
