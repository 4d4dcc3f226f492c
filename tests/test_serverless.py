"""A function of AWS Lambda by Mangum: when its handler has returned, its spans have arrived."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.programs import run
from tests.faults.scripted import hang, scripted
from tests.patches.asgi_requests import SENDER, TRACE_ID, TRACEPARENT
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

_EVENT = {  # version 2.0 of API Gateway's payload for an HTTP API
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/orders/7",
    "rawQueryString": "page=2&token=secret",
    "headers": {
        "host": "api.example",
        "x-forwarded-proto": "https",
        "x-forwarded-port": "443",
        "user-agent": "tests",
        "traceparent": TRACEPARENT,
    },
    "requestContext": {
        "http": {"method": "GET", "path": "/orders/7", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
        "stage": "$default",
    },
    "isBase64Encoded": False,
}
_PROGRAM = """
import json, os, sys, causal_otel
from fastapi import FastAPI
from mangum import Mangum

causal_otel.install(service_name="orders", schedule_delay=600.0)
app = FastAPI()

@app.get("/orders/{number}")
async def order(number: int):
    with causal_otel.span("look it up"):
        return {"order": number}

asgi = Mangum(app, lifespan=os.environ["LIFESPAN"])

def handler(event, context):
    try:
        return asgi(event, context)
    finally:
        flushed.append(causal_otel.flush(timeout=float(os.environ["TIMEOUT"])) if "TIMEOUT" in os.environ else None)

flushed = []
answers = [handler(json.loads(os.environ["EVENT"]), None) for _ in range(2)]
print(json.dumps([answers, flushed]), flush=True)
os._exit(0)  # as a frozen process: nothing is exported any more
"""


def _invoke(endpoint: str, **variables: Any) -> tuple[list[dict[str, object]], list[bool | None]]:
    """Invoke the function twice; gives the answers, and what ``flush()`` has said."""
    done = run(_PROGRAM, OTLP_ENDPOINT=endpoint, EVENT=json.dumps(_EVENT), **variables)
    assert done.returncode == 0, done.stderr
    answers, flushed = json.loads(done.stdout)
    for answer in answers:
        assert (answer["statusCode"], answer["body"]) == (200, '{"order":7}')
        assert answer["headers"]["x-trace-id"] == TRACE_ID
    return answers, flushed


@pytest.mark.parametrize(
    ("variables", "expected"), [({"LIFESPAN": "off", "TIMEOUT": "60"}, True), ({"LIFESPAN": "auto"}, None)]
)
def test_spans_have_arrived(receiver: ReceivedSpans, variables: dict[str, str], expected: bool | None) -> None:
    """By ``flush()`` in the handler, or because Mangum runs the lifespan around each call, both requests are there."""
    _, flushed = _invoke(receiver.endpoint, **variables)
    assert flushed == [expected, expected]
    spans = receiver.spans()
    requests = [span for span in spans if span["kind"] == "SERVER"]
    assert len(requests) == 2
    for request in requests:
        found = assert_span(request, SENDER)
        assert request["name"] == "GET /orders/{number}"
        assert (found["url.scheme"], found["server.address"], found["server.port"]) == ("https", "api.example", 443)
        assert (found["client.address"], found["url.query"]) == ("192.0.2.1", "page=2&token=REDACTED")
        [inside] = [span for span in spans if span["parent_span_id"] == request["span_id"]]
        assert_span(inside, request)


def test_a_collector_that_hangs() -> None:
    """The answer waits for no longer than ``flush()`` is told, and is what it was."""
    with scripted(hang) as collector:
        _, flushed = _invoke(collector.endpoint, LIFESPAN="off", TIMEOUT="0.2")
    assert flushed == [False, False]
