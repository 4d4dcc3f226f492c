"""What the trace page shows, and of which trace, as its address says it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlencode

from causal_otel.collector.web.narrowing import Narrowing, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from causal_otel.causality.critical_path import Until

__all__ = ["PageState", "Tab", "parse_trace_id"]

_TRACE_ID = re.compile(r"(?:.*/trace/)?([0-9a-f]{32}|[0-9a-f]{16})(?:[?#.].*)?", re.IGNORECASE)
_OPEN_LIMIT = 20
_RUNS_LIMIT = 50
_IDS_LIMIT = 5000
_FIND_LIMIT = 200
_CRITICAL: dict[str, Until] = {"answer": "answer", "end": "end"}
_SORTS = ("service", "operation", "calls", "total", "own", "path", "errors")

Tab = Literal["", "flame", "operations", "logs"]


def parse_trace_id(text: str) -> bytes | None:
    """A trace's id, or the address of its page, as 16 bytes; None if it is neither. Shorter ids have leading zeros."""
    match = _TRACE_ID.fullmatch(text.strip())
    parsed = bytes.fromhex(match[1].zfill(32)) if match else b""
    return parsed if any(parsed) else None


@dataclass(frozen=True, slots=True)
class PageState:
    """The state of the trace page.

    Attributes:
        open: the spans whose details are shown, as hexadecimal ids; the last is the one to look at.
        collapsed: the spans collapsed, or ``all``, followed by those that are not with a minus before them.
        critical: whether the critical path is marked: ``answer``, ``end``, which is what it leads to, or empty.
        find: the text to find.
        tab: which view of the trace is shown; empty: the waterfall.
        runs: members of the runs that are open, at the page with that member.
        narrowing: which spans are hidden.
        window: which part of the time is shown; None: all of it.
        corrected: whether clocks that disagree are corrected.
        zone: whether times of day are in UTC or local, if the address says; scripts only can tell what is local.
        sort: the column that operations are sorted by.
        ascending: whether the least come first.
        box: the box of the flame chart that is as wide as it.
        of: the id of the span whose log records are shown; empty: all.
        why: whether the explanation is wanted, however long it takes.
    """

    open: tuple[str, ...] = ()
    collapsed: tuple[str, ...] = ()
    critical: Until | Literal[""] = ""
    find: str = ""
    tab: Tab = ""
    runs: tuple[str, ...] = ()
    narrowing: Narrowing = field(default_factory=Narrowing)
    window: Window | None = None
    corrected: bool = False
    zone: Literal["", "utc", "local"] = ""
    sort: str = "total"
    ascending: bool = False
    box: str = ""
    of: str = ""
    why: bool = False

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> PageState:
        """Read the parameters of an address; what makes no sense is left out."""
        listed: Callable[[str], list[str]] | None = getattr(parameters, "getlist", None)
        tab = parameters.get("tab", "")
        zone = parameters.get("zone", "")
        sort = parameters.get("sort", "")
        return cls(
            open=_ids(parameters.get("span", ""))[-_OPEN_LIMIT:],
            collapsed=_ids(parameters.get("collapsed", ""))[:_IDS_LIMIT],
            critical=_CRITICAL.get(parameters.get("critical", ""), ""),
            find=parameters.get("find", "").strip()[:_FIND_LIMIT],
            tab=tab if tab in get_args(Tab) else "",  # type: ignore[arg-type]
            runs=_ids(parameters.get("runs", ""))[-_RUNS_LIMIT:],
            narrowing=Narrowing.parse(parameters, listed("hide") if listed else []),
            window=Window.parse(parameters),
            corrected=parameters.get("clocks") == "corrected",
            zone="utc" if zone == "utc" else "local" if zone == "local" else "",
            sort=sort if sort in _SORTS else "total",
            ascending=parameters.get("order") == "asc",
            box=parameters.get("box", "")[:16],
            of=parameters.get("of", "").lower()[:16],
            why=parameters.get("why") == "1",
        )

    def fields(self) -> Iterator[tuple[str, str]]:
        """The parameters that say it, those that are needed."""
        if self.tab:
            yield "tab", self.tab
        if self.find:
            yield "find", self.find
        if self.critical:
            yield "critical", self.critical
        yield from self.narrowing.fields()
        if self.window is not None:
            yield "from", str(self.window.start)
            yield "to", str(self.window.end)
        if self.corrected:
            yield "clocks", "corrected"
        if self.zone:
            yield "zone", self.zone
        if self.sort != "total":
            yield "sort", self.sort
        if self.ascending:
            yield "order", "asc"
        if self.box:
            yield "box", self.box
        if self.of:
            yield "of", self.of
        if self.why:
            yield "why", "1"
        if self.runs:
            yield "runs", ",".join(self.runs)
        if self.collapsed:
            yield "collapsed", ",".join(self.collapsed)
        if self.open:
            yield "span", ",".join(self.open)

    def query(self) -> str:
        """The query of the page's address, with its question mark: as a link it leads there from the same page."""
        return f"?{urlencode(list(self.fields()), safe=',')}"

    def address(self, path: str) -> str:
        """Where ``path`` shows this state; the last open span is scrolled to."""
        query = self.query()
        scrolled = self.open and not self.tab
        return path + (query if query != "?" else "") + (f"#s-{self.open[-1]}" if scrolled else "")

    def on(self, tab: Tab) -> PageState:
        """This, with another view of the trace."""
        return replace(self, tab=tab)

    def leading_to(self, until: Until) -> PageState:
        """This, with the critical path that leads there."""
        return replace(self, critical=until)

    def opened(self, span_id: str) -> PageState:
        """This, with the details of one more span."""
        return replace(self, open=(*(each for each in self.open if each != span_id), span_id)[-_OPEN_LIMIT:])

    def closed(self, span_id: str) -> PageState:
        """This, without the details of a span."""
        return replace(self, open=tuple(each for each in self.open if each != span_id))

    def collapsed_among(self, parents: Collection[str]) -> set[str]:
        """Which of ``parents``, the spans with others below them, are collapsed."""
        if not self.collapsed:
            return set()
        if "all" in self.collapsed:
            return set(parents).difference(each.removeprefix("-") for each in self.collapsed)
        return set(parents).intersection(self.collapsed)

    def toggled(self, what: str, parents: Collection[str]) -> PageState:
        """This, with the span ``what`` collapsed if it is not, and else expanded; or ``all`` collapsed, or ``none``."""
        if what == "all":
            return replace(self, collapsed=("all",))
        if what == "none":
            return replace(self, collapsed=())
        collapsed = self.collapsed_among(parents) ^ {what}.intersection(parents)
        if 2 * len(collapsed) <= len(parents):
            return replace(self, collapsed=tuple(each for each in parents if each in collapsed))
        return replace(self, collapsed=("all", *(f"-{each}" for each in parents if each not in collapsed)))


def _ids(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for each in text.lower().split(",") if each))
