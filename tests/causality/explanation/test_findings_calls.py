"""Findings about calls: N+1, calls that could run at once, repeated ones, retries, and pools that had none left."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from tests.causality.explanation.made import (
    OTHER_TRACE,
    call,
    findings,
    of_kind,
    query,
    request,
    span,
    span_id,
    task,
    view,
)

# -- N+1 -----------------------------------------------------------------------------------------------------------

_ITEM = {"db.query.text": "SELECT * FROM items WHERE id = $1"}


def _one_by_one(number: int, attributes: dict[str, Any], *, gap: float = 0.0, **given: Any) -> list[ResourceSpans]:
    """Queries of 4 ms, each after the one before."""
    starts = [each * (4 + gap) for each in range(number)]
    return [query(f"q{place}", start, start + 4, attributes, **given) for place, start in enumerate(starts)]


def test_the_same_statement_again_and_again_is_n_plus_one() -> None:
    """How often, how long, and where the code did it, with the spans' ids."""
    origin = {**_ITEM, "causal.code.origin": "orders.py:52"}
    (found,) = of_kind("n_plus_one", request(500), *_one_by_one(100, origin, gap=0.5))
    assert found.sentence == "SELECT items ×100 one after another, 400 ms, from orders.py:52: N+1"
    assert (found.nanoseconds, found.share, found.spans) == (400_000_000, 0.8, 100)
    assert found.span_ids == tuple(span_id(f"q{number}") for number in range(20))


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ({}, ""),
        ({"causal.orm.origin": "Order.items"}, ", from Order.items"),
        (
            {"causal.orm.origin": "Order.items", "causal.code.origin": "orders.py:52 load()"},
            ", from orders.py:52 load() (Order.items)",
        ),
    ],
)
def test_an_n_plus_one_says_where_it_comes_from(origin: dict[str, Any], said: str) -> None:
    """As far as the code's place and the ORM's reason are known."""
    (found,) = of_kind("n_plus_one", request(100), *_one_by_one(10, {**_ITEM, **origin}))
    assert found.sentence == f"SELECT items ×10 one after another, 40 ms{said}: N+1"


def test_fan_out_is_not_n_plus_one() -> None:
    """Who asks for all at once, or for some at a time, has thought of it."""
    at_once = [query(f"q{number}", 0, 50 + number, _ITEM) for number in range(50)]
    assert of_kind("n_plus_one", request(100), *at_once) == []
    ten_at_a_time = [query(f"q{number}", number // 10 * 20, number // 10 * 20 + 20, _ITEM) for number in range(50)]
    assert of_kind("n_plus_one", request(100), *ten_at_a_time) == []


def test_a_few_and_different_statements_are_not_n_plus_one() -> None:
    """Four of one kind are no pattern, nor are many of different texts, targets or parents."""
    assert of_kind("n_plus_one", request(100), *_one_by_one(4, _ITEM)) == []
    texts = [
        query(f"q{number}", number * 4, number * 4 + 4, {"db.query.text": f"SELECT {number}"}) for number in range(9)
    ]
    assert of_kind("n_plus_one", request(100), *texts) == []
    hosts = [
        query(f"q{number}", number * 4, number * 4 + 4, {**_ITEM, "server.address": f"db{number}"})
        for number in range(9)
    ]
    assert of_kind("n_plus_one", request(100), *hosts) == []


def test_an_n_plus_one_that_takes_no_time_is_not_told() -> None:
    """It explains nothing."""
    assert of_kind("n_plus_one", request(10_000), *_one_by_one(10, _ITEM)) == []


def test_an_n_plus_one_may_lie_in_spans_of_the_users_own() -> None:
    """One query in each of many spans of one name, below one parent."""
    spans = [request(100)]
    for number in range(8):
        spans.append(span(f"s{number}", "root", number * 10, number * 10 + 9, operation="load item"))
        spans.append(query(f"q{number}", number * 10, number * 10 + 8, _ITEM, parent=f"s{number}"))
    (found,) = of_kind("n_plus_one", *spans)
    assert found.sentence == "SELECT items ×8 one after another, 64 ms: N+1"


def test_requests_may_be_n_plus_one_too() -> None:
    """They are told of with their host."""
    calls = [call(f"c{number}", number * 10, number * 10 + 10) for number in range(6)]
    (found,) = of_kind("n_plus_one", request(60), *calls)
    assert found.sentence == "GET to api.example.com ×6 one after another, 60 ms: N+1"


# -- calls that could run at once --------------------------------------------------------------------------------------


def test_calls_to_different_places_could_run_at_once() -> None:
    """What could be saved is all but the longest, and it is said as a possibility."""
    (found,) = of_kind("sequential", request(400), query("q", 10, 130), call("c", 130.5, 330))
    assert found.sentence == (
        "SELECT items (120 ms) and GET to api.example.com (200 ms) ran one after another: if none of them needs what "
        "another brings, running them at once may save up to 120 ms"
    )
    assert (found.nanoseconds, found.share) == (120_000_000, 0.3)
    assert found.span_ids == (span_id("q"), span_id("c"))


def test_a_long_run_of_calls_is_summed_up() -> None:
    """Three are named, the others counted."""
    calls = [call(f"c{number}", number * 20, number * 20 + 20, {"server.address": f"s{number}"}) for number in range(5)]
    (found,) = of_kind("sequential", request(100), *calls)
    assert "GET to s2 (20 ms) and 2 more ran one after another" in found.sentence
    assert found.nanoseconds == 80_000_000


@pytest.mark.parametrize(
    "spans",
    [
        [query("q", 0, 100), call("c", 50, 200)],  # at once
        [query("q", 0, 100), query("r", 100, 200, operation="SELECT users")],  # the same place
        [query("q", 0, 100), call("c", 120, 200)],  # code between them
        [query("q", 0, 100), call("c", 100, 200, {"causal.task": 2})],  # another task
        [query("q", 0, 100, error=True), call("c", 100, 200)],  # after a failure
        [query("q", 0, 100, {"db.operation.name": "COMMIT"}), call("c", 100, 200)],  # plumbing
        [query("q", 0, 3), call("c", 3, 200)],  # nothing to gain
        [query("q", 0, 100), span("work", "root", 100, 200)],  # code of the user's own
    ],
)
def test_other_calls_could_not(spans: list[ResourceSpans]) -> None:
    """What overlaps, goes to one place, has code between, or is somebody else's is no run."""
    assert of_kind("sequential", request(200), *spans) == []


# -- repeated calls ------------------------------------------------------------------------------------------------


def test_the_very_same_question_is_repeated() -> None:
    """A statement without a value, a URL, or values that were recorded: all but the first were for nothing."""
    text = {"db.query.text": "SELECT * FROM settings"}
    (found,) = of_kind("repeated", request(100), query("a", 0, 30, text), query("b", 50, 80, text))
    assert found.sentence == "SELECT items ×2, each the same: all but the first took 30 ms"
    url = {"url.full": "https://api.example.com/rates"}
    (found,) = of_kind("repeated", request(100), *(call(f"c{n}", n * 20, n * 20 + 20, url) for n in range(3)))
    assert found.sentence == "GET to api.example.com ×3, each the same: all but the first took 40 ms"
    known = {**_ITEM, "db.query.parameter.0": "7"}
    assert len(of_kind("repeated", request(100), query("a", 0, 30, known), query("b", 50, 80, known))) == 1


@pytest.mark.parametrize(
    ("first", "second", "operation"),
    [
        (_ITEM, _ITEM, "SELECT items"),  # $1 may have been another
        ({"db.query.text": "GET ?", "db.system.name": "redis"},) * 2 + ("GET",),
        ({"db.query.text": "INSERT INTO log DEFAULT VALUES"},) * 2 + ("INSERT log",),  # it did something
        ({"db.query.text": "SELECT a"}, {"db.query.text": "SELECT b"}, "SELECT"),
        ({"db.query.text": "SELECT a"}, {"db.query.text": "SELECT a", "db.namespace": "other"}, "SELECT"),
        ({**_ITEM, "db.query.parameter.0": "7"}, {**_ITEM, "db.query.parameter.0": "8"}, "SELECT items"),
        ({}, {}, "SELECT items"),  # nothing is known of the text
    ],
)
def test_what_may_differ_is_not_repeated(first: dict[str, Any], second: dict[str, Any], operation: str) -> None:
    """Nothing is claimed of calls whose values nobody has seen, nor of those that do something."""
    spans = [query("a", 0, 30, first, operation=operation), query("b", 50, 80, second, operation=operation)]
    assert of_kind("repeated", request(100), *spans) == []


def test_posts_are_not_repeated() -> None:
    """The same URL means nothing where something is sent."""
    url = {"url.full": "https://api.example.com/rates"}
    calls = [call(f"c{number}", number * 20, number * 20 + 20, url, operation="POST") for number in range(3)]
    assert of_kind("repeated", request(100), *calls) == []


def test_an_n_plus_one_is_told_once() -> None:
    """Also where each of its statements is the same to the letter."""
    found = findings(request(100), *_one_by_one(10, {"db.query.text": "SELECT now()"}))
    assert [kind for kind, _ in found] == ["n_plus_one"]


# -- retries -------------------------------------------------------------------------------------------------------


def test_a_drivers_attempts_are_told() -> None:
    """How many, how long, and how much of it was pausing."""
    attempts = {"causal.attempts": 3, "causal.retry.wait": 0.06, "db.system.name": "redis"}
    (found,) = of_kind("retries", request(100), query("q", 0, 90, attempts, operation="SET"))
    assert found.sentence == "SET took 3 attempts and 90 ms, 60 ms of it pausing between them"
    assert of_kind("retries", request(100), query("q", 0, 90, {"causal.attempts": 1})) == []


def _sent(*outcomes: dict[str, Any]) -> list[ResourceSpans]:
    return [
        call(
            f"c{number}",
            number * 20,
            number * 20 + 20,
            {**outcome, **({"http.request.resend_count": number} if number else {})},
            error=outcome.get("http.response.status_code", 500) >= 400,
        )
        for number, outcome in enumerate(outcomes)
    ]


def test_a_request_that_is_sent_again_for_a_failure_is_told() -> None:
    """With what came of each attempt."""
    answers = _sent(
        {"http.response.status_code": 503}, {"error.type": "ConnectTimeout"}, {"http.response.status_code": 200}
    )
    (found,) = of_kind("retries", request(100), *answers)
    assert found.sentence == "GET to api.example.com was sent 3 times (503, ConnectTimeout, 200), 60 ms"
    assert found.spans == 3


def test_redirects_and_authentication_are_no_retries() -> None:
    """They are sent again as well, and nothing failed."""
    answers = _sent(
        {"http.response.status_code": 302}, {"http.response.status_code": 401}, {"http.response.status_code": 200}
    )
    assert of_kind("retries", request(100), *answers) == []


def test_a_task_that_was_retried_is_told() -> None:
    """How often, what for, and how long it took from the first attempt to the last."""
    message = {"messaging.message.id": "7"}
    (found,) = of_kind(
        "retries",
        request(100),
        span("send", "root", 0, 5, kind="producer"),
        task("first", "send", 10, 20, {**message, "celery.task.retry.reason": "TimeoutError"}),
        task("second", "send", 50, 60, {**message, "celery.task.retries": 1}),
        task("other", "send", 20, 30, {"messaging.message.id": "8"}),
    )
    assert found.sentence == "the task mail was retried once for TimeoutError, 50 ms"
    assert found.spans == 2


# -- pools ---------------------------------------------------------------------------------------------------------

_WAITED = {"causal.pool.wait": 0.06, "causal.pool.size": 1, "causal.pool.waiting": 2}


def test_an_exhausted_pool_names_who_used_it() -> None:
    """Operations of this trace and of others that had a connection meanwhile, longest first."""
    held = view(
        span("root", end=80, operation="GET /report", kind="server", trace_id=OTHER_TRACE),
        query("h", 0, 45, operation="SELECT report", trace_id=OTHER_TRACE),
    )
    (found,) = of_kind(
        "pool_exhausted",
        request(100),
        query("a", 45, 60, operation="SELECT users"),
        query("q", 0, 80, _WAITED),
        others=(held,),
    )
    assert found.sentence == (
        "waited 60 ms for a PostgreSQL connection (pool 1 of 1 in use, 2 waiting), "
        "which SELECT report of GET /report (45 ms), SELECT users (15 ms) used meanwhile"
    )
    assert (found.span_ids, found.share) == ((span_id("q"),), 0.6)


def test_who_waited_too_had_no_connection() -> None:
    """Only what came after its own wait counts, and nothing of another database or process."""
    (found,) = of_kind(
        "pool_exhausted",
        request(100),
        query("a", 0, 60, {"causal.pool.wait": 0.05}, operation="SELECT users"),
        query("q", 0, 80, _WAITED),
        query("other", 0, 60, {"server.address": "elsewhere"}),
        query("there", 0, 60, service="worker"),
    )
    assert found.sentence == (
        "waited 110 ms for a PostgreSQL connection in 2 calls (pool 1 of 1 in use, 2 waiting), "
        "which SELECT users (10 ms) used meanwhile"
    )


def test_waits_at_once_count_once() -> None:
    """Who had a connection while two waited for it had it no longer for that."""
    (found,) = of_kind(
        "pool_exhausted",
        request(100),
        query("a", 10, 40, operation="SELECT users"),
        query("q", 0, 60, {"causal.pool.wait": 0.03}),
        query("r", 5, 60, {"causal.pool.wait": 0.045}),
    )
    assert "which SELECT users (30 ms), SELECT items (20 ms) used meanwhile" in found.sentence


def test_a_pool_whose_user_is_not_known_is_told_all_the_same() -> None:
    """The wait is a fact, and a short one is none worth telling."""
    (found,) = of_kind("pool_exhausted", request(100), query("q", 0, 80, _WAITED))
    assert found.sentence == "waited 60 ms for a PostgreSQL connection (pool 1 of 1 in use, 2 waiting)"
    assert of_kind("pool_exhausted", request(10_000), query("q", 0, 80, _WAITED)) == []
