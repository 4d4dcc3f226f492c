"""The fixture ``traces``: whose spans it has, and how it shows them."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.util.types import AnyValue
from sqlalchemy import create_engine, text

import causal_otel
from causal_otel.names import (
    CAUSAL_BLOCK_FRAME,
    CAUSAL_CANCELLED,
    DB_QUERY_TEXT,
    DB_SYSTEM_NAME,
    ERROR_TYPE,
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.patches.sqlalchemy import SqlalchemyOptions
from causal_otel.testing.recording import Recording
from tests.testing.traced import Suite, suite
from tests.waiting import pause

_QUERY: dict[str, AnyValue] = {
    DB_SYSTEM_NAME: "postgresql",
    SERVER_PORT: 5432,
    DB_QUERY_TEXT: "SELECT * FROM items WHERE id = $1",
}


@pytest.fixture
def shop() -> Iterator[Suite]:
    with suite() as made:
        yield made


def _query(shop: Suite, name: str = "SELECT items") -> None:
    with shop.tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=_QUERY):
        pass


# -- whose spans -------------------------------------------------------------------------------------------------------


def test_spans_are_of_this_test_alone(shop: Suite) -> None:
    """A test has the spans that ended in its call: none of an earlier test's, and none of its fixtures'."""
    with shop.test():
        _query(shop)
    traces = shop.traces()
    _query(shop, "INSERT items")
    with shop.test(traces):
        _query(shop, "DELETE items")
    assert [span.name for span in traces.spans] == ["DELETE items"]


def test_span_that_an_earlier_test_left_open_is_not_seen(shop: Suite) -> None:
    """A span of a trace that an earlier test has begun is no span of the test in which it ends."""
    with shop.test():
        left = shop.tracer.start_as_current_span("left open")
        left.__enter__()
    with shop.test() as traces:
        _query(shop)
        left.__exit__(None, None, None)
    assert traces.spans == ()


def test_thread_that_an_earlier_test_left_begins_traces_of_its_own(shop: Suite) -> None:
    """A trace that begins in a context of an earlier test's is none of the test that runs then."""
    go, done = threading.Event(), threading.Event()
    with suite({"threads": True}) as other:

        def later() -> None:
            go.wait(60)
            _query(other)
            done.set()

        with other.test():
            thread = threading.Thread(target=later)
            thread.start()
        with other.test() as traces:
            go.set()
            assert done.wait(60)
            thread.join(60)
        assert traces.spans == ()


async def _gathered(shop: Suite) -> None:
    with shop.tracer.start_as_current_span("GET /orders", kind=SpanKind.SERVER):
        await asyncio.gather(asyncio.to_thread(_query, shop), asyncio.to_thread(_query, shop))


def test_tasks_and_threads_of_a_test_are_its_own(shop: Suite) -> None:
    """What tasks and threads of a test record is in its tree; without the context it is a trace of the test's."""
    with shop.test() as traces:
        asyncio.run(_gathered(shop))
        thread = threading.Thread(target=_query, args=(shop, "INSERT audit"))
        thread.start()
        thread.join(60)
    assert traces.snapshot() == "GET /orders [server]\n╰╴2× SELECT items [postgresql]\nINSERT audit [postgresql]"


def test_trace_of_another_process_is_seen(shop: Suite) -> None:
    """A trace that a header names is the test's, and is so again in the next test that sends the same header."""
    header = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    for _ in range(2):
        with shop.test() as traces, causal_otel.span("GET /orders", parent=causal_otel.extract(header)):
            _query(shop)
        assert [span.name for span in traces.spans] == ["GET /orders", "SELECT items"]
        assert traces.all[0].trace_id == "0af7651916cd43dd8448eb211c80319c"
        traces.assert_no_orphans()


def test_everything_is_recorded_whatever_the_sampler_says() -> None:
    """Tests have spans although the application samples none; afterwards it does as it did before."""
    recorded = Recording()
    installed = causal_otel.install(patches=[], exporter="none", sampler="always_off")
    try:
        recorded.begin()
        made = Suite(recorded, installed.tracer)
        with made.test() as traces:
            _query(made)
        assert len(traces.spans) == 1
        recorded.end()
        assert not installed.tracer.start_span("after").is_recording()
    finally:
        installed.uninstall()


def test_provider_of_the_sdk_is_recorded() -> None:
    """With the application's own provider of the SDK, tests have its spans, and it has its processors again after."""
    recorded, provider = Recording(), TracerProvider()
    recorded.begin()
    installed = causal_otel.install(patches=[], tracer_provider=provider)
    try:
        made = Suite(recorded, provider.get_tracer("tests"))
        with made.test():
            left = made.tracer.start_span("left open")
        with made.test() as traces:
            _query(made)
            left.end()
        assert [span.name for span in traces.spans] == ["SELECT items"]
    finally:
        recorded.end()
        installed.uninstall()
        provider.shutdown()
    assert provider._active_span_processor._span_processors == ()


def test_install_of_the_application_takes_the_place_of_ours() -> None:
    """An application that installs in a test gets what it asks for, though we have before, and is recorded."""
    recorded = Recording()
    recorded.begin()
    try:
        recorded.ensure()
        installed = causal_otel.install(patches=[], service_name="shop", exporter="none")
        try:
            made = Suite(recorded, installed.tracer)
            with made.test() as traces:
                _query(made)
            assert [(span.service, span.name) for span in traces.spans] == [("shop", "SELECT items")]
            assert causal_otel.status().service_name == "shop"
        finally:
            installed.uninstall()
    finally:
        recorded.end()


def test_plumbing_that_is_slow_and_goes_well_is_no_span() -> None:
    """How long a COMMIT takes makes no difference between two runs of a test; one that fails is a span."""
    failing = False

    def commit(connection: Any) -> None:
        if failing:
            raise OSError("no space")
        pause(0.01)
        connection.commit()

    with suite({"sqlalchemy": SqlalchemyOptions(slow_plumbing=0.001)}) as shop:
        engine = create_engine("sqlite://")
        engine.dialect.do_commit = commit  # type: ignore[assignment, method-assign]
        with shop.test() as traces, shop.tracer.start_as_current_span("GET /orders"):
            with engine.begin() as connection:
                connection.execute(text("SELECT 1"))
            failing = True
            with pytest.raises(OSError, match="no space"), engine.begin() as connection:
                connection.execute(text("SELECT 1"))
        engine.dispose()
    assert [span.name for span in traces.spans] == ["GET /orders", "SELECT", "SELECT", "COMMIT"]


# -- as text -----------------------------------------------------------------------------------------------------------


def _shop_trace(shop: Suite) -> None:
    with shop.tracer.start_as_current_span(
        "GET /orders", kind=SpanKind.SERVER, attributes={HTTP_RESPONSE_STATUS_CODE: 500}
    ) as request:
        for _ in range(3):
            _query(shop)
        sent: dict[str, AnyValue] = {
            HTTP_REQUEST_METHOD: "GET",
            SERVER_ADDRESS: "stock.example",
            HTTP_RESPONSE_STATUS_CODE: 503,
        }
        with shop.tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes=sent) as call:
            call.set_attribute(ERROR_TYPE, "503")
            call.set_status(Status(StatusCode.ERROR))
        with shop.tracer.start_as_current_span("price", attributes={CAUSAL_CANCELLED: True}):
            pass
        with shop.tracer.start_as_current_span("loop blocked", attributes={CAUSAL_BLOCK_FRAME: "shop.py:1 f()"}):
            pass
        request.set_attribute(ERROR_TYPE, "shop.OutOfStock")
        request.set_status(Status(StatusCode.ERROR))


_SNAPSHOT = """\
GET /orders [server] 500 ERROR shop.OutOfStock
├╴3× SELECT items [postgresql]
├╴GET [http stock.example] 503 ERROR
╰╴price [internal] cancelled"""


def test_snapshot_has_what_is_the_same_in_every_run(shop: Suite) -> None:
    """A snapshot tells names, kinds, targets and outcomes; no ids, times and ports, and no stall of an event loop."""
    with shop.test() as traces:
        _shop_trace(shop)
    assert traces.snapshot() == _SNAPSHOT
    assert str(traces.snapshot()) == _SNAPSHOT


def test_snapshot_tells_attributes_that_are_named(shop: Suite) -> None:
    """Attributes that a test names are told of each span that has them; calls that differ by them are apart."""
    with shop.test() as traces:
        _query(shop)
    assert traces.snapshot(attributes=[DB_QUERY_TEXT, "no.such"]) == (
        "SELECT items [postgresql] db.query.text=SELECT * FROM items WHERE id = $1"
    )


def test_siblings_can_stand_by_their_names(shop: Suite) -> None:
    """Siblings stand in the order of their start; by name where a test asks for that, because threads race."""
    with shop.test() as traces, shop.tracer.start_as_current_span("GET /orders"):
        for name in ("b", "a", "b"):
            _query(shop, name)
    top = "GET /orders [internal]\n"
    assert traces.snapshot() == f"{top}├╴b [postgresql]\n├╴a [postgresql]\n╰╴b [postgresql]"
    assert traces.snapshot(by_name=True) == f"{top}├╴a [postgresql]\n╰╴2× b [postgresql]"


def test_text_for_people_has_durations_and_the_reason(shop: Suite) -> None:
    """What a failed test shows has a duration in each line, stalls as well, and a sentence for each trace."""
    with shop.test() as traces:
        _shop_trace(shop)
    lines = str(traces).splitlines()
    assert len(lines) == 6
    assert all(re.search(r"  [\d.]+ (ns|µs|ms|s)$", line) for line in lines[:-1])
    assert lines[4].startswith("╰╴loop blocked")
    assert lines[5].startswith("why: ")
    assert f"why: {traces.why()}" == lines[5]


def test_tree_of_many_lines_is_cut(shop: Suite) -> None:
    """What a failed test shows of a large trace are its first lines, and how many more there are."""
    with shop.test() as traces, shop.tracer.start_as_current_span("import"):
        for number in range(200):
            _query(shop, f"INSERT t{number}")
    lines = str(traces).splitlines()
    assert (len(lines), lines[150]) == (152, "... and 51 more lines")


def test_nothing_recorded_is_said(shop: Suite) -> None:
    """A test without spans has none, and no text breaks for it."""
    with shop.test() as traces:
        pass
    assert (str(traces), traces.snapshot(), traces.why(), traces.spans) == ("no spans", "", "", ())


# -- finding and waiting -----------------------------------------------------------------------------------------------


def test_spans_are_found_by_name(shop: Suite) -> None:
    """Spans are found by their name, also by a pattern; asking for the only one fails where there is another number."""
    with shop.test() as traces:
        _shop_trace(shop)
        assert len(traces.find("SELECT *")) == 3
        assert traces.one("price").parent is traces.one("GET /orders")
        with pytest.raises(AssertionError, match="3 spans are called 'SELECT items', not one"):
            traces.one("SELECT items")
        traces.clear()
        assert traces.find("*") == []


def test_test_waits_for_spans_of_other_threads(shop: Suite) -> None:
    """A test waits for spans that another thread or task ends, and says what there is where they do not come."""

    async def meanwhile() -> None:
        task = asyncio.create_task(asyncio.to_thread(_query, shop, "later"))
        assert [span.name for span in await traces.async_wait_for("late*", seconds=60)] == ["later"]
        await task

    with shop.test() as traces:
        thread = threading.Thread(target=_query, args=(shop,))
        thread.start()
        assert len(traces.wait_for("SELECT items", seconds=60)) == 1
        thread.join(60)
        asyncio.run(meanwhile())
        with pytest.raises(AssertionError, match=r"1 more spans 'later' did not end within 0.01 seconds(.|\n)*SELECT"):
            traces.wait_for("later", count=2, seconds=0.01)


def test_ids_and_times_are_the_same_in_every_run(shop: Suite) -> None:
    """On request ids follow from the test's name, and times are a millisecond each: two runs do not differ."""
    runs = []
    for _ in range(2):
        traces = shop.traces()
        traces.deterministic()
        with shop.test(traces):
            _shop_trace(shop)
        trace = traces.all[0]
        runs.append((trace.trace_id, [(span.span_id, span.start, span.end) for span in trace.spans], str(traces)))
    assert runs[0] == runs[1]
    _, spans, _ = runs[0]
    assert [(start - spans[0][1]) // 1_000_000 for _, start, _ in spans] == [0, 1, 3, 5, 7, 9, 11]
    other = shop.traces("tests/test_shop.py::test_items")
    other.deterministic()
    with shop.test(other):
        _query(shop)
    assert other.all[0].trace_id != runs[0][0]
