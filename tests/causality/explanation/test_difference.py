"""Why one trace took longer than another."""

from __future__ import annotations

from hypothesis import given
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.causality.explanation import MOST_BYTES, difference
from causal_otel.collector.analysis import build
from tests.causality.explanation.made import OTHER_TRACE, TRACE_ID, call, query, request, span, task, view
from tests.collector.analysis.making import TRACES

_POOL = {"causal.pool.wait": 0.35}


def test_what_takes_longer_is_named() -> None:
    """By what the time to the answer was spent on, the largest difference first, and by operation."""
    a = view(request(200), query("q", 20, 120), call("c", 130, 190))
    b = view(
        request(600, trace_id=OTHER_TRACE),
        query("q", 20, 470, _POOL, trace_id=OTHER_TRACE),
        *(
            query(f"i{n}", 480 + n * 10, 490 + n * 10, operation="SELECT stock", trace_id=OTHER_TRACE)
            for n in range(10)
        ),
    )
    assert (
        difference(a, b).text()
        == f"""\
B took 400 ms longer than A, 600 ms instead of 200 ms: 350 ms more waiting for a PostgreSQL connection, \
100 ms more PostgreSQL, 60 ms less waiting for api.example.com, 10 ms more own code
A: api: POST /orders, trace {TRACE_ID}
B: api: POST /orders, trace {OTHER_TRACE}

Operations that differ, in A and now in B:
  api: SELECT items (PostgreSQL): 100 ms, now 450 ms
  api: SELECT stock (PostgreSQL) ×10, 100 ms: only in B
  api: GET (api.example.com), 60 ms: only in A
  api: POST /orders: 200 ms, now 600 ms"""
    )


def test_differences_add_up() -> None:
    """Of categories and of operations: to what one took longer than the other."""
    a, b = view(request(200), query("q", 20, 120)), view(request(600), query("q", 20, 470, _POOL), call("c", 480, 590))
    found = difference(a, b)
    assert sum(each.delta for each in found.categories) == 400_000_000
    assert sum(each.explains for each in found.operations) == 400_000_000


def test_json_says_the_same() -> None:
    """Both traces, each category and each operation, in seconds."""
    a, b = view(request(200), query("q", 20, 120)), view(request(600), *(query(f"q{n}", 20, 470, _POOL) for n in "xy"))
    document = difference(a, b).document()
    assert document["sentence"] == difference(a, b).text().splitlines()[0]
    assert document["a"] == {"trace_id": TRACE_ID, "service": "api", "operation": "POST /orders", "seconds": 0.2}
    assert document["categories"][0] == {
        "kind": "pool_wait",
        "category": "waiting for a PostgreSQL connection",
        "a_seconds": 0.0,
        "b_seconds": 0.35,
        "delta_seconds": 0.35,
    }
    assert document["operations"][0] == {
        "operation": "api: SELECT items (PostgreSQL)",
        "change": "slower",
        "a": {"spans": 1, "seconds": 0.1},
        "b": {"spans": 2, "seconds": 0.9},
        "explains_seconds": 0.35,
        "explains": {"own_seconds": 0.0, "waits_seconds": 0.35},
    }
    assert document["operations_left_out"] == 0


def test_the_other_way_round_it_takes_less() -> None:
    """A number of calls that differs is told."""
    quick, slow = view(request(100), query("q", 0, 50)), view(request(400), query("a", 0, 150), query("b", 150, 350))
    text = difference(slow, quick).text()
    assert text.startswith("B took 300 ms less than A, 100 ms instead of 400 ms: 300 ms less PostgreSQL\n")
    assert "  api: SELECT items (PostgreSQL) (×2, now ×1): 350 ms, now 50 ms\n" in text


def test_traces_that_are_alike_are_said_to_be() -> None:
    """There is nothing to name."""
    trace = view(request(100), query("q", 0, 50))
    assert difference(trace, trace).text().splitlines() == [
        "B took as long as A, 100 ms: nothing differs notably",
        f"A: api: POST /orders, trace {TRACE_ID}",
        f"B: api: POST /orders, trace {TRACE_ID}",
    ]


def test_what_comes_after_the_answer_is_no_difference_of_it() -> None:
    """It is an operation that is in one of the traces only."""
    a = view(request(100))
    b = view(request(100), span("send", "root", 99, 100, kind="producer"), task("run", "send", 900, 1000))
    found = difference(a, b)
    assert found.sentence.startswith("B took as long as A, 100 ms: 1 ms less own code, 1 ms more sending to the queue")
    assert [(each.name, each.change) for each in found.operations] == [
        ("api: send", "only-b"), ("worker: run", "only-b"),
    ]  # fmt: skip


def test_of_many_operations_some_are_left_out() -> None:
    """Those that explain least, and how many is said."""
    a = view(request(100))
    b = view(
        request(6000),
        *(query(f"q{n}", n * 50, n * 50 + n, operation=f"SELECT t{n} " + "x" * 100) for n in range(1, 100)),
    )
    found = difference(a, b)
    text = found.text()
    assert len(text.encode()) <= MOST_BYTES
    assert text.splitlines()[-1] == f"{found.left_out} more differ."
    assert found.left_out + len(found.operations) == 100
    assert "SELECT t99" in text


@given(TRACES, TRACES)
def test_whatever_comes_is_compared(a: TracesData, b: TracesData) -> None:
    """Categories add up to the difference, whatever the traces are like."""
    found = difference(build(a), build(b))
    assert sum(each.delta for each in found.categories) == found.b_nanoseconds - found.a_nanoseconds
    assert len(found.text().encode()) <= MOST_BYTES
