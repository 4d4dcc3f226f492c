"""What is answered where a worker is too slow, is lost, or cannot be had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from causal_otel.collector.heavy.middleware import HeavyReads
from causal_otel.collector.heavy.workers import Answer, CannotStart, WorkerLost
from causal_otel.collector.troubles import Trouble
from tests.collector.oracle import MemoryReader

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.heavy.workers import Workers

HEAVY = "/?lookback=30d"


class _Workers:
    """Workers of which nobody knows how they will answer."""

    seconds = 60.0

    def __init__(self, outcome: Answer | Exception) -> None:
        self.outcome = outcome
        self.asked: list[Mapping[str, Any]] = []
        self.wanted = 0

    def be_ready(self) -> None:
        self.wanted += 1

    async def answer(self, request: Mapping[str, Any], key: str) -> Answer:
        self.asked.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def _client(workers: _Workers) -> TestClient:
    def own(request: Request) -> Response:
        return PlainTextResponse("from the collector itself")

    app = Starlette(routes=[Route("/", own)])
    troubles = [Trouble("warn", "a clock is wrong")]
    middleware = HeavyReads(app, cast("Workers", workers), MemoryReader(), {"pages": "here"}, lambda: troubles)
    return TestClient(middleware, headers={"authorization": "Bearer secret", "accept": "text/html"})


def test_only_what_is_heavy_is_handed_over() -> None:
    """With what the answer depends on, and nothing else: no token; what comes back is answered as it is."""
    workers = _Workers(Answer(418, [(b"x-made", b"elsewhere")], b"tea"))
    client = _client(workers)
    assert client.get("/").text == "from the collector itself"
    assert client.post(HEAVY).status_code == 405
    assert workers.asked == []
    answer = client.get(HEAVY)
    assert (answer.status_code, answer.headers["x-made"], answer.text) == (418, "elsewhere", "tea")
    (asked,) = workers.asked
    assert (asked["path"], asked["query"], asked["addresses"]) == ("/", "lookback=30d", {"pages": "here"})
    assert asked["troubles"] == [{"level": "warn", "text": "a clock is wrong", "since": None}]
    assert "secret" not in str(asked)


def test_whoever_looks_at_pages_has_a_worker_ready() -> None:
    """A browser that asks for any page, for the next may be heavy; not a program, nor a page's own styles."""
    workers = _Workers(Answer(200, [], b""))
    client = _client(workers)
    for accept in ("*/*", "application/json", "text/css,*/*;q=0.1"):
        client.get("/", headers={"accept": accept})
    assert workers.wanted == 0
    client.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert workers.wanted == 1


@pytest.mark.parametrize(
    ("fault", "said"), [(TimeoutError(), "took longer than 60 s"), (WorkerLost("by signal 9"), "was lost")]
)
def test_what_was_given_up_is_said(fault: Exception, said: str) -> None:
    """A page says so, with when to try again; the collector does not try it in its own process."""
    answer = _client(_Workers(fault)).get(HEAVY)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert said in answer.text
    assert answer.text.startswith("<!doctype html>")


def test_where_no_worker_can_be_had_the_collector_answers(caplog: pytest.LogCaptureFixture) -> None:
    """As it would anything else; it is logged once."""
    client = _client(_Workers(CannotStart("no more processes")))
    assert [client.get(HEAVY).text for _ in range(2)] == ["from the collector itself"] * 2
    assert caplog.text.count("no other can be started: no more processes") == 1
