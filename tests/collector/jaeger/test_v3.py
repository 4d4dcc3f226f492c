"""The newer API where Jaeger's own answers leave something open."""

from __future__ import annotations

import json

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.testclient import TestClient

from causal_otel.collector.receive import otlp_json
from tests.collector.jaeger.conftest import OURS, application
from tests.collector.oracle import MemoryReader
from tests.collector.spans import NOON, span, traces

WINDOW = {"query.startTimeMin": "2026-11-22T11:00:00Z", "query.startTimeMax": "2026-11-22T23:00:00Z"}


def test_a_trace_of_ours() -> None:
    """A trace of this library comes back as the OTLP JSON that it is, to the letter, and so does its summary."""
    with TestClient(application(MemoryReader([otlp_json.loads((OURS / "trace.otlp.json").read_bytes())]))) as http:
        expected = {"result": json.loads((OURS / "trace.otlp.json").read_text("utf-8"))}
        assert http.get("/api/v3/traces/4bf92f3577b34da6a3ce929d0e0e4736").json() == expected
        assert http.get("/api/v3/traces", params={"query.serviceName": "worker", **WINDOW}).json() == expected
        summaries = http.get("/api/v3/trace-summaries", params=WINDOW).json()
        assert summaries == json.loads((OURS / "summaries.json").read_text("utf-8"))


def test_what_pages_insist_on() -> None:
    """A resource has a name, an attribute a value, and no span ends before it starts; what is kept stays as it came."""
    odd = span("odd", duration=-5, tags={"none": None, "list": [None, 1], "map": {"none": None}})
    reader = MemoryReader([traces(odd, service=None)])
    with TestClient(application(reader)) as http:
        (group,) = http.get("/api/v3/traces/1").json()["result"]["resourceSpans"]
        assert group["resource"]["attributes"] == [
            {"key": "service.name", "value": {"stringValue": "missing-service-name"}}
        ]
        (shown,) = group["scopeSpans"][0]["spans"]
        assert shown["endTimeUnixNano"] == shown["startTimeUnixNano"] == str(NOON)
        assert '"value": {}' not in json.dumps(shown)
        assert "{}" not in json.dumps(shown["attributes"])
        (raw,) = http.get("/api/v3/traces/1?rawTraces=true").json()["result"]["resourceSpans"][0]["scopeSpans"][0][
            "spans"
        ]
        assert raw["endTimeUnixNano"] == str(NOON - 5)
    kept = reader.trace((1).to_bytes(16, "big"))
    assert kept is not None
    assert kept.resource_spans[0].scope_spans[0].spans[0] == odd


def test_kinds() -> None:
    """An operation without a kind is called internal, as in Jaeger."""
    reader = MemoryReader([traces(span("a", kind=Span.SPAN_KIND_UNSPECIFIED), span("b", kind=Span.SPAN_KIND_CLIENT))])
    with TestClient(application(reader)) as http:
        both = [{"name": "a", "spanKind": "internal"}, {"name": "b", "spanKind": "client"}]
        assert http.get("/api/v3/operations?service=shop").json() == {"operations": both}
        assert http.get("/api/v3/operations?service=shop&spanKind=client").json() == {"operations": both[1:]}
        assert http.get("/api/operations?service=shop").json()["data"][0] == {"name": "a", "spanKind": ""}


@pytest.mark.parametrize("limit", ["1", "3"])
@pytest.mark.parametrize("name", ["query.searchDepth", "query.search_depth", "query.num_traces"])
def test_depth(golden_client: httpx.Client, name: str, limit: str) -> None:
    """The number of traces has three names."""
    params = {"query.serviceName": "shop-web", name: limit, **WINDOW}
    summaries = golden_client.get("/api/v3/trace-summaries", params=params).json()["summaries"]
    assert len(summaries) == int(limit)
    assert summaries[0]["traceId"] == "1038f0b5e998d0eee4ddf9b9c28ee907"


def test_camel_case_goes_before_snake_case(golden_client: httpx.Client) -> None:
    """Where both spellings of a parameter are given, the canonical one counts."""
    params = {"query.serviceName": "gold-back", "query.service_name": "nope", **WINDOW}
    assert golden_client.get("/api/v3/traces", params=params).status_code == 200


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"query.startTimeMin": "x"}, "malformed parameter query.startTimeMin: parsing time"),
        ({"query.startTimeMax": "2026-11-22T11:00:00Z"}, "query.startTimeMin must be before query.startTimeMax"),
        ({"query.startTimeMax": ""}, "query.start_time_min and query.start_time_max are required"),
        ({"query.searchDepth": "-1"}, 'malformed parameter query.searchDepth: strconv.ParseUint: parsing "-1"'),
        ({"query.num_traces": "x"}, 'malformed parameter query.num_traces: strconv.Atoi: parsing "x": invalid syntax'),
        ({"query.durationMin": "2s", "query.durationMax": "1s"}, "query.durationMax must not be less than"),
        ({"query.attributes": '{"a":1}'}, "malformed parameter query.attributes: json: cannot unmarshal number"),
        ({"query.filter": "{}"}, "query.filter is not supported: use query.attributes"),
    ],
)
def test_refusals(golden_client: httpx.Client, params: dict[str, str], message: str) -> None:
    """What is malformed is refused in Jaeger's form, under the name that was used."""
    for path in ("/api/v3/traces", "/api/v3/trace-summaries"):
        response = golden_client.get(path, params=WINDOW | params)
        assert response.status_code == 400
        assert response.json()["error"]["httpCode"] == 400
        assert response.json()["error"]["message"].startswith(message) or message in response.json()["error"]["message"]


def test_nothing_found(golden_client: httpx.Client) -> None:
    """A search for whole traces that finds none is 404, one for summaries an empty list."""
    params = {"query.serviceName": "nope", **WINDOW}
    assert golden_client.get("/api/v3/traces", params=params).status_code == 404
    assert golden_client.get("/api/v3/trace-summaries", params=params).json() == {"summaries": []}
