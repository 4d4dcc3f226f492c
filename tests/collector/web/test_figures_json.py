"""The figures of pages as JSON: the time that is asked for, and what is said of one that cannot be understood."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.figures import Selected
from causal_otel.collector.trends.documents import figures, read_errors, read_operations
from causal_otel.collector.trends.errors import errors
from causal_otel.collector.trends.periods import Period
from causal_otel.collector.web.templating import utc
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MINUTE, merged
from tests.collector.trends.platform import orders
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
    start = recent["end_unix_nano"] - 46 * HOUR
    assert recent["start_unix_nano"] == (start // HOUR * HOUR if name == "map" else start)
    assert abs(recent["end_unix_nano"] - time.time_ns()) < 10 * MINUTE


@pytest.mark.parametrize("operation", ["orders", "POST*", '"load"', "nothing"])
@pytest.mark.parametrize("name", ["operations", "errors"])
def test_the_figures_of_some_operations(name: str, operation: str) -> None:
    """Named as in a search; a quote that is not closed is a mistake."""
    found = asked(f"/{name}.json", start=utc(NOW - 46 * HOUR, _MOMENT), end=utc(NOW, _MOMENT), operation=operation)
    period = Period(found["start_unix_nano"], found["end_unix_nano"])
    assert found == json.loads(json.dumps(figures(READER, name, None, period, operation)))
    everything = figures(READER, name, None, period)
    assert bool(found[name]) == (operation != "nothing")
    assert found[name] != everything[name]
    answer = TestClient(site(READER)).get(f"/{name}.json", params={"operation": f'"{operation}'})
    assert (answer.status_code, list(answer.json()["mistakes"])) == (400, ["operation"])


@pytest.mark.parametrize("service", [None, "bank"])
def test_documents_are_read_back(service: str | None) -> None:
    """What an agent's tool reads of another collector is what it would have counted itself."""
    period = Period(NOW - 46 * HOUR, NOW)
    document = json.loads(json.dumps(figures(READER, "errors", service, period)))
    assert read_errors(document) == errors(READER, Selected(service), period)
    document = json.loads(json.dumps(figures(READER, "operations", service, period)))
    counted = READER.statistics(period.start, period.end, service)
    assert read_operations(document) == [replace(each, buckets=()) for each in counted]


@pytest.mark.parametrize("name", ["gateway", "postgresql", "celery", "nobody"])
def test_a_service_of_the_map_is_a_node_to_look_at(name: str) -> None:
    """The page calls it focus, the other documents service; of a time that is told by its ends or by its length."""
    chance = random.Random(5)
    requests = merged(*(each for number in range(1, 13) for each in orders(number, NOW - MINUTE, chance)))
    client = TestClient(site(MemoryReader([requests])))
    end = NOW // HOUR * HOUR + HOUR
    ends = {"start": utc(end - 24 * HOUR, _MOMENT), "end": utc(end, _MOMENT)}
    whole, one, focused = (
        client.get("/map.json", params={**ends, **given}).json() for given in ({}, {"service": name}, {"focus": name})
    )
    assert one == focused
    assert one["edges"] == [each for each in whole["edges"] if name in (each["parent"], each["child"])]
    recent = client.get("/map.json", params={"lookback": "23h", "service": name}).json()
    assert {(each["parent"], each["child"], each["calls"]) for each in recent["edges"]} == {
        (each["parent"], each["child"], each["calls"]) for each in one["edges"]
    }


@pytest.mark.parametrize(
    ("parameters", "field", "said"),
    [
        ({"lookback": "soon"}, "lookback", "is not a duration"),
        ({"lookback": "800d"}, "lookback", "longer than a year"),
        ({"lookback": "0s"}, "lookback", "longer than nothing"),
        ({"start": "2001-01-01", "end": "2026-11-01"}, "start", "longer than a year"),
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
