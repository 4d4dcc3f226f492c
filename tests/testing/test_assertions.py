"""What can be asserted of a test's traces, and what a failure says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from urllib.parse import quote

import pytest
from opentelemetry.trace import NoOpTracer, Span, SpanKind

import causal_otel
from causal_otel.names import CAUSAL_CODE_ORIGIN, DB_QUERY_TEXT, DB_SYSTEM_NAME, URL_FULL
from causal_otel.patches.event_loop import EventLoopOptions
from causal_otel.testing import Traces
from causal_otel.testing.recording import Recording
from tests.testing.traced import Suite, suite
from tests.waiting import pause


@pytest.fixture
def shop() -> Iterator[Suite]:
    with suite() as made:
        yield made


def _query(
    shop: Suite, statement: str = "SELECT * FROM items WHERE id = $1", origin: str = "", wait: float = 0
) -> None:
    attributes = {DB_SYSTEM_NAME: "postgresql", DB_QUERY_TEXT: statement}
    if origin:
        attributes[CAUSAL_CODE_ORIGIN] = origin
    with shop.tracer.start_as_current_span("SELECT items", kind=SpanKind.CLIENT, attributes=attributes):
        pause(wait)


def _request(shop: Suite) -> AbstractContextManager[Span]:
    return shop.tracer.start_as_current_span("GET /orders", kind=SpanKind.SERVER)


def _said(traces: Traces, assertion: str, *args: object, **kwargs: object) -> str:
    with pytest.raises(AssertionError) as caught:
        getattr(traces, assertion)(*args, **kwargs)
    return str(caught.value)


# -- the tree ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def orders(shop: Suite) -> Traces:
    """A request with three queries and something else."""
    with shop.test() as traces, _request(shop):
        for _ in range(3):
            _query(shop)
        with shop.tracer.start_as_current_span("price"):
            _query(shop)
    return traces


@pytest.mark.parametrize(
    "expected",
    [
        """
        GET /orders
            3× SELECT items
            price
                SELECT items
        """,
        "GET /orders\n  SELECT items\n  SELECT items\n  SELECT items\n  price\n    SELECT items",
        "GET /*\n  3x SELECT *\n  price\n    SELECT items",
        "GET /orders\n  ...\n  price\n    ...",
        "GET /orders\n  SELECT items\n  ...",
        "GET /orders [server]\n├╴3× SELECT items [postgresql]\n╰╴price [internal]\n  ╰╴SELECT items [postgresql]",
        "...",
    ],
)
def test_tree_is_as_expected(orders: Traces, expected: str) -> None:
    """A tree is told by names alone or by all of a snapshot, with patterns for what does not matter."""
    orders.assert_tree(expected)


@pytest.mark.parametrize(
    "expected", ["", "GET /orders", "GET /orders\n  ...\n  SELECT items", "GET /orders [server]\n  ..."]
)
def test_tree_that_differs_is_told_line_by_line(orders: Traces, expected: str) -> None:
    """Another tree than the expected one fails; only a tree that fits in whole does not."""
    if expected.endswith("..."):
        orders.assert_tree(expected)
    else:
        assert _said(orders, "assert_tree", expected).startswith("the tree is another one (-: expected, +: found):\n")


def test_difference_of_trees_has_what_is_equal_as_well(orders: Traces) -> None:
    """A difference of trees marks lines that are missing and lines that are too many; patterns make none."""
    said = _said(orders, "assert_tree", "GET /*\n  2× SELECT items\n  price\n    SELECT items\n  GET")
    assert said.splitlines()[1:] == [
        "  GET /*",
        "-   2× SELECT items",
        "+   3× SELECT items",
        "    price",
        "      SELECT items",
        "-   GET",
    ]


def test_order_of_siblings_may_not_matter(orders: Traces) -> None:
    """By name, siblings may be expected in any order."""
    turned = "GET /orders\n  price\n    SELECT items\n  3× SELECT items"
    orders.assert_tree(turned, by_name=True)
    assert "another one" in _said(orders, "assert_tree", turned)


# -- context -----------------------------------------------------------------------------------------------------------


def test_call_that_has_lost_its_request_is_told(shop: Suite) -> None:
    """A query that is a trace of its own, while a request is worked on, has lost that request's context."""
    with shop.test() as traces, _request(shop):
        thread = threading.Thread(target=_query, args=(shop,))
        thread.start()
        thread.join(60)
        _query(shop)
    assert _said(traces, "assert_no_orphans").splitlines() == [
        "1 span has lost its context:",
        "  SELECT items [client]: a trace of its own, made while GET /orders was worked on",
    ]


def test_span_without_its_parent_is_told(shop: Suite) -> None:
    """A span whose parent never ended is told, as soon as that is no longer open."""
    with shop.test() as traces:
        with _request(shop) as request:
            _query(shop)
            traces.assert_no_orphans()  # its parent is open
        traces.assert_no_orphans()
        traces.scope.records[:] = [each for each in traces.scope.records if each[0] is not request]
        traces._forget()
    assert "SELECT items [client]: its parent" in _said(traces, "assert_no_orphans")


def test_query_of_the_test_itself_is_no_orphan(shop: Suite) -> None:
    """What a test queries itself, before and after a request, is a trace of its own and nothing lost."""
    with shop.test() as traces:
        _query(shop)
        with _request(shop):
            pass
        _query(shop)
    traces.assert_no_orphans()


# -- queries -----------------------------------------------------------------------------------------------------------


def test_same_query_one_after_the_other_is_n_plus_one(shop: Suite) -> None:
    """Three queries of one shape and one line of code are N+1, whatever their placeholders; two are not."""
    with shop.test() as traces, _request(shop):
        for statement in ("SELECT 1 WHERE id = $1", "SELECT 1  WHERE id = %s", "SELECT 1 WHERE id = :id"):
            _query(shop, statement, "shop.py:31 load()")
    said = _said(traces, "assert_no_n_plus_one")
    assert said == "N+1: 3× SELECT 1 WHERE id = ?  from shop.py:31 load(), one after another in GET /orders"
    traces.assert_no_n_plus_one(least=4)


def test_n_plus_one_of_the_test_itself_is_told(shop: Suite) -> None:
    """Queries below no span at all, as of a function that a test calls, are N+1, too; how to get their line is said."""
    with shop.test() as traces:
        for _ in range(3):
            _query(shop)
    said = _said(traces, "assert_no_n_plus_one")
    assert "one after another in the test itself" in said
    assert "TRACING_CODE_ORIGIN=true" in said


def test_calls_of_the_test_itself_are_no_n_plus_one(shop: Suite) -> None:
    """Requests that a test sends, and queries of its own file, are what it does: they are no N+1."""
    with shop.test() as traces:
        for _ in range(3):
            _query(shop, origin="tests/test_shop.py:12 test_orders()")
            with shop.tracer.start_as_current_span("GET", kind=SpanKind.CLIENT), _request(shop):
                pass
    traces.assert_no_n_plus_one()


def test_n_plus_one_in_spans_of_its_own_is_told(shop: Suite) -> None:
    """Queries that are each alone in a span of one name are N+1, too: a function that is traced, in a loop."""
    with shop.test() as traces, _request(shop):
        for _ in range(3):
            with shop.tracer.start_as_current_span("load"):
                _query(shop)
    assert "3× SELECT * FROM items WHERE id = ?" in _said(traces, "assert_no_n_plus_one")


def test_queries_of_several_lines_are_no_n_plus_one(shop: Suite) -> None:
    """The same query from different lines of code is no loop."""
    with shop.test() as traces, _request(shop):
        for line in range(3):
            _query(shop, origin=f"shop.py:{line} load()")
    traces.assert_no_n_plus_one()


def test_queries_at_the_same_time_are_no_n_plus_one() -> None:
    """Queries that run at the same time are meant to: they are no N+1."""
    together = threading.Barrier(3, timeout=60)
    with suite({"threads": True}) as shop, shop.test() as traces:

        def query() -> None:
            attributes = {DB_SYSTEM_NAME: "postgresql", DB_QUERY_TEXT: "SELECT 1"}
            with shop.tracer.start_as_current_span("SELECT", kind=SpanKind.CLIENT, attributes=attributes):
                together.wait()
                pause(0.05)
                together.wait()

        with _request(shop), ThreadPoolExecutor(3) as pool:
            for _ in range(3):
                pool.submit(query)
    assert len(traces.find("SELECT")) == 3
    traces.assert_no_n_plus_one()


def test_queries_are_counted(shop: Suite) -> None:
    """Queries are counted over all, of each operation, and of one statement; a failure lists them with their origin."""
    with shop.test() as traces:
        for _ in range(2):
            with _request(shop):
                _query(shop, origin="shop.py:31 load()")
                _query(shop, "SELECT 1")
        _query(shop)
    traces.assert_max_queries(5)
    traces.assert_max_queries(2, operation="*")
    traces.assert_max_queries(1, operation="the test itself")
    traces.assert_max_queries(1, operation="GET /*", statement="SELECT 1")
    traces.assert_max_queries(0, operation="GET /items")
    assert _said(traces, "assert_max_queries", 4).splitlines() == [
        "5 queries, at most 4 allowed:",
        "  2× SELECT * FROM items WHERE id = ?  from shop.py:31 load()",
        "  2× SELECT 1",
        "  1× SELECT * FROM items WHERE id = ?",
    ]
    said = _said(traces, "assert_max_queries", 1, operation="GET /orders")
    assert said.count("2 queries in GET /orders, at most 1 allowed:") == 2
    said = _said(traces, "assert_max_queries", 1, statement="SELECT 1")
    assert said == "2 queries of SELECT 1, at most 1 allowed:\n  2× SELECT 1"


# -- the event loop ----------------------------------------------------------------------------------------------------


async def _block() -> None:
    pause(0.3)
    await asyncio.sleep(0)


def test_blocked_loop_is_told_with_the_line_that_blocked_it() -> None:
    """A loop that one step has held up fails, with the line; a bound that is longer does not."""
    with suite({"event_loop": EventLoopOptions(loop_block_threshold=0.05)}) as shop:
        with shop.test() as traces:
            asyncio.run(_block())
        said = _said(traces, "assert_no_loop_block", 100)
        assert said.startswith("the event loop was blocked for 100 ms or more:\n")
        assert said.endswith("pause() (a blocking call)")
        traces.assert_no_loop_block(60_000)


def test_blocked_loop_of_an_async_test_is_told_at_its_end() -> None:
    """In an async test the assertion is about the rest of it as well: the step that is under way ends later."""
    with suite({"event_loop": EventLoopOptions(loop_block_threshold=0.05)}) as shop:

        async def body() -> None:
            pause(0.3)
            traces.assert_no_loop_block(100)

        with shop.test() as traces:
            asyncio.run(body())
        (check,) = traces.scope.at_end
        with pytest.raises(AssertionError, match="the event loop was blocked"):
            check()


def test_loop_that_nobody_watches_cannot_be_told() -> None:
    """Where a block would not have been recorded the assertion fails and says why, whatever was recorded."""
    with suite() as shop, shop.test() as traces:
        assert "leaves the patch event_loop out" in _said(traces, "assert_no_loop_block")
    with suite({"event_loop": EventLoopOptions(loop_block_threshold=0.1)}) as shop, shop.test() as traces:
        traces.assert_no_loop_block(100)
        assert "set TRACING_LOOP_BLOCK_THRESHOLD=0.02 or less" in _said(traces, "assert_no_loop_block", 20)
    with suite({"event_loop": EventLoopOptions(loop_block_threshold=0)}) as shop, shop.test() as traces:
        assert "the setting loop_block_threshold is 0" in _said(traces, "assert_no_loop_block")
    assert "nothing is traced" in _said(traces, "assert_no_loop_block")


# -- secrets and cost --------------------------------------------------------------------------------------------------


def test_secrets_are_told_by_value_and_by_look(shop: Suite) -> None:
    """A value that a test names is told where it stands, also in a URL, and never shown; so is what looks like one."""
    secret = "correct horse/battery"
    with shop.test() as traces, _request(shop) as request:
        request.set_attribute(URL_FULL, f"https://shop.example/?q={quote(secret, safe='')}")
        request.set_attribute("note", f"said {secret}")
        request.add_event("login", {"who": secret})
        request.set_attribute("header", "Bearer abc.def-123456")
    traces.assert_no_n_plus_one()
    said = _said(traces, "assert_no_secrets", "something else", secret)
    assert secret not in said
    assert said.splitlines() == [
        "4 secrets would leave the process:",
        f"  GET /orders: the attribute {URL_FULL} has value 2",
        "  GET /orders: the attribute note has value 2",
        "  GET /orders: the attribute header has Bearer [redacted:bearer], which looks like a secret",
        "  GET /orders: the event login: who has value 2",
    ]


def test_what_was_redacted_is_no_secret() -> None:
    """A secret that redaction takes out does not leave the process, and so is none that the assertion tells."""
    recorded = Recording()
    recorded.begin()
    try:
        recorded.ensure()
        given = {"password": "hunter2", "header": "Bearer abc.def-123456"}
        with Suite(recorded, NoOpTracer()).test() as traces, causal_otel.span("login", given):
            pass
        assert traces.spans[0].attributes == {"password": "[redacted:key]", "header": "Bearer [redacted:bearer]"}
        traces.assert_no_secrets("hunter2")
    finally:
        recorded.end()


def test_overhead_is_what_the_spans_cost(shop: Suite) -> None:
    """Ten thousand spans are more than a hundredth of a per mille of a test's CPU time, and less than all of it."""
    with shop.test() as traces:
        for _ in range(2000):
            _query(shop)
    said = _said(traces, "assert_overhead", 0.01)
    assert said.startswith("2000 spans at ")
    assert "at most 0.01 % allowed. Most spans are 2000× SELECT items" in said
    traces.assert_overhead(1000)
    with shop.test() as traces:
        pass
    traces.assert_overhead(0)
