"""The explanation as text and as JSON: what it says first, what it leaves out, and that it is always the same."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, TracesData

from causal_otel.causality.explanation import MOST_BYTES, Explanation, explain
from causal_otel.collector.analysis import build
from tests.causality.explanation.made import TRACE_ID, explained, query, request, span, span_id, stall, task
from tests.collector.analysis.making import TRACES, trace


def _slow() -> list[ResourceSpans]:
    """A request with a bit of everything."""
    text = {"db.query.text": "SELECT * FROM items WHERE id = $1", "causal.code.origin": "orders.py:52 load()"}
    pool = {"causal.pool.wait": 0.247, "causal.pool.size": 1, "causal.pool.waiting": 4}
    return [
        request(603),
        query("order", 10, 290, pool, operation="SELECT orders"),
        *(query(f"i{number}", 292 + number, 293 + number, text) for number in range(100)),
        stall("block", 400, 550, {"causal.block.wait": 0.15}),
        span("send", "root", 596, 600, operation="send mail", kind="producer"),
        task(
            "work",
            "send",
            4000,
            4200,
            {"causal.queue.wait": 3.4, "causal.prefetch.wait": 3.0},
            operation="process mail",
        ),
    ]


def test_all_of_an_explanation() -> None:
    """The sentence, what it is about, the path to the answer and to the end, and findings with ids of their spans."""
    assert (
        explained(*_slow()).text()
        == f"""\
603 ms: 41 % waiting for a PostgreSQL connection (pool 1 of 1 in use, 4 waiting), \
25 % loop blocked 150 ms by report.py:31 render() (a blocking call), 22 % PostgreSQL, 11 % own code; \
then 3.6 s until the end of all work: 83 % waiting for a busy worker, \
11 % waiting in the queue celery, 6 % own code (worker)
api: POST /orders, trace {TRACE_ID}

What the answer waited for:
  api: POST /orders, 603 ms: own code 69 ms
    SELECT orders (PostgreSQL), 280 ms: waiting for a PostgreSQL connection 247 ms, PostgreSQL 33 ms
    SELECT items (PostgreSQL) ×100, 100 ms: PostgreSQL
    loop blocked, 150 ms: loop blocked by report.py:31 render() (a blocking call)

What the end of all work waited for after that:
  api: POST /orders, 3.6 s
    send mail, 3.6 s
      worker: process mail, 3.6 s: waiting for a busy worker 3 s, waiting in the queue celery 397 ms, \
own code (worker) 200 ms

Findings:
- mail waited 3.4 s in the queue celery, 3 s of it with a worker that was busy [{span_id("work")}]
- waited 247 ms for a PostgreSQL connection (pool 1 of 1 in use, 4 waiting) [{span_id("order")}]
- report.py:31 render() (a blocking call) blocked the event loop for 150 ms: nothing else ran on it meanwhile \
[{span_id("block")}]
- SELECT items ×100 one after another, 100 ms, from orders.py:52 load(): N+1 [{span_id("i0")} {span_id("i1")} +98]"""
    )


def test_json_says_what_the_text_says() -> None:
    """The same sentence, shares, steps and findings, and nothing that the text leaves out."""
    found = explained(*_slow())
    document = found.document()
    text = found.text()
    assert document["sentence"] == text.splitlines()[0]
    assert [each["sentence"] for each in document["findings"]] == [
        line[2:].rpartition(" [")[0] for line in text.splitlines() if line.startswith("- ")
    ]
    assert [each["label"] for each in document["shares"] if f" % {each['label']}" not in text] == [
        "sending to the queue"
    ]
    assert document["shares"][-1]["share"] < 0.01
    assert [each["name"] for each in document["path"]] == [
        "api: POST /orders", "SELECT orders (PostgreSQL)", "SELECT items (PostgreSQL)", "loop blocked",
    ]  # fmt: skip
    assert document["path"][1] == {
        "depth": 1,
        "name": "SELECT orders (PostgreSQL)",
        "count": 1,
        "seconds": 0.28,
        "own": [
            {"label": "waiting for a PostgreSQL connection", "seconds": 0.247},
            {"label": "PostgreSQL", "seconds": 0.033},
        ],
        "span_id": span_id("order"),
    }
    assert document["findings"][1] == {
        "kind": "pool_exhausted",
        "sentence": "waited 247 ms for a PostgreSQL connection (pool 1 of 1 in use, 4 waiting)",
        "seconds": 0.247,
        "share": 0.4096,
        "span_ids": [span_id("order")],
        "spans": 1,
    }
    assert document["afterwards"]["shares"][0]["kind"] == "worker_busy"
    assert (document["trace_id"], document["service"], document["operation"]) == (TRACE_ID, "api", "POST /orders")
    assert (document["seconds"], document["findings_left_out"]) == (0.603, 0)


def test_shares_add_up_to_the_whole() -> None:
    """Nothing is counted twice, and nothing is lost."""
    found = explained(*_slow())
    assert sum(each.nanoseconds for each in found.answer.shares) == found.answer.nanoseconds == 603_000_000
    assert sum(round(each.share, 9) for each in found.answer.shares) == 1


def _many(findings: int) -> Explanation:
    """A trace with so many tasks that nobody awaits, all of other names."""
    unawaited = {"causal.task.unawaited": True}
    return explained(
        request(1000),
        *(
            span(
                f"t{number:02}",
                "root",
                number,
                number + 500,
                operation=f"task-{number:02}" + "x" * 200,
                attributes=unawaited,
            )
            for number in range(findings)
        ),
    )


def test_the_least_important_findings_are_left_out() -> None:
    """Whole ones, and how many is said, in the text and in the JSON."""
    found = _many(50)
    lines = found.text().splitlines()
    shown = [line for line in lines if line.startswith("- ")]
    assert len(found.text().encode()) <= MOST_BYTES
    assert len(shown) == len(found.findings) > 5
    assert all(line.endswith("]") for line in shown)
    assert lines[-1] == f"{found.left_out} more findings are left out."
    assert found.left_out == 50 - len(shown)
    assert (found.document()["findings_left_out"], len(found.document()["findings"])) == (found.left_out, len(shown))


def test_one_finding_that_is_left_out_is_one() -> None:
    """In words as in number."""
    fitting = len(_many(50).findings)
    assert _many(fitting + 1).text().splitlines()[-1] in (
        "1 more finding is left out.", "2 more findings are left out.",
    )  # fmt: skip


def test_a_wide_path_keeps_its_longest_steps() -> None:
    """Eight lines at the most, in the order of time, and no step without the one that it lies in."""
    spans = [request(5500)]
    at = 0
    for number in range(100):
        spans.append(query(f"q{number}", at, at + number, operation=f"SELECT t{number:02}"))
        at += number
    steps = explained(*spans).steps
    assert [each.name for each in steps] == [
        "api: POST /orders", *(f"SELECT t{number} (PostgreSQL)" for number in range(93, 100)),
    ]  # fmt: skip


def test_names_from_elsewhere_are_harmless_and_short() -> None:
    """Nothing in a name moves the cursor, and a long one is cut."""
    found = explained(
        request(100, operation="GET \x1b[2J\n" + "/long" * 100, service="\u202eapi"),
        query("q", 0, 90, {"server.address": "d\nb"}, operation="SELECT\r" + "x" * 5000),
    )
    assert found.text().replace("\n", "").isprintable()
    assert len(found.text().encode()) < 800


def test_names_of_other_scripts_and_many_shares_fit() -> None:
    """However long every name is: a sentence names fewer shares then, and says what the others are together."""
    long = "漢" * 500
    waits = [
        span(
            f"w{number}",
            "root",
            number * 10,
            number * 10 + 10,
            operation=f"wait {long}",
            attributes={
                "causal.lock.kind": f"{number}{long}",
                "causal.lock.holder": long,
                "causal.task.unawaited": True,
            },
        )
        for number in range(10)
    ]
    late = [
        span(f"l{number}", "", 100 + number * 50, 150 + number * 50, service=f"{number}{long}") for number in range(9)
    ]
    found = explained(request(100, operation=long, service=long), *waits, *late)
    assert len(found.text().encode()) <= MOST_BYTES
    assert "% other" in found.sentence


def test_the_outline_begins_with_the_span_in_question() -> None:
    """What is above it has no part in its time."""
    view = build(trace(request(100), span("mine", "root", 10, 60), query("q", 20, 50, parent="mine")))
    steps = explain(view, root=view.spans[1]).steps
    assert [(each.depth, each.name) for each in steps] == [(0, "mine"), (1, "SELECT items (PostgreSQL)")]


def test_the_order_in_which_spans_came_changes_nothing() -> None:
    """The same bytes, also of spans that start and end at the same moments."""
    spans = [
        *_slow(),
        *(query(f"p{number}", 594, 596, {"causal.pool.wait": 0.001 * number}) for number in range(4)),
        *(span(f"m{number}", "root", 551, 594, operation="mine") for number in range(3)),
    ]
    first = explained(*spans)
    for seed in range(20):
        random.Random(seed).shuffle(spans)
        again = explained(*spans)
        assert again.text() == first.text()
        assert again.document() == first.document()


@given(TRACES, st.randoms(use_true_random=False))
def test_whatever_comes_is_explained(found: TracesData, chance: random.Random) -> None:
    """Parents that are missing or go in a circle, times that cannot be: shares add up, and the order means nothing."""
    explanation = explain(build(found))
    assert sum(each.nanoseconds for each in explanation.answer.shares) == explanation.answer.nanoseconds
    assert len(explanation.text().encode()) <= MOST_BYTES
    spans = list(found.resource_spans)
    chance.shuffle(spans)
    ids = [each.scope_spans[0].spans[0].span_id for each in spans]
    if len(set(ids)) == len(ids):
        assert explain(build(trace(*spans))).text() == explanation.text()


def test_a_deep_trace_is_explained() -> None:
    """A thousand spans within each other are no deeper than Python's stack."""
    spans = [request(5000), *(span(f"s{n}", f"s{n - 1}" if n else "root", n, 5000 - n) for n in range(2000))]
    found = explained(*spans)
    assert found.sentence == "5 s: 100 % own code"
    assert all(len(line) < 300 for line in found.text().splitlines())


def test_a_large_trace_is_explained_in_the_end() -> None:
    """Thousands of spans that wait, suffer stalls and are cancelled are no thousands times thousands."""
    waits = {"causal.pool.wait": 0.5, "causal.loop.blocked": 0.002, "causal.cancelled": True}
    spans = [query(f"q{n:05}", n, n + 10, waits) for n in range(3000)]
    stalls = [stall(f"s{n:05}", n * 3, n * 3 + 2) for n in range(1000)]
    found = explained(request(3010, {"causal.loop.blocked": 2.0, "causal.cpu": 0.001}), *spans, *stalls)
    assert sum(each.nanoseconds for each in found.answer.shares) == found.answer.nanoseconds
    assert {each.kind for each in found.findings} == {"cancelled", "loop_block_caused", "pool_exhausted"}
