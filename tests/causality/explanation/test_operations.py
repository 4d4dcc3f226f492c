"""Where an operation's time goes over many calls: at p50, at p95, and what could be saved."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from causal_otel.causality.explanation import MOST_BYTES, Call, call_of, explain, explain_operation
from tests.causality.explanation.made import TRACE_ID, query, request, span_id, task, view

_MS = 1_000_000
_POOL = ("pool_wait", "waiting for a PostgreSQL connection")
_DATABASE = ("database", "PostgreSQL")


def _call(number: int, **parts: int) -> Call:
    """A call of so many milliseconds in the database and in the wait for it."""
    named = {"pool": _POOL, "database": _DATABASE}
    spent = {named[name]: milliseconds * _MS for name, milliseconds in parts.items()}
    return Call(f"{number:032x}", f"{number:016x}", sum(spent.values()), spent)


def _calls() -> list[Call]:
    """Ninety of about 100 ms in the database, and ten that waited 400 ms for a connection before."""
    return [_call(number, database=100 + number % 9) for number in range(90)] + [
        _call(number, database=100, pool=400) for number in range(90, 100)
    ]


def test_a_part_of_the_slowest_is_told_as_theirs() -> None:
    """What only the slowest wait for is no part of the median, and saves nothing there."""
    found = explain_operation("api", "GET /stats", _calls())
    assert (found.calls, found.p50, found.p95) == (100, 104 * _MS, 500 * _MS)
    pool, database = found.parts
    assert (pool.kind, pool.category) == _POOL
    assert (pool.p50.nanoseconds, pool.p50.share) == (0, 0)
    assert (pool.p95.nanoseconds, pool.p95.share) == (400 * _MS, 0.8)
    assert pool.p95.without == 108 * _MS
    assert (database.p50.share, database.p95.without) == (1, 400 * _MS)
    assert found.sentence == (
        "api: GET /stats, 100 calls: p50 104 ms: 100 % PostgreSQL; "
        "p95 500 ms: 80 % waiting for a PostgreSQL connection, 20 % PostgreSQL"
    )


def test_the_text_is_the_sentence_and_a_table() -> None:
    """With what each part takes, its share, and what would be left without it."""
    found = explain_operation("api", "GET /stats", _calls())
    assert (
        found.text()
        == f"""\
{found.sentence}

                                        p50         without     p95        without
waiting for a PostgreSQL connection    0 ns    0 %   103 ms  400 ms  80 %   108 ms
PostgreSQL                           104 ms  100 %     0 ns  100 ms  20 %   400 ms

At the p95, trace {found.slow.trace_id}"""
    )


def test_json_says_the_same() -> None:
    """Times in seconds, shares from 0 to 1, and a trace for each percentile."""
    found = explain_operation("api", "GET /stats", _calls())
    document = found.document()
    assert document["parts"][0] == {
        "kind": "pool_wait",
        "category": "waiting for a PostgreSQL connection",
        "p50": {"seconds": 0.0, "share": 0.0, "without_seconds": 0.103},
        "p95": {"seconds": 0.4, "share": 0.8, "without_seconds": 0.108},
    }
    assert (document["sentence"], document["calls"], document["p95_seconds"]) == (found.sentence, 100, 0.5)
    assert document["p95_trace_id"] == found.slow.trace_id
    assert document["example"] is None


def test_the_order_of_the_calls_changes_nothing() -> None:
    """Those that take equally long have an order of their own."""
    calls = _calls()
    first = explain_operation("api", "GET /stats", calls)
    for seed in range(10):
        random.Random(seed).shuffle(calls)
        assert explain_operation("api", "GET /stats", calls) == first


def test_one_call_is_both_percentiles() -> None:
    """And no call is none."""
    found = explain_operation("api", "GET /stats", [_call(1, database=30)])
    assert found.sentence == "api: GET /stats, 1 call: p50 30 ms: 100 % PostgreSQL; p95 30 ms: 100 % PostgreSQL"
    with pytest.raises(ValueError, match="without calls"):
        explain_operation("api", "GET /stats", [])


def test_a_call_is_read_from_its_trace() -> None:
    """Its own critical path, by category; what differs from call to call is left out of their names."""
    pool = {"causal.pool.wait": 0.06, "causal.pool.size": 1, "causal.pool.waiting": 3}
    trace = view(request(100), query("q", 10, 90, pool))
    assert call_of(trace, trace.spans[0]) == Call(
        TRACE_ID,
        span_id("root"),
        100 * _MS,
        {_POOL: 60 * _MS, _DATABASE: 20 * _MS, ("own_code", "own code"): 20 * _MS},
    )
    assert call_of(trace, trace.spans[1]).parts == {_POOL: 60 * _MS, _DATABASE: 20 * _MS}


def test_a_task_waits_in_its_queue_before_it_runs() -> None:
    """That is part of how long it takes, also where its sender is in the trace."""
    trace = view(request(10), task("run", "root", 500, 600, {"causal.queue.wait": 0.4}))
    assert call_of(trace, trace.spans[1]).nanoseconds == 500 * _MS


def test_an_example_is_told_as_far_as_there_is_room() -> None:
    """Its sentence and its findings; parts that save least go first."""
    found = explain_operation("api", "GET /stats", _calls())
    pool = {"causal.pool.wait": 0.4, "causal.pool.size": 1}
    example = explain(view(request(500), query("q", 0, 500, pool)))
    text = replace(found, example=example).text()
    assert f"At the p95, trace {found.slow.trace_id}: {example.sentence}" in text
    assert text.endswith(example.findings[0].text())
    parts = {("own_code", f"part {number} " + "x" * 50): 10 * _MS for number in range(60)}
    crowded = explain_operation("api", "GET /stats", [Call("1" * 32, "1" * 16, 600 * _MS, parts)])
    assert len(replace(crowded, example=example).text().encode()) <= MOST_BYTES
    assert example.sentence in replace(crowded, example=example).text()
