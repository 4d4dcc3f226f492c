"""The heat map of the search page: what its cells say is what the search behind them finds."""

from __future__ import annotations

import random
import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.testclient import TestClient

from causal_otel.collector.heat import COLUMNS, ROWS, HeatCell, HeatMap, limits_of_row
from causal_otel.collector.matching import span_duration
from causal_otel.collector.query import Query
from causal_otel.collector.web.box import Box, different_address, narrowed, outer_form
from causal_otel.collector.web.forms import SearchForm
from causal_otel.collector.web.heat_map import draw
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MINUTE, NOON, SECOND, span, traces
from tests.collector.web.trace_site import application

RANGE = "start=2026-11-22T11%3A00&end=2026-11-22T13%3A00"


def busy(count: int = 60, *, seed: int = 1) -> list[TracesData]:
    """Traces of an hour around noon, a third of which fail, with a child each."""
    rng = random.Random(seed)
    found = []
    for number in range(1, count + 1):
        start, took = NOON - rng.randrange(HOUR // 2), int(10 ** rng.uniform(5, 9.5))
        root = span("GET /", trace=number, id=number * 2, start=start, duration=took, error=number % 3 == 0)
        child = span("SELECT", trace=number, id=number * 2 + 1, parent=number * 2, start=start + 1, duration=took // 2)
        found.append(traces(root, child, service="shop"))
    return found


def _cells(html: str) -> dict[str, tuple[int, int]]:
    """The addresses of the cells, and what each says: found, failed."""
    found = {}
    for address, title in re.findall(
        r'<a href="([^"]+)" tabindex="-1" data-at="[^"]+" class="[^"]+"><title>([^<]+)', html
    ):
        count, errors = re.search(r"(\d+) found(?:, (\d+) failed)?", title).groups()  # type: ignore[union-attr]
        found[unescape(address)] = int(count), int(errors or 0)
    return found


@pytest.mark.long
@pytest.mark.parametrize("query", ["", "service=shop&", "operation=SELECT&", "q=duration%3E1ms&", "errors=1&"])
def test_the_search_of_a_cell_finds_its_traces(query: str) -> None:
    """As many as the cell says; those of all cells are all that match, and its failed ones are with errors."""
    reader = MemoryReader(busy())
    client = TestClient(application(reader))
    cells = _cells(client.get(f"/?{query}{RANGE}").text)
    all_found: list[str] = []
    for address, (count, errors) in cells.items():
        document = client.get(address.replace("/?", "/search.json?") + "&limit=500").json()
        assert len(document["traces"]) == count
        failing = client.get(address.replace("/?", "/search.json?") + "&limit=500&errors=1").json()
        assert len(failing["traces"]) == errors
        all_found += [trace["trace_id"] for trace in document["traces"]]
    wanted = client.get(f"/search.json?{query}{RANGE}&limit=500").json()["traces"]
    if query in ("service=shop&", "q=duration%3E1ms&"):
        # Both spans of a trace match it.
        assert set(all_found) == {trace["trace_id"] for trace in wanted}
    else:
        assert sorted(all_found) == sorted(trace["trace_id"] for trace in wanted)
    assert cells


def test_a_search_for_nothing_but_a_time_counts_roots() -> None:
    """The map says so, and its cells ask for them."""
    html = TestClient(application(MemoryReader(busy(7)))).get(f"/?{RANGE}").text
    assert re.search(r"7\s+root spans", html)
    for address in _cells(html):
        assert parse_qs(urlsplit(address).query)["q"] == ["root=true"]


def test_zooming_out_leads_back() -> None:
    """A cell's search offers the way to the search that it was narrowed down from, with its look-back and durations."""
    form = SearchForm(service="shop", lookback="6h", longest="2s", sort="longest")
    inner = SearchForm.read(
        {name: values[0] for name, values in parse_qs(urlsplit(narrowed(form, roots=False).address()).query).items()}
    )
    assert (inner.longest, inner.lookback, inner.sort, inner.service) == ("", "1h", "longest", "shop")
    query = Query(NOON - HOUR, NOON)
    assert outer_form(inner, query, NOON) == form
    typed = SearchForm(service="shop", start="2026-11-22T11:00", end="2026-11-22T12:00", shortest="1s")
    wider = outer_form(typed, query, NOON + HOUR)
    assert (wider.start, wider.end, wider.shortest) == ("2026-11-22T10:00", "2026-11-22T13:00", "")


def test_the_page_of_what_is_different_knows_the_box_and_the_search_around_it() -> None:
    """Its address is the outer search's, with the box beside it."""
    box = Box.of(NOON, NOON + MINUTE - 1, 1000, None)
    form = SearchForm.read({"service": "a b", "outer": "lookback=6h", **box.fields()})
    given = parse_qs(urlsplit(different_address(form, Query(NOON, NOON + MINUTE), NOON)).query)
    assert given == {
        "service": ["a b"],
        "lookback": ["6h"],
        "box.start": ["2026-11-22T12:00"],
        "box.end": ["2026-11-22T12:00:59.999999999"],
        "box.shortest": ["1us"],
    }
    assert Box.read({name: values[0] for name, values in given.items()}) == box


def test_there_is_no_map_of_nothing() -> None:
    """Without matches nothing is drawn."""
    assert draw(HeatMap((NOON, NOON + 1), ()), SearchForm()) is None
    assert 'id="heat"' not in TestClient(application(MemoryReader())).get("/").text


def test_what_was_not_counted_is_told() -> None:
    """If time did not suffice, the page says since when all were counted."""

    class Hurried(MemoryReader):
        def heat(self, query: Query, *, columns: int = 60, seconds: float = 0.25) -> HeatMap:
            found = super().heat(query, columns=columns)
            return HeatMap(found.edges, found.cells, found.roots, NOON - MINUTE)

    html = TestClient(application(Hurried(busy(7)))).get(f"/?{RANGE}").text
    assert "the newest 7" in html
    assert "since Nov 22 11:59:00 UTC" in html


def test_nothing_that_was_asked_becomes_markup() -> None:
    """What the search asks for stands in the addresses of the map as text."""
    hostile = '"><script>x</script>'
    message = traces(span(hostile, start=NOON), service=hostile)
    client = TestClient(application(MemoryReader([message])))
    html = client.get("/", params={"service": hostile, "start": "2026-11-22T11:00", "end": "2026-11-22T13:00"}).text
    assert "<script>x" not in html
    assert len(_cells(html)) == 1


CELLS = st.lists(
    st.tuples(st.integers(0, COLUMNS - 1), st.integers(0, ROWS - 1), st.integers(1, 10**6), st.integers(0, 3)),
    min_size=1,
    max_size=30,
    unique_by=lambda each: each[:2],
)


@settings(deadline=None)
@given(cells=CELLS, width=st.sampled_from([1, 1000, SECOND, MINUTE, HOUR, 24 * HOUR]))
def test_all_that_is_drawn_is_inside(cells: list[tuple[int, int, int, int]], width: int) -> None:
    """Cells lie between the axes, longer ones above shorter ones, and each axis has some labels, but not many."""
    edges = tuple(NOON + column * width for column in range(COLUMNS + 1))
    drawn = draw(
        HeatMap(edges, tuple(HeatCell(*each[:3], min(each[3], each[2])) for each in sorted(cells))), SearchForm()
    )
    assert drawn is not None
    for cell in drawn.cells:
        assert drawn.left <= cell.x <= cell.x + cell.width <= drawn.right + 0.02
        assert drawn.top - 0.1 <= cell.y <= cell.y + drawn.row_height <= drawn.bottom + 0.1
        assert 1 <= cell.step <= drawn.steps
        assert 0 <= cell.failed <= 3
    assert 1 <= len(drawn.durations) <= 10
    assert 1 <= len(drawn.times) <= 9
    assert sum(row.count for row in drawn.totals) == drawn.map.count


def test_rows_are_told_in_a_table() -> None:
    """Every row with its durations, how many took so long, and a search for them."""
    messages = busy()
    client = TestClient(application(MemoryReader(messages)))
    html = client.get(f"/?{RANGE}").text
    rows = re.findall(r'<tr><td><a href="([^"]+)">[^<]+</a></td><td class="number">(\d+)</td>', html)
    took = [span_duration(message.resource_spans[0].scope_spans[0].spans[0]) for message in messages]
    assert sum(int(count) for _, count in rows) == len(took)
    for address, count in rows:
        given = parse_qs(urlsplit(unescape(address)).query)
        row = next(
            row for row in range(ROWS) if Box.of(0, 0, *limits_of_row(row)).shortest == given.get("shortest", [""])[0]
        )
        least, most = limits_of_row(row)
        assert sum(least <= each and (most is None or each <= most) for each in took) == int(count)
