"""``--url`` of other people's back ends, whose answers are as their documentation has them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from causal_otel.cli import main
from causal_otel.cli.remote.jaeger_json import traces
from causal_otel.cli.remote.tempo import traceql
from causal_otel.collector.analysis import build
from causal_otel.collector.query import Query
from causal_otel.collector.query_line import parse
from causal_otel.collector.receive import otlp_json
from tests.cli.answering import Answering, answering
from tests.cli.storing import AFTER, BEFORE, ORDER, TRACES
from tests.collector.analysis.making import BEGIN, MS

_TIME = ("--start", BEFORE, "--end", AFTER)
_JSON, _PROTOBUF = "application/json", "application/protobuf"
_PAGE = (200, "text/html", b"<html>the same page for every path</html>")


def _document(answer: Any) -> tuple[int, str, bytes]:
    return 200, _JSON, json.dumps(answer).encode()


# -- Tempo ---------------------------------------------------------------------------------------------------------


def _tempo() -> dict[str, tuple[int, str, bytes]]:
    found = {"traceID": ORDER.lstrip("0"), "rootServiceName": "api", "rootTraceName": "POST /orders", "durationMs": 100}
    return {
        "/api/echo": (200, "text/plain", b"echo"),
        "/api/search": _document({"traces": [found], "metrics": {}}),
        f"/api/traces/{ORDER}": (200, _PROTOBUF, TRACES[ORDER].SerializeToString()),
    }


def test_a_trace_of_tempo_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """It is recognised by its echo, and asked for OTLP in its binary form."""
    with answering(_tempo()) as found:
        assert main(["why", "--url", found.url, ORDER]) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        "100 ms: 45 % waiting for a PostgreSQL connection, 40 % own code, 15 % PostgreSQL"
    )
    (asked,) = (headers for path, _, headers in found.asked if path == f"/api/traces/{ORDER}")
    assert asked["accept"] == _PROTOBUF


def test_tempo_is_searched_in_its_own_language(capsys: pytest.CaptureFixture[str]) -> None:
    """What it finds is looked at again here: it may understand a condition otherwise."""
    with answering(_tempo()) as found:
        assert main(["traces", "--url", found.url, "--json", "--operation", '"POST /orders"', *_TIME]) == 0
        assert json.loads(capsys.readouterr().out)["trace_id"] == ORDER
        assert main(["traces", "--url", found.url, "--json", "--operation", '"GET /report"', *_TIME]) == 0
        assert capsys.readouterr().out == ""
        assert main(["why", "--url", found.url, "--error", *_TIME]) == 0
        assert "failed first" in capsys.readouterr().out
    first, _, third, *_ = found.questions("/api/search")
    assert first == {"q": '{ name = "POST /orders" }', "limit": "20", "start": "1700000000", "end": "1700000101"}
    assert third["q"] == "{ status = error }"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "{ true }"),
        ({"service": 'a"b'}, '{ resource.service.name = "a\\"b" }'),
        ({"operation_like": "orders.v1"}, '{ name =~ "(?i).*orders\\\\.v1.*" }'),
        ({"operation_like": "GET */x"}, '{ name =~ "(?i)GET\\\\ .*/x" }'),
        ({"kind": "client", "errors": True}, "{ kind = client && status = error }"),
        ({"shortest": 5, "longest": 7}, "{ duration >= 5ns && duration <= 7ns }"),
        ({"where": parse("user.id=42").where}, '{ ( ."user.id" = "42" || ."user.id" = 42 ) }'),
        ({"where": parse('a="b c"').where}, '{ ."a" = "b c" }'),
    ],
)
def test_a_query_in_traceql(given: dict[str, Any], expected: str) -> None:
    """As much of it as TraceQL can say."""
    assert traceql(Query(0, 1, **given)) == expected


def test_tempo_has_no_log_records(capsys: pytest.CaptureFixture[str]) -> None:
    """Which is said, whether they are searched or shown."""
    with answering(_tempo()) as found:
        assert main(["trace", "--url", found.url, ORDER, "--logs"]) == 1
        assert "Tempo has no log records: leave --logs out" in capsys.readouterr().err
        assert main(["traces", "--url", found.url, "--logs", "declined"]) == 1
        assert "Tempo has no log records to search: leave --logs out" in capsys.readouterr().err


def test_a_search_that_fails_does_not_hide_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """It is explained without its neighbours, which is said."""
    with answering({**_tempo(), "/api/search": (400, "text/plain", b"too long a time")}) as found:
        assert main(["why", "--url", found.url, ORDER]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("100 ms: 45 % waiting for a PostgreSQL connection")
    assert printed.err.startswith("Other traces of that time could not be asked for: ")
    assert "too long a time" in printed.err


def test_an_answer_that_is_no_trace_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Something stands before Tempo, and answers in its place."""
    with answering({**_tempo(), f"/api/traces/{ORDER}": _PAGE}) as found:
        assert main(["why", "--url", found.url, ORDER]) == 1
    assert "does not send traces as application/protobuf" in capsys.readouterr().err


# -- Jaeger --------------------------------------------------------------------------------------------------------

_OTHER = "cd" * 8


def _tag(key: str, value: Any, kind: str = "string") -> dict[str, Any]:
    return {"key": key, "type": kind, "value": value}


def _jaeger_trace() -> dict[str, Any]:
    def span(span_id: str, name: str, start: int, duration: int, **fields: Any) -> dict[str, Any]:
        return {
            "traceID": "7b",
            "spanID": span_id,
            "operationName": name,
            "startTime": BEGIN // 1000 + start,
            "duration": duration,
            "processID": "p1",
            "references": [],
            "tags": [],
            "logs": [],
            **fields,
        }

    child = {"refType": "CHILD_OF", "traceID": "7b", "spanID": "1"}
    query = [
        _tag("span.kind", "client"),
        _tag("db.system.name", "postgresql"),
        _tag("causal.pool.wait", 0.06, "float64"),
        _tag("rows", "9007199254740993", "int64"),
        _tag("cached", True, "bool"),
        _tag("error", True, "bool"),
        _tag("otel.status_code", "ERROR"),
        _tag("otel.status_description", "gone"),
        _tag("otel.scope.name", "causal_otel.asyncpg"),
    ]
    exception = {
        "timestamp": BEGIN // 1000 + 20_000,
        "fields": [_tag("event", "exception"), _tag("exception.type", "LostError")],
    }
    follows = {"refType": "FOLLOWS_FROM", "traceID": "7b", "spanID": _OTHER}
    return {
        "traceID": "7b",
        "spans": [
            span("1", "GET /stats", 0, 100_000, tags=[_tag("span.kind", "server")]),
            span(_OTHER, "SELECT", 10_000, 80_000, references=[child], tags=query, logs=[exception]),
            span("3", "wait Lock", 90_000, 5_000, references=[child, follows]),
            span("4", "later", 95_000, 9_000, references=[{**child, "refType": "FOLLOWS_FROM"}]),
        ],
        "processes": {"p1": {"serviceName": "shop", "tags": [_tag("host.name", "here")]}},
    }


_TRACE = f"{0x7B:032x}"


def _jaeger(**more: tuple[int, str, bytes]) -> dict[str, tuple[int, str, bytes]]:
    envelope = {"total": 0, "limit": 0, "offset": 0, "errors": None}
    return {
        "/api/services": _document({**envelope, "data": ["shop"]}),
        "/api/services/shop/operations": _document({**envelope, "data": ["GET /stats", "SELECT"]}),
        "/api/traces": _document({**envelope, "data": [_jaeger_trace()]}),
        f"/api/traces/{_TRACE}": _document({**envelope, "data": [_jaeger_trace()]}),
        **more,
    }


def _why(found: Answering, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["why", "--url", found.url, *arguments]) == 0
    return capsys.readouterr().out.splitlines()[0]


_SAID = "100 ms: 60 % waiting for a PostgreSQL connection, 20 % PostgreSQL, 20 % own code"


def test_a_trace_of_an_older_jaeger_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Its pages answer whatever is asked, and what it does not know of the newer API is told by the older one."""
    with answering(_jaeger(), otherwise=_PAGE) as found:
        assert _why(found, capsys, "7b".rjust(16, "0")) == _SAID
        assert _why(found, capsys, "--slowest", "stats", *_TIME) == _SAID
    first, second, *_ = (each for each in found.questions("/api/traces") if "operation" in each)
    assert first == {
        "service": "shop",
        "operation": "GET /stats",
        "start": str(BEGIN // 1000),
        "end": str(BEGIN // 1000 + 100_000_000),
        "limit": "20",
        "raw": "true",
    }
    assert second["minDuration"] == "100000us"


def test_ids_of_the_first_newer_api_are_not_understood(capsys: pytest.CaptureFixture[str]) -> None:
    """They were Base64: then the older API is asked."""
    (message,) = traces([_jaeger_trace()]).values()
    document = json.loads(otlp_json.dumps(message))
    for group in document["resourceSpans"]:
        for each in group["scopeSpans"][0]["spans"]:
            each["traceId"] = base64.b64encode(bytes.fromhex(each["traceId"])).decode()
    with answering(_jaeger(**{f"/api/v3/traces/{_TRACE}": _document({"result": document})})) as found:
        assert _why(found, capsys, _TRACE) == _SAID


def test_jaegers_own_form_is_read() -> None:
    """Types, statuses, events, instrumentation; ids whose zeros are left out; the parent, and links that are none."""
    view = build(traces([_jaeger_trace()])[bytes.fromhex(_TRACE)])
    assert (view.trace_id, [each.name for each in view.spans]) == (
        _TRACE, ["GET /stats", "SELECT", "wait Lock", "later"],
    )  # fmt: skip
    root, query, lock, later = view.spans
    assert (root.kind, root.span_id, root.service, root.resource["host.name"]) == (
        "server",
        f"{1:016x}",
        "shop",
        "here",
    )
    assert (query.kind, query.error, query.status_message) == ("client", True, "gone")
    assert query.attributes == {
        "db.system.name": "postgresql",
        "causal.pool.wait": 0.06,
        "rows": 9007199254740993,
        "cached": True,
    }
    assert (query.scope.name, query.start, query.duration) == ("causal_otel.asyncpg", BEGIN + 10 * MS, 80 * MS)
    assert [(each.name, each.time, each.attributes) for each in query.events] == [
        ("exception", BEGIN + 20 * MS, {"exception.type": "LostError"})
    ]
    assert {each.parent for each in (query, lock, later)} == {root}
    assert [(each.span_id, each.attributes) for each in lock.links] == [(_OTHER, {})]
    assert (lock.detached, later.detached) == (False, True)


@pytest.mark.parametrize(
    "data",
    [
        [None],
        ["text"],
        [{"spans": None}],
        [{"spans": [None, {}, {"traceID": "x", "spanID": "1"}, {"traceID": "0", "spanID": "1"}, {"traceID": 7}]}],
        [{"spans": [{"traceID": "1" * 33, "spanID": "1"}]}],
    ],
)
def test_what_is_no_span_is_left_out(data: list[Any]) -> None:
    """Whatever stands in its place."""
    assert traces(data) == {}


def test_an_odd_span_is_read_as_far_as_it_goes() -> None:
    """Values of another type than they say, times that are none, references to nowhere."""
    odd = {
        "traceID": "1",
        "spanID": "2",
        "startTime": "now",
        "duration": -5,
        "tags": [_tag("n", "many", "int64"), _tag("f", None, "float64"), _tag("b", "???", "binary"), {"value": 1}, 7],
        "references": [None, {"refType": "CHILD_OF", "traceID": "1", "spanID": "zz"}],
        "logs": [None, {"timestamp": None, "fields": [_tag("message", "hello")]}],
    }
    ((span,),) = (build(each).spans for each in traces([{"spans": [odd]}]).values())
    assert span.attributes == {"n": "many", "f": "", "b": "???"}
    assert [(each.name, each.attributes) for each in span.events] == [("log", {"message": "hello"})]
    assert span.parent is None


def test_what_jaeger_complains_of_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    """In its own words."""
    refused = 400, _JSON, json.dumps({"data": None, "errors": [{"code": 400, "msg": "no such thing"}]}).encode()
    with answering(_jaeger(**{"/api/traces": refused})) as found:
        assert main(["traces", "--url", found.url, "--service", "shop"]) == 1
    assert capsys.readouterr().err == f"causal-otel traces: {found.url}: no such thing\n"


# -- whoever is there ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_PAGE, "answers, but not as a query API of causal_otel's collector, Jaeger or Tempo"),
        (
            (302, "text/html", b"https://sso.example.com/login"),
            "sends elsewhere, to https://sso.example.com/login: if that",
        ),
        ((503, "text/plain", b"starting\x1b[2J"), "answers 503: starting [2J"),
        ((401, "text/plain", b"who?"), "wants a token"),
        ((403, "text/plain", b"not you"), "answers 403: not you"),
    ],
)
def test_whoever_else_answers_is_described(
    capsys: pytest.CaptureFixture[str], answer: tuple[int, str, bytes], message: str
) -> None:
    """With what it said, and what to do."""
    with answering({}, otherwise=answer) as found:
        assert main(["why", "--url", found.url, ORDER]) == 1
        assert capsys.readouterr().err.startswith(f"causal-otel why: {found.url} {message}")


def test_a_path_before_the_api_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """As behind a proxy that serves it below a path; the token is sent along."""
    with answering({f"/traces{path}": answer for path, answer in _tempo().items()}) as found:
        assert main(["why", "--url", f"{found.url}/traces/", ORDER]) == 0
    assert capsys.readouterr().out.startswith("100 ms: ")


def test_the_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Bearer, with every request, though the address has a password of its own."""
    monkeypatch.setenv("CAUSAL_OTEL_COLLECTOR_TOKEN", "from-the-variable")
    with answering(_tempo()) as found:
        assert main(["why", "--url", found.url.replace("//", "//user:password@"), ORDER]) == 0
    assert {headers.get("authorization") for _, _, headers in found.asked} == {"Bearer from-the-variable"}
