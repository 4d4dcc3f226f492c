"""The page that compares two groups of traces: what two searches find, two versions, before and after."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from causal_otel.causality.explanation.groups import Group, compare_groups, rank
from causal_otel.collector.analysis import build
from causal_otel.collector.analysis.samples import Sample, sample
from causal_otel.collector.units import format_duration
from causal_otel.collector.web.forms import LOOKBACKS, FormError, SearchForm
from causal_otel.collector.web.page_state import parse_trace_id
from causal_otel.collector.web.templating import colours, page, utc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.causality.explanation.groups import GroupComparison
    from causal_otel.collector.query import Query, TraceReader

__all__ = ["SAMPLED", "Beside", "address", "asks_for_groups", "beside", "groups_page", "put_beside"]

SAMPLED = 100
"""Traces of each group that are looked at, at most."""

_SEARCH_SECONDS = 2.0
_READ_SECONDS = 4.0
"""For the traces of both groups together."""

_ROWS = 200
_OF_LISTS = ("limit", "sort", "after", "before", "outer", "beside")
"""What of a search is no condition: which of the traces its page lists, and which search it came from."""

_LONGEST = 2000
"""Characters of a search that stands in the address of another."""

_SHOWN = ("service", "operation", "tags", "shortest", "longest", "lookback", "start", "end")
"""The fields of the form that the page has; what else an address says is kept."""


def asks_for_groups(parameters: Mapping[str, str]) -> bool:
    """Whether an address of ``/compare`` is about groups: it has a search where another has the id of a trace."""
    if "groups" in parameters or any(name.startswith(("a.", "b.")) for name in parameters):
        return True
    return any(_is_search(parameters.get(side, "")) for side in ("a", "b"))


def address(a: SearchForm, b: SearchForm) -> str:
    """The address of the page that compares what two searches find."""
    given = {f"{side}.{name}": value for side, form in (("a", a), ("b", b)) for name, value in _given(form).items()}
    return f"/compare?{urlencode(given)}" if given else "/compare?groups=1"


@dataclass(frozen=True, slots=True)
class Beside:
    """A search that another is to be compared with.

    Attributes:
        says: its conditions.
        compared: the page that compares the two; empty: they are the same.
        dropped: the other search without this one beside it.
    """

    says: str
    compared: str
    dropped: str


def beside(form: SearchForm) -> Beside | None:
    """What stands beside a search, if there is anything."""
    if not form.beside or len(form.beside) > _LONGEST:
        return None
    other = SearchForm.read(dict(parse_qsl(form.beside)))
    given = _given(other)
    says = " · ".join(value if name == "q" else f"{name}: {value}" for name, value in given.items())
    compared = address(other, form) if given != _given(form) else ""
    return Beside(says or "everything of the last hour", compared, form.address(beside=""))


def put_beside(form: SearchForm, chosen: SearchForm) -> str:
    """The address of a search for what ``chosen`` is to be compared with; empty: it would be too long."""
    text = urlencode(_given(chosen)) or urlencode({"lookback": chosen.lookback})
    return form.address(beside=text) if len(text) <= _LONGEST else ""


@dataclass(frozen=True, slots=True)
class _Side:
    """A group as it was asked for, and what was found of it.

    Attributes:
        form: the search.
        sample: the traces that were chosen; None: the search is not understood.
        group: what was read of them.
        mistakes: what a field of the form takes, by its name.
    """

    form: SearchForm
    sample: Sample | None
    group: Group
    mistakes: dict[str, str]


def groups_page(reader: TraceReader, request: Request) -> Response:
    """The page. It reads from the disk, for some seconds at the most: call it from a thread."""
    forms = _read("a", request.query_params), _read("b", request.query_params)
    chosen = forms != (SearchForm(), SearchForm())
    if chosen and forms[1] == SearchForm():
        forms = (_before(forms[0]), forms[0])
    now = time.time_ns()
    sides = [_side(reader, form, now, search=chosen) for form in forms]
    cut = _fill(reader, sides)
    a, b = sides
    comparison = compare_groups(a.group, b.group) if a.group.traces and b.group.traces else None
    mistakes = bool(a.mistakes or b.mistakes)
    rows = comparison.rows[:_ROWS] if comparison else ()
    left_out = comparison.rows[_ROWS:] if comparison else ()
    context: dict[str, Any] = {
        "sides": [("a", "A", a), ("b", "B", b)],
        "chosen": chosen,
        "mistakes": mistakes,
        "comparison": comparison,
        "verdict": _verdict(comparison) if comparison else "",
        "rows": rows,
        "left_out": len(left_out),
        "left_out_explains": sum((row.explains for row in left_out), Fraction(0)),
        "cut": cut,
        "sampled": SAMPLED,
        "seconds": _READ_SECONDS,
        "services": reader.services(),
        "lookbacks": LOOKBACKS,
        "shown": _SHOWN,
        "defaults": SearchForm(),
        "kept": {name: _hidden(name, side.form) for name, _, side in [("a", "A", a), ("b", "B", b)]},
        "swapped": address(b.form, a.form),
        "colours": colours(row.service for row in rows),
        "rank": rank,
    }
    return page(request, "compare_groups.html", context, status=400 if mistakes else 200)


def _is_search(text: str) -> bool:
    """Whether it is the address of a search, or its parameters."""
    return parse_trace_id(text) is None and any(name in _NAMES for name, _ in parse_qsl(urlsplit(text).query or text))


_NAMES = {field.name for field in fields(SearchForm)}


def _read(side: str, parameters: Mapping[str, str]) -> SearchForm:
    """The search of a side: ``a.service=…``, or the address of a search in ``a`` as a whole."""
    written = parameters.get(side, "")
    given = dict(parse_qsl(urlsplit(written).query or written)) if written else {}
    prefix = f"{side}."
    given |= {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    return SearchForm.read({name: value for name, value in given.items() if name not in _OF_LISTS})


def _given(form: SearchForm) -> dict[str, str]:
    """What of a search differs from an empty form, without what is no condition."""
    return {
        field.name: value
        for field in fields(form)
        if (value := getattr(form, field.name)) != field.default and field.name not in _OF_LISTS
    }


def _hidden(side: str, form: SearchForm) -> list[tuple[str, str]]:
    """The conditions that the page has no fields for, and the parameters that keep them."""
    return [(f"{side}.{name}", value) for name, value in _given(form).items() if name not in _SHOWN]


def _before(form: SearchForm) -> SearchForm:
    """The same search in as much time before its own: what the page compares with where nothing else is asked for."""
    try:
        query = form.query(time.time_ns())
    except FormError:
        return form
    length = query.end - query.start
    if query.start <= 0 or length <= 0:
        return form
    return replace(form, start=_moment(query.start - length), end=_moment(query.start - 1), lookback="1h")


def _moment(nanoseconds: int) -> str:
    """A time as a form takes it, to the microsecond."""
    return utc(nanoseconds, "%Y-%m-%dT%H:%M:%S.%f")


def _side(reader: TraceReader, form: SearchForm, now: int, *, search: bool) -> _Side:
    try:
        query: Query = form.query(now)
    except FormError as error:
        return _Side(form, None, Group(), dict(error.fields))
    found = sample(reader, query, SAMPLED, seconds=_SEARCH_SECONDS) if search else Sample((), all_of_them=True)
    return _Side(form, found, Group(), {})


def _fill(reader: TraceReader, sides: list[_Side]) -> bool:
    """Read the traces into their groups, of both in turn; returns whether the time was over before all were read."""
    until = time.monotonic() + _READ_SECONDS
    waiting = [list(side.sample.trace_ids)[::-1] if side.sample is not None else [] for side in sides]
    while any(waiting):
        for ids, side in zip(waiting, sides, strict=True):
            if not ids:
                continue
            if time.monotonic() > until:
                return True
            message = reader.trace(ids.pop())
            if message is not None:
                side.group.add(build(message))
    return False


def _verdict(comparison: GroupComparison) -> str:
    a, b, delta = comparison.a.mean, comparison.b.mean, comparison.difference
    if not delta:
        return f"A trace takes as long in B as in A, {format_duration(round(a))} on average."
    share = f" ({float(100 * abs(delta) / a):.3g} %)" if a else ""
    more = "longer" if delta > 0 else "less"
    times = f"{format_duration(round(b))} instead of {format_duration(round(a))}"
    return f"A trace takes {format_duration(round(abs(delta)))}{share} {more} in B on average, {times}."
