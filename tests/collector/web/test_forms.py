from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from causal_otel.collector.expressions import And, Compare, Field, quoted
from causal_otel.collector.query import Cursor, Query
from causal_otel.collector.web.forms import LIMIT, FormError, Place, SearchForm

NOW = 1_795_348_800 * 10**9


def test_an_empty_form_asks_for_the_last_hour_of_everything() -> None:
    """Without parameters the newest traces of the last hour are asked for."""
    assert SearchForm.read({}).query(NOW) == Query(start=NOW - 3600 * 10**9, end=NOW, limit=20)


def test_every_field_reaches_the_query() -> None:
    """Each parameter becomes the query's condition of that name."""
    form = SearchForm.read(
        {
            "service": "shop",
            "operation": '"GET /orders "',
            "kind": "server",
            "q": "x=y log:declined",
            "tags": "a=1 c>5 duration<1s",
            "logs": "twice card",
            "start": "2026-11-22T11:00",
            "end": "2026-11-22T12:00",
            "shortest": "20ms",
            "longest": "1.5s",
            "errors": "1",
            "limit": "7",
        }
    )
    assert form.query(NOW + 1) == Query(
        start=NOW - 3600 * 10**9,
        end=NOW,
        service="shop",
        operation="GET /orders ",
        kind="server",
        where=And(
            (
                Compare("x", "=", "y"),
                And((Compare("a", "=", "1"), Compare("c", ">", "5"), Field("duration", "<", "1s"))),
            )
        ),
        logs=("card", "declined", "twice"),
        shortest=20_000_000,
        longest=15 * 10**8,
        errors=True,
        limit=7,
    )


def test_an_operation_without_quotes_is_a_part_of_its_name() -> None:
    """In quotes it is the whole name, whatever is in it."""
    assert SearchForm(operation=" get /b").query(NOW).operation_like == "get /b"
    for name in ('say "hi" \\ *', " ", "GET /b"):
        query = SearchForm(operation=quoted(name)).query(NOW)
        assert (query.operation, query.operation_like) == (name, None)


def test_one_end_of_a_range_is_enough() -> None:
    """An absolute start lasts until now; an end alone reaches back to the first trace."""
    assert SearchForm(start="2026-11-22T11:00", lookback="5m").query(NOW).end == NOW
    assert SearchForm(end="2026-11-22T11:00").query(NOW).start == 0


def test_all_mistakes_are_told_at_once() -> None:
    """Every field that cannot be understood is named, with what it takes."""
    form = SearchForm(
        q="(", operation='"', tags='"', start="x", end="y", shortest="3", longest="z", limit=str(LIMIT + 1), kind="odd"
    )
    with pytest.raises(FormError) as caught:
        form.query(NOW)
    assert caught.value.fields.keys() == {
        "q",
        "operation",
        "tags",
        "start",
        "end",
        "shortest",
        "longest",
        "limit",
        "kind",
    }


@pytest.mark.parametrize(
    ("form", "field"),
    [
        (SearchForm(start="2026-11-22T12:00", end="2026-11-22T11:00"), "end"),
        (SearchForm(shortest="2s", longest="1s"), "longest"),
        (SearchForm(lookback="custom"), "lookback"),
        (SearchForm(lookback="3y"), "lookback"),
        (SearchForm(limit="0"), "limit"),
        (SearchForm(limit="²"), "limit"),
        (SearchForm(limit="9" * 5000), "limit"),
    ],
)
def test_what_does_not_go_together_is_a_mistake(form: SearchForm, field: str) -> None:
    """A range that ends before it starts, or a bound out of reach, is told at the field to change."""
    with pytest.raises(FormError) as caught:
        form.query(NOW)
    assert caught.value.fields.keys() == {field}


def test_a_form_and_its_address_are_the_same() -> None:
    """Reading a form's address gives the form; what is as by default is not in it."""
    form = SearchForm(
        q="a OR (b c)", service="a&b=ü", operation=" x y ", tags='k="v w"', errors="1", lookback="7d", sort="longest"
    )
    address = form.address()
    assert SearchForm.read(dict(parse_qsl(urlsplit(address).query))) == form
    assert "limit" not in address
    assert SearchForm().address() == "/"
    assert SearchForm(limit="50").address(limit="20") == "/"


def test_an_unknown_order_is_the_default() -> None:
    """An order that does not exist is no reason to show nothing."""
    assert SearchForm.read({"sort": "__class__"}).sort == "newest"


def test_a_place_in_the_list_is_in_the_address() -> None:
    """Until anything else is asked for; what is no place is the first page."""
    place = Place(20, Cursor(3, NOW, bytes(range(16))))
    form = SearchForm(sort="longest", after=str(place))
    assert SearchForm.read(dict(parse_qsl(urlsplit(form.address(after=form.after)).query))) == form
    assert form.query(NOW).after == place.cursor
    assert replace(form, after="", before=form.after).query(NOW).before == place.cursor
    assert form.address() == SearchForm(sort="longest").address()
    for text in ("", "20", f"{place}0", f"x{place}", str(place).upper()):
        assert SearchForm.read({"after": text, "before": text}) == SearchForm()
