"""The older API where Jaeger's own answers leave something open."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData
from starlette.testclient import TestClient

from causal_otel.collector.jaeger import answers
from causal_otel.collector.jaeger.legacy_model import ui_trace
from causal_otel.collector.query import Found, Query
from causal_otel.collector.receive import otlp_json
from tests.collector.jaeger.conftest import OURS, application
from tests.collector.oracle import MemoryReader
from tests.collector.spans import NOON, event, merged, span, traces

WINDOW = {"start": str(NOON // 1000 - 1), "end": str(NOON // 1000 + 10**9)}


def client(*messages: TracesData) -> TestClient:
    return TestClient(application(MemoryReader(messages)))


@pytest.fixture
def ours() -> Iterator[TestClient]:
    """A client over a trace of this library."""
    with client(otlp_json.loads((OURS / "trace.otlp.json").read_bytes())) as found:
        yield found


def test_a_trace_of_ours(ours: TestClient) -> None:
    """Attributes of this library, events, links and errors have their form, to the letter."""
    response = ours.get("/api/traces/4bf92f3577b34da6a3ce929d0e0e4736")
    assert response.json() == json.loads((OURS / "legacy.json").read_text("utf-8"))


def test_it_is_found_by_what_is_ours(ours: TestClient) -> None:
    """The attributes of this library are tags like any other."""
    for tags in ({"causal.cancelled": "true"}, {"causal.queue.wait": "0.137", "error": "true"}, {"attempt": "2"}):
        for service in ("shop", "worker"):
            params = {"service": service, "tags": json.dumps(tags), **WINDOW}
            found = ours.get("/api/traces", params=params).json()["data"]
            assert len(found) == ((service == "shop") == ("attempt" in tags))


def test_pretty(golden_client: httpx.Client) -> None:
    """With prettyPrint the same document is indented by four, unless it says false."""
    plain = golden_client.get("/api/services")
    pretty = golden_client.get("/api/services?prettyPrint=1")
    assert pretty.json() == plain.json()
    assert pretty.text.startswith('{\n    "data": [\n        "')
    assert golden_client.get("/api/services?prettyPrint=false").text == plain.text


def test_head_and_options(golden_client: httpx.Client) -> None:
    """HEAD tells the length that GET would have, OPTIONS what may be asked, and neither permits other origins."""
    target = "/api/traces/0af7651916cd43dd8448eb211c80319c"
    plain = {"Accept-Encoding": "identity"}
    head = golden_client.head(target, headers=plain)
    assert head.headers["content-length"] == golden_client.get(target, headers=plain).headers["content-length"]
    options = golden_client.options(target, headers={"Origin": "http://x.example"})
    assert options.headers["allow"] == "GET, HEAD, OPTIONS"
    assert not [name for name in (*head.headers, *options.headers) if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_wrong_methods(golden_client: httpx.Client, method: str) -> None:
    """A method that a path does not take is refused with those that it takes."""
    for target, key in (("/api/services", "errors"), ("/api/v3/services", "error")):
        response = golden_client.request(method, target)
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, HEAD, OPTIONS"
        assert response.json()[key]


@pytest.mark.parametrize("limit", ["0", "-1", "", "1500", "2147483647"])
def test_limits(golden_client: httpx.Client, limit: str) -> None:
    """A limit of nothing is the usual one, and one that is too large is the largest."""
    params = {"service": "shop-web", "limit": limit, "start": "1795377540000000", "end": "1795381200000000"}
    assert len(golden_client.get("/api/traces", params=params).json()["data"]) == 40


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("traces?service=a&limit=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("traces?service=a&raw=x", "unable to parse param 'raw': strconv.ParseBool: parsing \"x\": invalid syntax"),
        ("traces?service=a&start=5&end=5", "invalid parameter: start time must be before end time"),
        ("traces?traceID=zz", 'cannot parse traceID param: strconv.ParseUint: parsing "zz": invalid syntax'),
        ("traces/zz", 'strconv.ParseUint: parsing "zz": invalid syntax'),
        ("traces/" + "0" * 33, "TraceID cannot be longer than 32 hex characters: " + "0" * 33),
        ("metrics/calls", "unable to parse param 'service': please provide at least one service name"),
        ("metrics/calls?service=a&spanKind=x", "unable to parse param 'spanKind': unsupported span kind: 'x'"),
    ],
)
def test_refusals(golden_client: httpx.Client, target: str, message: str) -> None:
    """What is malformed is refused in Jaeger's envelope and words."""
    response = golden_client.get(f"/api/{target}")
    assert response.status_code == 400
    assert response.json() == {
        "data": None, "total": 0, "limit": 0, "offset": 0, "errors": [{"code": 400, "msg": message}],
    }  # fmt: skip


def test_no_number_is_too_large(golden_client: httpx.Client) -> None:
    """Times at the ends of 64 bits are times like others."""
    ends = {"start": "0", "end": str(2**63 - 1)}
    assert len(golden_client.get("/api/traces", params={"service": "gold-back", **ends}).json()["data"]) == 1
    for end, lookback in ((2**63 - 1, 2**63 - 1), (-(2**63), 2**63 - 1), (0, -(2**63))):
        response = golden_client.get("/api/dependencies", params={"endTs": str(end), "lookback": str(lookback)})
        assert response.status_code == 200


def test_archive(golden_client: httpx.Client) -> None:
    """There is no archive, and a trace that is there is told so."""
    response = golden_client.post("/api/archive/0af7651916cd43dd8448eb211c80319c")
    assert response.status_code == 501
    assert response.json()["errors"] == [{"code": 501, "msg": "archive span storage was not configured"}]


def test_oddities() -> None:
    """Times that run backwards, missing parents, links to the parent, and numbers that JSON cannot hold are shown."""
    odd = span(
        "odd", id=1, parent=9, kind=Span.SPAN_KIND_UNSPECIFIED, duration=-5, tags={"n": float("nan"), "i": 2**53}
    )
    even = span(
        "even", id=2, parent=1, duration=1500, tags={"i": 2**53 - 1}, events=[event("late", time=9), event("e", time=5)]
    )
    trace = ui_trace(traces(odd, even, service=None))
    first, second = trace["spans"]
    assert (first["duration"], second["duration"]) == (0, 1)
    assert first["warnings"] == [
        "the span ends 5 ns before it starts",
        "the parent span 0000000000000009 is not in this trace",
    ]
    assert second["warnings"] is None
    tags = {tag["key"]: (tag["type"], tag["value"]) for tag in first["tags"]}
    assert tags["n"] == ("float64", "NaN")
    assert tags["i"] == ("int64", "9007199254740992")
    assert "span.kind" not in tags
    assert trace["traceID"] == "0" * 15 + "1"
    assert trace["processes"] == {"p1": {"serviceName": "missing-service-name", "tags": []}}


def test_transform_takes_several_traces(golden_client: httpx.Client) -> None:
    """A file with spans of several traces, mixed, becomes those traces, in the order in which they appear."""
    mixed = merged(
        traces(span("a", trace=7), span("b", trace=8), span("c", trace=7)), traces(span("d", trace=8), service="x")
    )
    data = golden_client.post("/api/transform", content=otlp_json.dumps(mixed)).json()["data"]
    assert [sorted(each["operationName"] for each in trace["spans"]) for trace in data] == [["a", "c"], ["b", "d"]]
    assert len(data[1]["processes"]) == 2


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"resourceSpans": 5}', b"\xff", b"[" * 100_000,
             b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"12","spanId":"34","name":"n"}]}]}]}'],
    ids=["empty", "list", "number", "no UTF-8", "deep", "ids"],
)  # fmt: skip
def test_transform_refuses_what_is_no_otlp(golden_client: httpx.Client, body: bytes) -> None:
    """What is not OTLP JSON is refused with the reason."""
    response = golden_client.post("/api/transform", content=body)
    assert response.status_code == 400
    assert response.json()["errors"][0]["msg"].startswith("cannot unmarshal OTLP: ")


def test_transform_is_bounded(golden_client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that is too large is refused before all of it is read."""
    monkeypatch.setattr("causal_otel.collector.jaeger.legacy.BODY_LIMIT", 1000)
    response = golden_client.post("/api/transform", content=b" " * 2000)
    assert response.status_code == 413


class Counting(MemoryReader):
    """Counts the traces that are read, and says that the deadline came."""

    def __init__(self, messages: Iterable[TracesData]) -> None:
        super().__init__(messages)
        self.read = 0

    def search(self, query: Query, *, seconds: float = 2.0) -> Found:
        return Found(super().search(query, seconds=seconds).trace_ids, complete=False)

    def trace(self, trace_id: bytes) -> TracesData | None:
        self.read += 1
        return super().trace(trace_id)


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer ends with the trace that reaches the bound, no more is read, and the answer says so."""
    monkeypatch.setattr(answers, "MAX_SPANS", 5)
    reader = Counting(traces(span(trace=trace), span(trace=trace, start=NOON + trace)) for trace in range(1, 11))
    with TestClient(application(reader)) as http:
        answer = http.get("/api/traces", params={"service": "shop", **WINDOW}).json()
        assert (len(answer["data"]), reader.read) == (3, 3)
        assert [error["msg"] for error in answer["errors"]] == [
            "the search took too long and was ended: ask for a shorter time or add conditions",
            "only 3 of 10 traces fit in one answer",
        ]
        several = http.get("/api/traces", params={"traceID": [f"{trace:x}" for trace in range(1, 11)]}).json()
        assert (len(several["data"]), len(several["errors"])) == (3, 7)
        times = {"query.startTimeMin": "2026-11-22T00:00:00Z", "query.startTimeMax": "2026-11-23T00:00:00Z"}
        newer = http.get("/api/v3/traces", params=times).json()
        assert len(newer["warnings"]) == 2
        assert http.get("/api/v3/trace-summaries", params=times).json()["warnings"] == newer["warnings"][:1]


def test_a_store_without_traces() -> None:
    """Nothing is an answer: empty lists, and 404 for a trace."""
    with client() as http:
        for target in ("/api/services", "/api/operations?service=a", "/api/traces?service=a", "/api/dependencies"):
            assert http.get(target).json() == {"data": [], "total": 0, "limit": 0, "offset": 0, "errors": None}
        assert http.get("/api/v3/services").json() == {"services": []}
        assert http.get("/api/traces/1").status_code == 404
